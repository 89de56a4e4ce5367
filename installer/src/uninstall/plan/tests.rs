use serde_json::json;

use super::*;

fn ours() -> Value {
    json!({"metadata": {"managedFields": [{"manager": "adit", "operation": "Apply"}]}})
}

fn id(kind: &str, name: &str) -> Id {
    Id::new("v1", kind, "istio-system", name)
}

fn daemon_set(name: &str) -> Id {
    Id::new("apps/v1", "DaemonSet", "istio-system", name)
}

fn installed() -> Vec<(Id, Value)> {
    let ids = [
        id("ServiceAccount", "ztunnel"),
        id("ConfigMap", "istio-cni-config"),
        daemon_set("ztunnel"),
        daemon_set("istio-cni-node"),
    ];
    ids.into_iter().map(|id| (id, ours())).collect()
}

fn record() -> Record {
    Record::new(json!({}), &installed())
}

#[test]
fn agents_go_before_proxies_and_what_they_run_with_last() {
    let farewell = farewell(&record(), &installed(), false);
    assert_eq!(farewell.agents, [daemon_set("istio-cni-node")]);
    assert_eq!(farewell.proxies, [daemon_set("ztunnel")]);
    assert_eq!(farewell.rest, [id("ConfigMap", "istio-cni-config"), id("ServiceAccount", "ztunnel")]);
}

#[test]
fn what_somebody_else_has_taken_since_is_left() {
    let mut live = installed();
    let helm = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "istio-cni"}}});
    live[3].1 = helm.clone();
    let farewell = farewell(&record(), &live, false);
    assert_eq!(farewell.agents, []);
    assert_eq!(farewell.left, [(daemon_set("istio-cni-node"), Owner::of(&helm))]);
}

#[test]
fn what_is_put_back_is_not_removed_first_and_daemon_sets_come_back_last() {
    let mut record = record();
    let replaced = |id: Id| Replaced { id, manager: "helm".to_owned(), manifest: json!({}) };
    record.replaced =
        vec![replaced(daemon_set("istio-cni-node")), replaced(id("ConfigMap", "istio-cni-config"))];
    let farewell = farewell(&record, &installed(), true);
    let back: Vec<_> = farewell.restore.iter().map(|replaced| replaced.id.name.as_str()).collect();
    assert_eq!(back, ["istio-cni-config", "istio-cni-node"]);
    assert_eq!((farewell.agents, farewell.proxies), (vec![], vec![daemon_set("ztunnel")]));
    assert_eq!(farewell.rest, [id("ServiceAccount", "ztunnel")]);
}
