use serde_json::json;

use super::*;
use crate::object::TEMPLATE_GENERATION;

fn daemon_set(nodes: u64, ready: u64) -> Value {
    json!({
        "metadata": {"generation": 1, "annotations": {TEMPLATE_GENERATION: "1"}},
        "status": {
            "observedGeneration": 1, "desiredNumberScheduled": nodes, "updatedNumberScheduled": nodes,
            "numberReady": ready, "numberAvailable": ready,
        },
    })
}

fn pod(node: &str, image: &str, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "metadata": {"name": format!("pod-{node}"), "labels": {"pod-template-generation": "1"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]},
        "status": {
            "conditions": [{"type": "Ready", "status": status}],
            "containerStatuses": [{"name": "c", "ready": ready, "state": {"running": {}}}],
        },
    })
}

fn seen(nodes: u64, pods: Vec<Value>) -> Seen {
    let ready = pods.iter().filter(|pod| pod_trouble(pod).is_none()).count() as u64;
    Seen { daemon_set: Some(daemon_set(nodes, ready)), pods, events: vec![] }
}

fn captured(node: &str, enabled: bool) -> Captured {
    Captured { name: format!("default/on-{node}"), node: node.to_owned(), enabled }
}

#[test]
fn a_node_shows_the_versions_that_are_ready_and_its_pods() {
    let proxies = seen(1, vec![pod("n1", "hub/adit-proxy:0.1.0", true)]);
    let agents = seen(1, vec![pod("n1", "hub/adit-node-agent:0.1.1", true)]);
    let pods = [captured("n1", true), captured("n1", true), captured("n1", false)];
    let report = report(&proxies, &agents, &[], &pods, Some("0.1.0".to_owned()));
    assert!(report.ready);
    let want = Node {
        name: "n1".to_owned(),
        proxy: Some("0.1.0".to_owned()),
        agent: Some("0.1.1".to_owned()),
        pods: 2,
        waits: vec![],
    };
    assert_eq!(report.nodes, [want]);
}

#[test]
fn a_node_that_does_not_work_says_what_it_waits_for() {
    let proxies = seen(2, vec![pod("n1", "p:1", true), pod("n2", "p:1", false)]);
    let agents = seen(2, vec![pod("n1", "a:1", true), pod("n2", "a:1", true)]);
    let report = report(&proxies, &agents, &[], &[], None);
    assert!(!report.ready);
    assert_eq!(report.nodes[1].proxy, None);
    assert_eq!(report.nodes[1].waits, ["pod-n2 on n2: c runs but is not ready"]);
    assert_eq!(report.components[0].waits.as_deref(), Some("pod-n2 on n2: c runs but is not ready"));
    assert_eq!(report.components[1].waits, None);
}

#[test]
fn nothing_installed_is_not_ready() {
    let none = Seen { daemon_set: None, pods: vec![], events: vec![] };
    let report = report(&none, &none, &[json!({"metadata": {"name": "n1"}})], &[], None);
    assert!(!report.ready);
    assert!(report.components.iter().all(|component| !component.there));
    assert_eq!(report.nodes.len(), 1);
}
