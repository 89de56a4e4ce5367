use super::*;

fn daemon_set() -> Value {
    json!({
        "metadata": {"name": "ztunnel"},
        "spec": {
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"spec": {"containers": []}},
        },
    })
}

#[test]
fn the_canary_is_the_same_daemon_set_on_one_node() {
    let canary = pinned(&daemon_set(), "ztunnel-canary", "n1");
    assert_eq!(text(&canary, "/metadata/name"), "ztunnel-canary");
    let terms = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    assert_eq!(canary.pointer(terms).unwrap()[0]["matchFields"][0]["values"], json!(["n1"]));
}

#[test]
fn more_nodes_at_once_means_more_new_proxies_beside_old_ones() {
    let rolling = |nodes| at_once(&daemon_set(), nodes)["spec"]["updateStrategy"]["rollingUpdate"].clone();
    assert_eq!(rolling(1), json!({"maxSurge": 1, "maxUnavailable": 0}));
    assert_eq!(rolling(3), json!({"maxSurge": 3, "maxUnavailable": 0}));
}

#[test]
fn what_is_held_replaces_no_pod_by_itself() {
    assert_eq!(held(&daemon_set())["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
}
