//! Pods that may not speak past the proxy before they are proved to be captured.

use super::*;
use crate::canary::Landing;

/// A machine that refuses and sends canaries, with nothing known of pods.
fn refusing() -> Rig {
    let mut rig = Rig::new();
    rig.machine.timing.canary = Canary::On;
    rig.machine.timing.unproved = Unproved::Refuse;
    rig
}

/// A pod that was found running, up to its enrolment.
fn proved() -> (Rig, Arc<Netns>) {
    let mut rig = refusing();
    let netns = Arc::new(stand_in());
    rig.seen(&pod("a"));
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::clone(&netns)))), ["refuse a"]);
    assert!(!rig.machine.dump(rig.now)[0].refused);
    assert_eq!(rig.done("a", Ended::Refused(Ok(()))), ["announce u-a"]);
    assert!(rig.machine.dump(rig.now)[0].refused);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["allow a"]);
    assert_eq!(rig.done("a", Ended::Allowed(Ok(()))), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
    (rig, netns)
}

fn measured(rig: &mut Rig, netns: &Arc<Netns>) {
    assert_eq!(rig.later(40), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::clone(netns)))), ["inspect a"]);
}

#[test]
fn a_running_pod_is_refused_first_and_allowed_once_it_is_proved() {
    proved();
}

#[test]
fn without_canaries_rules_and_a_proxy_are_proof() {
    let mut rig = refusing();
    rig.machine.timing.canary = Canary::Off;
    rig.seen(&pod("a"));
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["refuse a"]);
    rig.done("a", Ended::Refused(Ok(())));
    rig.done("a", Ended::Announced(Ok(())));
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["allow a"]);
}

#[test]
fn a_pod_whose_start_is_held_back_needs_no_refusal() {
    let mut rig = refusing();
    rig.seen(&without_address("a"));
    assert_eq!(rig.add(7, "a", "c1", &Arc::new(stand_in())), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["prove a"]);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["record a enabled"]);
}

#[test]
fn a_gap_is_refused_before_it_is_closed() {
    let (mut rig, netns) = proved();
    measured(&mut rig, &netns);
    let drift = Ended::Inspected(Ok(Some("all are missing".to_owned())));
    assert_eq!(rig.done("a", drift), ["refuse a"]);
    assert_eq!(rig.done("a", Ended::Refused(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["allow a"]);
    assert_eq!(rig.done("a", Ended::Allowed(Ok(()))), [""; 0]);
}

#[test]
fn a_lost_canary_is_no_reason_to_wait_with_the_refusal() {
    let (mut rig, netns) = proved();
    measured(&mut rig, &netns);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), ["prove a"]);
    let missed = Ended::Proved(Ok(Landing::Missed("it went out".to_owned())));
    assert_eq!(rig.done("a", missed), ["refuse a"]);
    assert_eq!(rig.done("a", Ended::Refused(Ok(()))), [""; 0]);
    assert_eq!(rig.later(1), ["redirect a"]);
}

#[test]
fn a_pod_in_another_sandbox_and_one_that_its_proxy_refuses_are_refused_too() {
    let (mut rig, _) = proved();
    let moved = Arc::new(stand_in());
    rig.later(40);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::clone(&moved)))), ["refuse a"]);

    let (mut rig, netns) = proved();
    let refused = Event::Refused { uid: uid("a"), netns: netns.id(), why: "no room".to_owned() };
    assert_eq!(rig.on(refused), ["refuse a"]);
    assert_eq!(rig.done("a", Ended::Refused(Ok(()))), [""; 0]);
}

#[test]
fn what_cannot_be_refused_is_captured_all_the_same_and_refused_again_after_the_next_failure() {
    let mut rig = refusing();
    rig.seen(&pod("a"));
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["refuse a"]);
    assert_eq!(rig.done("a", Ended::Refused(Err("no REJECT".to_owned()))), [""; 0]);
    assert_eq!(rig.later(1), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Err("no room".to_owned()))), ["refuse a"]);
    assert_eq!(rig.done("a", Ended::Refused(Err("no REJECT".to_owned()))), ["record a pending"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.later(2), ["announce u-a"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    // Some of it may be there.
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["allow a"]);
    assert_eq!(rig.done("a", Ended::Allowed(Ok(()))), ["record a enabled"]);
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!((rig.counts(), rig.machine.dump(rig.now)[0].failures), ((1, 0), 0));
}

#[test]
fn a_pod_that_leaves_before_it_was_redirected_leaves_no_refusal_behind() {
    let mut rig = refusing();
    rig.seen(&pod("a"));
    rig.done("a", Ended::Found(Ok(Arc::new(stand_in()))));
    assert_eq!(rig.seen(&opted_out("a")), [""; 0]);
    assert_eq!(rig.done("a", Ended::Refused(Ok(()))), ["unredirect a"]);
    assert_eq!(rig.done("a", Ended::Unredirected(Ok(()))), ["retract u-a"]);
    assert!(!rig.machine.dump(rig.now)[0].refused);
}

#[test]
fn pods_of_an_earlier_agent_are_allowed_once_whether_it_refused_or_not() {
    for unproved in [Unproved::Allow, Unproved::Refuse] {
        let mut rig = Rig::unsynced();
        rig.machine.timing.unproved = unproved;
        let pods = vec![Restored {
            pod: Arc::new(pod("a")),
            container: Some("c1".to_owned()),
            netns: Some(Arc::new(stand_in())),
            stage: Stage::In,
        }];
        let mut commands: Vec<String> = Vec::new();
        let mut next = rig.machine.on(Event::Restored { pods, complete: true }, rig.now);
        while let Some(ended) = next.iter().find_map(went_well) {
            commands.extend(next.iter().filter(|command| !is_aside(command)).map(words));
            next = rig.machine.on(Event::Done { uid: uid("a"), ended }, rig.now);
        }
        let want = match unproved {
            Unproved::Allow => ["keep u-a", "announce u-a", "serve", "allow a", "inspect a"].to_vec(),
            Unproved::Refuse => {
                ["keep u-a", "refuse a", "announce u-a", "serve", "inspect a", "allow a"].to_vec()
            }
        };
        assert_eq!((commands, rig.counts()), (want.into_iter().map(str::to_owned).collect(), (1, 0)));
    }
}

fn went_well(command: &Command) -> Option<Ended> {
    if let Command::Announce { .. } = command {
        Some(Ended::Announced(Ok(())))
    } else if let Command::Inspect { .. } = command {
        Some(Ended::Inspected(Ok(None)))
    } else if let Command::Refuse { .. } = command {
        Some(Ended::Refused(Ok(())))
    } else if let Command::Allow { .. } = command {
        Some(Ended::Allowed(Ok(())))
    } else {
        None
    }
}
