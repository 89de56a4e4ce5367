use serde_json::json;

use super::*;

#[test]
fn a_missing_right_is_named_as_the_server_names_it() {
    let message = "daemonsets.apps \"ztunnel\" is forbidden: User \"dev\" cannot patch resource \"daemonsets\" in API \
                   group \"apps\" in the namespace \"istio-system\"";
    let want = "User \"dev\" cannot patch resource \"daemonsets\" in API group \"apps\" in the namespace \"istio-system\"";
    assert_eq!(right(message), want);
}

#[test]
fn pods_need_what_they_mount_unless_we_bring_it_or_they_start_without() {
    let daemon_set = json!({"spec": {"template": {"spec": {"volumes": [
        {"name": "ca", "configMap": {"name": "istio-ca-root-cert"}},
        {"name": "crl", "configMap": {"name": "istio-ca-crl", "optional": true}},
        {"name": "ours", "configMap": {"name": "brought"}},
        {"name": "tmp", "emptyDir": {}},
    ]}}}});
    let objects = [
        (Id::new("apps/v1", "DaemonSet", "ns", "ztunnel"), daemon_set),
        (Id::new("v1", "ConfigMap", "ns", "brought"), json!({})),
    ];
    let needed: Vec<_> = mounts(&objects).into_iter().map(|(_, needed)| needed.name).collect();
    assert_eq!(needed, ["istio-ca-root-cert"]);
}
