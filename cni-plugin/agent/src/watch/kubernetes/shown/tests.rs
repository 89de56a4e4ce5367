use serde_json::{Value, json};

use super::*;

fn pod(json: Value) -> Pod {
    serde_json::from_value::<Shown>(json).unwrap().into_pod()
}

#[test]
fn a_pod_keeps_what_enrollment_reads_and_nothing_else() {
    let pod = pod(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
            "labels": {"app": "web"},
            "annotations": {
                "ambient.istio.io/redirection": "enabled",
                "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(5000),
            },
            "deletionTimestamp": "2026-01-02T03:04:05Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r"}],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {"nodeName": "n1", "serviceAccountName": "web", "volumes": [{"name": "v"}], "containers": []},
        "status": {
            "phase": "Running", "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}],
            "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}],
        },
    }));
    assert_eq!((pod.full_name().as_str(), pod.metadata.uid.as_str()), ("shop/web", "u1"));
    assert_eq!(pod.metadata.annotations.keys().collect::<Vec<_>>(), ["ambient.istio.io/redirection"]);
    assert_eq!(pod.metadata.labels.len(), 1);
    assert!(pod.metadata.deletion_timestamp.is_some());
    assert_eq!((pod.spec.node_name.as_str(), pod.service_account()), ("n1", "web"));
    assert_eq!((pod.ips().len(), pod.status.has_sandbox), (2, Some(true)));
}

#[test]
fn a_pod_of_which_little_is_known_is_no_obstacle() {
    for (spec, status) in [(json!({}), json!({})), (json!({"containers": null}), json!({"podIPs": null}))] {
        let pod = pod(json!({"metadata": {"name": "web", "labels": null}, "spec": spec, "status": status}));
        assert_eq!(pod.ips(), Vec::<std::net::IpAddr>::new());
    }
    assert!(pod(json!({"metadata": {"name": "web"}})).spec.node_name.is_empty());
}

#[test]
fn a_namespace_is_its_name_and_labels() {
    let shown = serde_json::from_value(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "shop", "uid": "n", "labels": {"a": "b"}, "annotations": {"c": "d"}},
    }));
    let namespace = namespace(shown.unwrap());
    let metadata = Metadata { name: "shop".to_owned(), ..Metadata::default() };
    let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(namespace, Namespace { metadata: Metadata { labels, ..metadata } });
}
