use serde_json::json;

use super::*;

fn pod(name: &str, annotation: Option<&str>, phase: &str) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name, "annotations": {REDIRECTION: annotation}},
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase},
    })
}

#[test]
fn captured_are_pods_that_run_and_that_an_agent_has_marked() {
    let pods = [
        pod("in", Some("enabled"), "Running"),
        pod("soon", Some("pending"), "Pending"),
        pod("out", None, "Running"),
        pod("over", Some("enabled"), "Succeeded"),
    ];
    let found = captured(&pods);
    let names: Vec<_> = found.iter().map(|pod| (pod.name.as_str(), pod.enabled)).collect();
    assert_eq!(names, [("default/in", true), ("default/soon", false)]);
}

#[test]
fn a_version_is_the_tag_of_an_image() {
    for (image, want) in [
        ("ghcr.io/adit-mesh/adit-proxy:0.1.0", "0.1.0"),
        ("localhost:5000/adit-proxy:0.1.0@sha256:abc", "0.1.0"),
        ("localhost:5000/adit-proxy", "unknown"),
        ("adit-proxy:dev", "dev"),
    ] {
        assert_eq!(version_of(image), want, "{image}");
    }
}
