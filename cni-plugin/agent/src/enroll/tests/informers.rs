//! What a source shows, late, twice or out of turn, and which pods stay out of the mesh whatever it shows.

use super::*;

/// A pod of `kube-system`, which is excluded, with every label that would select it.
fn excluded(name: &str) -> Pod {
    let mut pod = pod(name);
    pod.metadata.namespace = "kube-system".to_owned();
    pod.metadata.labels.insert(MODE.to_owned(), "ambient".to_owned());
    pod
}

fn begins(commands: &[String], with: &str) -> bool {
    commands.iter().any(|command| command.starts_with(with))
}

#[test]
fn a_pod_of_an_excluded_namespace_stays_out_and_others_do_not_notice() {
    let mut rig = Rig::new();
    assert_eq!(rig.namespace("kube-system", "ambient"), [""; 0]);
    assert_eq!(rig.seen(&excluded("dns")), [""; 0]);
    assert_eq!(rig.counts(), (0, 0));
    assert!(begins(&rig.seen(&pod("a")), "find a"));
    assert_eq!(rig.counts(), (0, 1));
    assert_eq!(rig.on(Event::PodGone(uid("dns"))), [""; 0]);
}

#[test]
fn a_pod_whose_namespace_became_excluded_is_taken_out() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    rig.namespace("kube-system", "ambient");
    rig.on(Event::PodSeen { pod: Arc::new(excluded("dns")), recorded: Some(Redirection::Enabled) });
    assert!(begins(&rig.on(Event::Synced), "record dns pending"));
    assert!(!begins(&rig.done("dns", Ended::Recorded(Ok(()))), "redirect"));
    assert!(begins(&rig.later(1), "find dns"), "for the rules that it has");
}

#[test]
fn a_pod_on_the_hosts_network_stays_out_whatever_its_labels() {
    let mut rig = Rig::new();
    let mut host = pod("a");
    host.spec.host_network = true;
    host.metadata.labels.insert(MODE.to_owned(), "ambient".to_owned());
    assert_eq!(rig.seen(&host), [""; 0]);
    rig.namespace("mesh", "none");
    assert_eq!(rig.namespace("mesh", "ambient").len(), 1, "only the file of selected namespaces changes");
    assert_eq!(rig.counts(), (0, 0));
}

#[test]
fn pods_that_were_there_before_the_agent_are_enrolled_once_all_is_known() {
    let mut rig = Rig::unsynced();
    assert_eq!(rig.seen(&pod("a")), [""; 0]);
    rig.namespaces();
    assert!(begins(&rig.on(Event::Synced), "find a"));
}

#[test]
fn what_was_shown_before_changes_nothing_when_it_is_shown_again() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    assert_eq!(rig.seen(&pod("a")), [""; 0]);
    let stale = Event::PodSeen { pod: Arc::new(pod("a")), recorded: Some(Redirection::Pending) };
    assert_eq!(rig.on(stale), [""; 0], "what an old object says of its status is not believed");
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn the_end_of_a_pod_that_was_never_shown_is_no_matter() {
    let mut rig = Rig::new();
    assert_eq!(rig.on(Event::PodGone(uid("a"))), [""; 0]);
    assert!(begins(&rig.seen(&pod("b")), "find b"));
}

#[test]
fn a_job_that_ended_is_let_go_until_its_status_says_so() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    let mut ended = pod("a");
    ended.status.phase = "Failed".to_owned();
    rig.seen(&ended);
    assert!(begins(&rig.done("a", Ended::Retracted), "record a nothing"));
    assert!(!begins(&rig.done("a", Ended::Recorded(Err("no answer".to_owned()))), "unredirect"));
    assert!(begins(&rig.later(15), "record a nothing"), "it is tried again");
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
}

#[test]
fn a_job_that_ended_while_no_agent_ran_is_not_looked_for() {
    let mut rig = Rig::unsynced();
    rig.namespaces();
    let mut ended = pod("a");
    ended.status.phase = "Succeeded".to_owned();
    rig.on(Event::PodSeen { pod: Arc::new(ended), recorded: Some(Redirection::Enabled) });
    let commands = rig.on(Event::Synced);
    assert!(begins(&commands, "retract u-a") && !begins(&commands, "find"), "{commands:?}");
    assert!(begins(&rig.done("a", Ended::Retracted), "record a nothing"));
}

#[test]
fn a_pod_is_known_once_it_was_shown() {
    let mut rig = Rig::new();
    let name = sandbox("a", "c1");
    assert!(!rig.machine.knows(&name, Some(&uid("a"))));
    rig.seen(&without_address("a"));
    assert!(rig.machine.knows(&name, Some(&uid("a"))));
    assert!(!rig.machine.knows(&name, Some(&uid("its-successor"))));
}

#[test]
fn a_status_that_another_writer_took_away_is_written_again_once_and_then_at_the_pace_of_failures() {
    let (mut rig, _netns) = Rig::enrolled(&pod("a"));
    let seen = |rig: &mut Rig, recorded| rig.on(Event::PodSeen { pod: Arc::new(pod("a")), recorded });
    // An older state of the pod, from before the agent wrote.
    assert_eq!(seen(&mut rig, None), [""; 0]);
    assert_eq!(seen(&mut rig, Some(Redirection::Enabled)), [""; 0]);
    assert_eq!(seen(&mut rig, None), [""; 0]);
    assert_eq!(rig.counts(), (0, 1));
    assert_eq!(rig.later(1), ["record a enabled"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), [""; 0]);
    assert_eq!(rig.counts(), (1, 0));
}

#[test]
fn a_status_that_another_writer_gave_a_pod_outside_the_mesh_is_taken_away() {
    let mut rig = Rig::new();
    let outside = opted_out("a");
    rig.seen(&outside);
    let said = Event::PodSeen { pod: Arc::new(outside), recorded: Some(Redirection::Enabled) };
    assert_eq!(rig.on(said), [""; 0]);
    assert_eq!(rig.later(1), ["record a pending"]);
    assert_eq!(rig.done("a", Ended::Recorded(Ok(()))), ["record a nothing"]);
}
