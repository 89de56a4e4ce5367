use serde_json::{Value, json};

use super::*;

fn daemon_set(change: impl FnOnce(&mut Value)) -> Answer<DaemonSet> {
    let mut object = json!({
        "metadata": { "name": "istio-cni-node", "namespace": "istio-system" },
        "spec": {
            "selector": {},
            "template": { "spec": { "containers": [
                { "name": "install-cni", "command": ["/usr/local/bin/adit-node-agent"] }
            ] } }
        }
    });
    change(&mut object);
    Answer::Is(serde_json::from_value(object).unwrap())
}

fn node() -> Answer<Node> {
    let object = json!({ "metadata": { "name": "n1", "labels": { "zone": "a", "cores": "8" } } });
    Answer::Is(serde_json::from_value(object).unwrap())
}

fn affinity(terms: Value) -> Answer<DaemonSet> {
    daemon_set(|object| {
        object["spec"]["template"]["spec"]["affinity"] = json!({ "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms }
        } });
    })
}

#[derive(Debug, PartialEq)]
enum Want {
    Stay,
    HandBack,
    Uninstall,
}

#[track_caller]
fn check(daemon_set: &Answer<DaemonSet>, node: &Answer<Node>, want: Want) {
    let got = match departure(daemon_set, node) {
        Departure::Stay { .. } => Want::Stay,
        Departure::HandBack { .. } => Want::HandBack,
        Departure::Uninstall { .. } => Want::Uninstall,
    };
    assert_eq!(got, want, "{daemon_set:?} {node:?}");
}

#[test]
fn a_daemon_set_that_is_there_is_an_upgrade() {
    check(&daemon_set(|_| {}), &node(), Want::Stay);
    check(&daemon_set(|_| {}), &Answer::NotFound, Want::Stay);
}

#[test]
fn a_daemon_set_that_goes_or_has_gone_is_an_uninstall() {
    check(&Answer::NotFound, &node(), Want::Uninstall);
    check(&Answer::Unauthorized, &node(), Want::Uninstall);
    let deleting = |object: &mut Value| {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    };
    check(&daemon_set(deleting), &node(), Want::Uninstall);
}

#[test]
fn what_cannot_be_told_keeps_the_plugin() {
    let unknown = || "timed out".to_owned();
    check(&Answer::Unknown(unknown()), &node(), Want::Stay);
    let terms = || json!([{ "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["z"] }] }]);
    check(&affinity(terms()), &Answer::Unknown(unknown()), Want::Stay);
    check(&affinity(terms()), &Answer::NotFound, Want::Stay);
    check(&affinity(terms()), &Answer::Unauthorized, Want::Stay);
}

#[test]
fn an_affinity_that_leaves_the_node_out_is_an_uninstall_of_this_node() {
    let term = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
    let name = |operator: &str| json!({ "matchFields": [{ "key": "metadata.name", "operator": operator, "values": ["n1"] }] });
    for (term, taken) in [
        (term("zone", "In", &["a", "b"]), true),
        (term("zone", "In", &["b"]), false),
        (term("zone", "NotIn", &["b"]), true),
        (term("zone", "NotIn", &["a"]), false),
        (term("other", "NotIn", &["a"]), true),
        (term("zone", "Exists", &[]), true),
        (term("other", "Exists", &[]), false),
        (term("other", "DoesNotExist", &[]), true),
        (term("zone", "DoesNotExist", &[]), false),
        (term("cores", "Gt", &["4"]), true),
        (term("cores", "Gt", &["8"]), false),
        (term("cores", "Lt", &["16"]), true),
        (term("zone", "Lt", &["16"]), false),
        (name("In"), true),
        (name("NotIn"), false),
        (json!({}), false),
    ] {
        let want = |taken| if taken { Want::Stay } else { Want::Uninstall };
        check(&affinity(json!([term])), &node(), want(taken));
        let other = json!({ "matchExpressions": [{ "key": "zone", "operator": "Exists" }] });
        check(&affinity(json!([term, other])), &node(), Want::Stay);
    }
}

#[test]
fn a_node_selector_that_leaves_the_node_out_is_still_an_upgrade() {
    let parked = daemon_set(|object| {
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({ "zone": "nowhere" });
    });
    check(&parked, &node(), Want::Stay);
}

#[test]
fn a_daemon_set_that_starts_istio_cni_takes_the_node_back() {
    let theirs = daemon_set(|object| {
        object["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["install-cni"]);
    });
    check(&theirs, &node(), Want::HandBack);
    let silent = daemon_set(|object| {
        object["spec"]["template"]["spec"]["containers"][0]["command"] = Value::Null;
    });
    check(&silent, &node(), Want::Stay);
}
