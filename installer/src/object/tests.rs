use serde_json::json;

use super::*;

#[test]
fn an_object_is_found_where_the_api_server_has_it() {
    for (api_version, kind, namespace, want) in [
        ("v1", "ConfigMap", "ns", "/api/v1/namespaces/ns/configmaps/x"),
        ("apps/v1", "DaemonSet", "ns", "/apis/apps/v1/namespaces/ns/daemonsets/x"),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "ns",
            "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies/x",
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            "",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/x",
        ),
        ("v1", "Namespace", "", "/api/v1/namespaces/x"),
    ] {
        assert_eq!(Id::new(api_version, kind, namespace, "x").path(), want);
    }
}

#[test]
fn a_manifest_without_a_namespace_belongs_to_the_release_s() {
    let of = |kind: &str, namespace: Value| {
        let object =
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": namespace}});
        Id::of(&object, "release").namespace
    };
    assert_eq!(of("ConfigMap", json!(null)).as_deref(), Some("release"));
    assert_eq!(of("ConfigMap", json!("other")).as_deref(), Some("other"));
    assert_eq!(of("Namespace", json!(null)), None);
}

#[test]
fn an_object_is_the_same_in_another_version_of_its_group() {
    let id = |version: &str| Id::new(version, "DaemonSet", "ns", "x");
    assert!(id("apps/v1").is(&id("apps/v1beta2")));
    assert!(!id("apps/v1").is(&id("extensions/v1beta1")));
}

#[test]
fn what_the_server_keeps_in_an_object_is_nobody_s_manifest() {
    let object = json!({
        "kind": "DaemonSet",
        "metadata": {
            "name": "x", "uid": "1", "resourceVersion": "2", "managedFields": [], "generation": 3,
            "annotations": {TEMPLATE_GENERATION: "1"},
        },
        "spec": {},
        "status": {"numberReady": 1},
    });
    assert_eq!(manifest(&object), json!({"kind": "DaemonSet", "metadata": {"name": "x"}, "spec": {}}));
}
