//! What an agent does with the records of an earlier one.

use super::*;

fn restored(name: &str, netns: Option<&Arc<Netns>>, stage: Stage) -> Restored {
    Restored {
        pod: Arc::new(pod(name)),
        container: Some("c1".to_owned()),
        netns: netns.map(Arc::clone),
        stage,
    }
}

fn restore(rig: &mut Rig, pods: Vec<Restored>, complete: bool) -> Vec<String> {
    rig.on(Event::Restored { pods, complete })
}

#[test]
fn pods_on_record_are_served_and_proved_before_the_source_answers() {
    let mut rig = Rig::unsynced();
    let netns = Arc::new(stand_in());
    let pods = vec![restored("a", Some(&netns), Stage::In)];
    assert_eq!(restore(&mut rig, pods, true), ["keep u-a", "announce u-a", "serve"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["inspect a"]);
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(pod("a")), recorded: Some(Redirection::Enabled) });
    assert_eq!(rig.on(Event::Synced), ["remember mesh"]);
}

#[test]
fn rules_that_went_while_no_agent_ran_are_put_back_and_that_is_told() {
    let mut rig = Rig::unsynced();
    restore(&mut rig, vec![restored("a", Some(&Arc::new(stand_in())), Stage::In)], true);
    rig.done("a", Ended::Announced(Ok(())));
    let drift = Ended::Inspected(Ok(Some("all are missing".to_owned())));
    let told = rig.all(Event::Done { uid: uid("a"), ended: drift });
    assert_eq!(told.iter().map(words).collect::<Vec<_>>(), ["gap a Rules: all are missing", "redirect a"]);
}

#[test]
fn a_pod_whose_namespace_on_record_is_gone_is_looked_for_by_its_addresses_on_record() {
    let mut rig = Rig::unsynced();
    let commands = rig.all(Event::Restored { pods: vec![restored("a", None, Stage::In)], complete: true });
    let told: Vec<String> = commands.iter().map(words).collect();
    assert_eq!(told, ["gap a Netns: the namespace on record is not there any more", "keep u-a", "find a"]);
    assert!(commands.iter().any(|command| matches!(command, Command::Find { ips, .. } if !ips.is_empty())));
    assert_eq!(rig.done("a", Ended::Found(Ok(Arc::new(stand_in())))), ["announce u-a", "serve"]);
}

#[test]
fn where_records_may_lack_a_pod_proxies_wait_for_the_source() {
    let mut rig = Rig::unsynced();
    let netns = Arc::new(stand_in());
    let pods = vec![restored("a", Some(&netns), Stage::In)];
    assert_eq!(restore(&mut rig, pods, false), ["keep u-a", "announce u-a"]);
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(pod("a")), recorded: Some(Redirection::Enabled) });
    assert_eq!(rig.on(Event::Synced), ["remember mesh", "serve"]);
}

#[test]
fn nothing_is_said_of_a_pod_on_record_before_the_source_is_read() {
    let mut rig = Rig::unsynced();
    restore(&mut rig, vec![restored("a", Some(&Arc::new(stand_in())), Stage::In)], true);
    rig.on(Event::PodSeen { pod: Arc::new(pod("a")), recorded: None });
    rig.done("a", Ended::Announced(Ok(())));
    assert_eq!(rig.done("a", Ended::Inspected(Ok(None))), [""; 0]);
    rig.namespaces();
    assert_eq!(rig.on(Event::Synced), ["remember mesh", "record a enabled"]);
}

#[test]
fn a_pod_on_record_that_the_source_does_not_show_is_forgotten() {
    let mut rig = Rig::unsynced();
    restore(&mut rig, vec![restored("a", Some(&Arc::new(stand_in())), Stage::In)], true);
    rig.done("a", Ended::Announced(Ok(())));
    rig.done("a", Ended::Inspected(Ok(None)));
    assert_eq!(rig.on(Event::Synced), ["remember ", "retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["record a nothing"]);
    let told = rig.all(Event::Done { uid: uid("a"), ended: Ended::Recorded(Ok(())) });
    assert_eq!(told.iter().map(words).collect::<Vec<_>>(), ["forget u-a"]);
    assert_eq!(rig.machine.dump(rig.now), []);
}

#[test]
fn a_pod_that_was_leaving_is_kept_as_it_is_until_the_source_is_read() {
    let mut rig = Rig::unsynced();
    let netns = Arc::new(stand_in());
    assert_eq!(
        restore(&mut rig, vec![restored("a", Some(&netns), Stage::Leaving)], true),
        ["keep u-a", "serve"]
    );
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(opted_out("a")), recorded: Some(Redirection::Pending) });
    assert_eq!(rig.on(Event::Synced), ["remember mesh", "release a"]);
}

#[test]
fn an_uninstall_that_cannot_read_the_source_withdraws_the_pods_on_record() {
    let mut rig = Rig::unsynced();
    restore(&mut rig, vec![restored("a", Some(&Arc::new(stand_in())), Stage::In)], true);
    rig.done("a", Ended::Announced(Ok(())));
    rig.done("a", Ended::Inspected(Ok(None)));
    assert_eq!(rig.on(Event::WithdrawAll), ["release a"]);
    rig.done("a", Ended::Released(Ok(())));
    assert_eq!(rig.later(1), ["retract u-a"]);
    assert_eq!(rig.done("a", Ended::Retracted), ["unredirect a"]);
    assert_eq!(rig.done("a", Ended::Unredirected(Ok(()))), [""; 0]);
}

#[test]
fn a_new_sandbox_of_a_pod_on_record_starts_before_the_source_is_read() {
    let mut rig = Rig::unsynced();
    restore(&mut rig, vec![restored("a", None, Stage::In)], true);
    assert_eq!(rig.add(1, "a", "c2", &Arc::new(stand_in())), [""; 0]);
    assert_eq!(rig.done("a", Ended::Found(Err("none".to_owned()))), ["redirect a"]);
    assert_eq!(rig.done("a", Ended::Redirected(Ok(()))), ["announce u-a", "serve"]);
    assert_eq!(rig.done("a", Ended::Announced(Ok(()))), ["answer 1 Enrolled"]);
}

#[test]
fn records_are_complete_once_every_pod_of_an_earlier_agent_has_one() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.on(Event::PodSeen { pod: Arc::new(pod("a")), recorded: Some(Redirection::Enabled) });
    let told = |commands: Vec<Command>| -> Vec<String> {
        let about = |command: &&Command| matches!(command, Command::RecordsComplete(_));
        commands.iter().filter(about).map(words).collect()
    };
    assert_eq!(told(rig.all(Event::Synced)), ["complete false"]);
    let found = Event::Done { uid: uid("a"), ended: Ended::Found(Ok(Arc::new(stand_in()))) };
    assert_eq!(told(rig.all(found)), ["complete true"]);
}
