use serde_json::json;

use super::*;

#[track_caller]
fn check(node: Value, want: Platform) {
    assert_eq!(detect(&[node]).platform, want);
}

fn node(name: &str, kubelet: &str, labels: Value, provider: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": provider},
        "status": {"nodeInfo": {"kubeletVersion": kubelet}},
    })
}

#[test]
fn a_platform_is_known_by_what_its_nodes_say_of_themselves() {
    check(
        node("kind-control-plane", "v1.33.1", json!({}), "kind://docker/kind/kind-control-plane"),
        Platform::None,
    );
    check(node("a", "v1.33.1+k3s1", json!({}), ""), Platform::K3s);
    check(node("k3d-dev-server-0", "v1.33.1+k3s1", json!({}), ""), Platform::K3d);
    check(node("a", "v1.33.1-gke.100", json!({}), ""), Platform::Gke);
    check(node("a", "v1.33.1", json!({"node.openshift.io/os_id": "rhcos"}), ""), Platform::Openshift);
    check(node("minikube", "v1.33.1", json!({"minikube.k8s.io/name": "minikube"}), ""), Platform::Minikube);
    check(node("a", "v1.33.1", json!({"microk8s.io/cluster": "true"}), ""), Platform::Microk8s);
    check(node("a", "v1.33.1", json!({}), "aws:///eu-west-1/i-1"), Platform::None);
}

#[test]
fn one_node_that_gives_itself_away_is_enough_and_is_named() {
    let plain = node("a", "v1.33.1", json!({}), "");
    let k3s = node("b", "v1.33.1+k3s1", json!({}), "");
    assert_eq!(detect(&[plain, k3s]).to_string(), "k3s (node b has a kubelet of K3s)");
    assert_eq!(detect(&[]).to_string(), "standard paths (no node says otherwise)");
}
