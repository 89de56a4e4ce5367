use serde_json::json;

use super::*;
use crate::object::TEMPLATE_GENERATION;

fn daemon_set(desired: u64, updated: u64, available: u64) -> Value {
    json!({
        "metadata": {"generation": 2, "annotations": {TEMPLATE_GENERATION: "2"}},
        "status": {
            "observedGeneration": 2, "desiredNumberScheduled": desired, "updatedNumberScheduled": updated,
            "numberAvailable": available,
        },
    })
}

fn pod(generation: &str, status: Value) -> Value {
    json!({
        "metadata": {"name": "ztunnel-x", "labels": {"pod-template-generation": generation}},
        "spec": {"nodeName": "n1"},
        "status": status,
    })
}

fn seen(daemon_set: Value, pods: Vec<Value>, events: Vec<Value>) -> Seen {
    Seen { daemon_set: Some(daemon_set), pods, events }
}

#[track_caller]
fn waits(seen: &Seen, for_what: &str) {
    match judge(seen) {
        State::Waiting { why, .. } => assert_eq!(why, for_what),
        State::Ready { nodes } => panic!("ready on {nodes} nodes"),
    }
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"containerStatuses": [
        {"name": "istio-proxy", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}},
    ]})
}

#[test]
fn it_is_ready_once_every_node_runs_the_new_pod() {
    assert_eq!(judge(&seen(daemon_set(2, 2, 2), vec![], vec![])), State::Ready { nodes: 2 });
    assert_eq!(judge(&seen(daemon_set(0, 0, 0), vec![], vec![])), State::Ready { nodes: 0 });
    waits(&seen(daemon_set(2, 1, 2), vec![], vec![]), "1 of 2 nodes have the new pod, 2 are available");
    waits(&seen(daemon_set(2, 2, 1), vec![], vec![]), "2 of 2 nodes have the new pod, 1 are available");
}

#[test]
fn what_its_controller_has_not_seen_is_not_ready() {
    let mut unseen = daemon_set(2, 2, 2);
    unseen["metadata"]["generation"] = json!(3);
    waits(&seen(unseen, vec![], vec![]), "waits for its controller, the kube-controller-manager");
}

#[test]
fn a_container_s_reason_is_the_first_that_is_told() {
    let event = json!({"involvedObject": {"name": "ztunnel-x"}, "reason": "Failed", "message": "old news"});
    let pods = vec![pod("2", waiting("ImagePullBackOff", "no such image"))];
    waits(
        &seen(daemon_set(1, 1, 0), pods, vec![event]),
        "ztunnel-x on n1: istio-proxy ImagePullBackOff: no such image",
    );
}

#[test]
fn a_container_that_ends_again_and_again_is_told_with_how_it_ended() {
    let status = json!({"containerStatuses": [{
        "name": "istio-proxy", "ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "ADIT: no CA"}},
    }]});
    waits(
        &seen(daemon_set(1, 1, 0), vec![pod("2", status)], vec![]),
        "ztunnel-x on n1: istio-proxy CrashLoopBackOff; it ended with exit code 1 (Error: ADIT: no CA)",
    );
}

#[test]
fn pods_of_the_template_before_are_no_reason() {
    let old = pod("1", waiting("ImagePullBackOff", "of before"));
    waits(&seen(daemon_set(1, 0, 0), vec![old], vec![]), "0 of 1 nodes have the new pod, 0 are available");
}

#[test]
fn where_there_is_no_pod_the_last_warning_tells_why() {
    let event = |message: &str| json!({"involvedObject": {"name": "ztunnel"}, "reason": "FailedCreate", "message": message});
    waits(
        &seen(daemon_set(1, 0, 0), vec![], vec![event("first"), event("violates PodSecurity \"baseline\"")]),
        "ztunnel: FailedCreate: violates PodSecurity \"baseline\"",
    );
}

#[test]
fn a_pod_without_a_node_is_told_with_what_the_scheduler_says() {
    let status = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu"},
    ]});
    waits(
        &seen(daemon_set(1, 1, 0), vec![pod("2", status)], vec![]),
        "ztunnel-x on n1: Unschedulable: Insufficient cpu",
    );
}
