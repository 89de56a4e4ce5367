use serde_json::json;

use super::*;
use crate::object::{Id, TEMPLATE_GENERATION};
use crate::plan::FieldChange;

fn captured(name: &str, node: &str) -> Captured {
    Captured { name: format!("default/{name}"), node: node.to_owned(), enabled: true }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_canary_is_the_node_that_is_asked_for_else_the_one_with_the_least_to_lose() {
    let nodes = names(&["a", "b", "c"]);
    let pods = [captured("x", "a"), captured("y", "a"), captured("z", "b")];
    assert_eq!(order(&nodes, &pods, None), Ok(names(&["c", "b", "a"])));
    assert_eq!(order(&nodes, &pods, Some("a")), Ok(names(&["a", "c", "b"])));
    assert_eq!(order(&nodes, &pods, Some("d")), Err("d".to_owned()));
}

#[test]
fn the_canary_changes_alone_and_others_so_many_at_once() {
    let order = names(&["a", "b", "c", "d"]);
    assert_eq!(batches(&order, 2), [names(&["a"]), names(&["b", "c"]), names(&["d"])]);
    assert_eq!(batches(&[], 2), Vec::<Vec<String>>::new());
}

fn pod(generation: &str, status: Value) -> Value {
    json!({
        "metadata": {"name": "p", "labels": {"pod-template-generation": generation}},
        "spec": {"nodeName": "a"},
        "status": status,
    })
}

#[track_caller]
fn check(pods: Vec<Value>, want: &str) {
    let daemon_set = json!({"metadata": {"annotations": {TEMPLATE_GENERATION: "2"}}});
    let state = node_state(&Seen { daemon_set: Some(daemon_set), pods, events: vec![] }, "a");
    let word = match state {
        NodeState::Old => "old",
        NodeState::Starting(_) => "starting",
        NodeState::Updated => "updated",
        NodeState::Failing(_) => "failing",
    };
    assert_eq!(word, want);
}

#[test]
fn a_node_is_judged_by_its_new_pod() {
    let ready = || json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let waiting = |reason: &str, restarts: u64| {
        let state = json!({"waiting": {"reason": reason}});
        json!({"containerStatuses": [{"name": "c", "restartCount": restarts, "state": state}]})
    };
    check(vec![], "old");
    check(vec![pod("1", ready())], "old");
    check(vec![pod("1", ready()), pod("2", ready())], "updated");
    check(vec![pod("1", ready()), pod("2", waiting("ContainerCreating", 0))], "starting");
    check(vec![pod("1", ready()), pod("2", waiting("CrashLoopBackOff", 1))], "failing");
    check(vec![pod("2", waiting("ImagePullBackOff", 0))], "failing");
    check(vec![pod("2", waiting("ContainerCreating", 3))], "failing");
    let mut going = pod("2", ready());
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    check(vec![going], "old");
}

#[test]
fn a_pod_is_lost_when_it_runs_on_and_is_no_longer_captured() {
    let running = |name: &str| json!({"metadata": {"namespace": "default", "name": name}, "status": {"phase": "Running"}});
    let before =
        [captured("kept", "a"), captured("lost", "a"), captured("gone", "a"), captured("elsewhere", "b")];
    let after = [captured("kept", "a")];
    let pods = [running("kept"), running("lost"), running("elsewhere")];
    assert_eq!(lost("a", &before, &after, &pods), ["default/lost"]);
}

#[test]
fn only_what_changes_a_template_or_held_its_pods_back_replaces_pods() {
    let step = |kind: &str, field: &str| {
        let change = FieldChange { field: field.to_owned(), from: None, to: None };
        let verdict = Verdict::Change { changes: vec![change] };
        Step { id: Id::new("apps/v1", kind, "ns", "x"), verdict, object: None, live: None }
    };
    assert!(changes_pods(&step("DaemonSet", ".spec.template.spec.containers[c].image")));
    assert!(changes_pods(&step("DaemonSet", ".spec.updateStrategy.type")));
    assert!(!changes_pods(&step("DaemonSet", ".metadata.labels.a")));
    assert!(!changes_pods(&step("ConfigMap", ".spec.template")));
}
