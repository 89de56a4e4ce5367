//! What is proved of a pod by a connection from inside it.

use super::*;
use crate::canary::Landing;

/// A machine that sends canaries, with a pod that was found running and needs only be proved.
fn served(canary: Canary) -> (Rig, Arc<Netns>) {
    let mut rig = Rig::new();
    rig.machine.timing.canary = canary;
    let netns = Arc::new(stand_in());
    rig.seen(&pod("a"));
    rig.done("a", Ended::Found(Ok(Arc::clone(&netns))));
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    (rig, netns)
}

fn proved(canary: Canary) -> (Rig, Arc<Netns>) {
    let (mut rig, netns) = served(canary);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
    (rig, netns)
}

fn missed() -> Ended {
    Ended::Proved(Ok(Landing::Missed("it went out".to_owned())))
}

fn refused() -> Ended {
    Ended::Proved(Ok(Landing::Refused("nobody listens".to_owned())))
}

#[test]
fn a_pod_is_not_said_to_be_enrolled_before_a_canary_came_to_the_proxy() {
    let (mut rig, _netns) = served(Canary::Enrollment);
    assert_eq!(rig.machine.census(), Census { unproved: 1, ..Census::default() });
    assert_eq!(rig.done("a", missed()), [""; 0]);
    assert_eq!(rig.later(1), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["record a enabled"]);
}

#[test]
fn a_pod_that_cannot_reach_anything_needs_no_proof() {
    let (mut rig, _netns) = served(Canary::On);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Unroutable))), ["record a enabled"]);
}

#[test]
fn every_measurement_ends_with_a_canary_where_that_is_wanted() {
    for (canary, after) in [(Canary::On, vec!["prove a"]), (Canary::Enrollment, vec![])] {
        let (mut rig, netns) = proved(canary);
        assert_eq!(rig.later(40), ["find a"]);
        assert_eq!(rig.done("a", Ended::Found(Ok(netns))), ["inspect a"]);
        assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), after);
    }
}

#[test]
fn a_pod_whose_canary_is_lost_is_enrolled_again_and_that_is_told() {
    let (mut rig, netns) = proved(Canary::On);
    rig.later(40);
    rig.done("a", Ended::Found(Ok(netns)));
    rig.done("a", Ended::Inspected(Ok(None)));
    let told: Vec<String> =
        rig.all(Event::Done { uid: uid("a"), ended: missed() }).iter().map(words).collect();
    let why = "it went out";
    assert_eq!(told, [format!("gap a Canary: {why}"), format!("report a NotEnrolled {{ why: \"{why}\" }}")]);
    assert_eq!(rig.later(1), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    let landed = Event::Done { uid: uid("a"), ended: Ended::Proved(Ok(Landing::Proxy)) };
    assert_eq!(rig.all(landed).iter().map(words).collect::<Vec<_>>(), ["report a Enrolled"]);
}

#[test]
fn a_proxy_that_does_not_listen_is_asked_for_the_pod_anew() {
    let (mut rig, _netns) = served(Canary::On);
    for _ in 0..2 {
        assert_eq!(rig.done("a", refused()), [""; 0]);
        assert_eq!(rig.later(2), ["redirect a"]);
        assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    }
    assert_eq!(rig.done("a", refused()), [""; 0]);
    assert_eq!(rig.later(2), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["keep u-a", "announce u-a"]);
}

#[test]
fn without_a_proxy_no_canary_is_sent() {
    let (mut rig, netns) = proved(Canary::On);
    rig.on(Event::Proxies(0));
    assert_eq!(rig.later(1), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::clone(&netns)))), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
    assert_eq!(rig.on(Event::Proxies(1)), ["prove a"]);
    assert_eq!(rig.on(Event::Delivered { uid: uid("a"), netns: netns.id() }), [""; 0]);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["inspect a"]);
}

#[test]
fn a_pod_that_cannot_be_brought_back_is_not_said_to_be_enrolled_any_more() {
    let (mut rig, netns) = proved(Canary::On);
    rig.later(40);
    rig.done("a", Ended::Found(Ok(netns)));
    rig.done("a", Ended::Inspected(Ok(None)));
    rig.done("a", missed());
    for _ in 0..4 {
        assert_eq!(rig.later(16), ["redirect a"]);
        assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
        assert_eq!(rig.done("a", missed()), [""; 0]);
    }
    assert_eq!(rig.later(16), ["record a pending"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["prove a"]);
    assert_eq!(rig.done("a", Ended::Proved(Ok(Landing::Proxy))), ["record a enabled"]);
}

#[test]
fn another_container_or_address_has_the_sandbox_looked_for() {
    let (mut rig, netns) = proved(Canary::On);
    let mut moved = pod("a");
    moved.status.pod_ip = Some("10.0.0.6".to_owned());
    assert_eq!(rig.seen(&moved), ["find a"]);
    assert_eq!(rig.done("a", Ended::Found(Ok(netns))), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), ["prove a"]);
    let mut labelled = moved;
    labelled.metadata.labels.insert("x".to_owned(), "y".to_owned());
    rig.done("a", Ended::Proved(Ok(Landing::Proxy)));
    assert_eq!(rig.seen(&labelled), [""; 0]);
}
