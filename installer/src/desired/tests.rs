use serde_json::json;

use super::*;

fn ground(version: &str) -> Ground {
    Ground { version: version.parse().unwrap(), api_versions: vec![], platform: detect(&[]) }
}

#[test]
fn both_daemon_sets_are_wanted_and_every_object_says_where() {
    let desired = desired(&ground("v1.33.1"), "istio-system", json!({})).unwrap();
    let ids: Vec<_> = desired.objects.iter().map(|(id, _)| id.to_string()).collect();
    for id in ["DaemonSet istio-system/ztunnel", "DaemonSet istio-system/istio-cni-node"] {
        assert!(ids.contains(&id.to_owned()), "{ids:?}");
    }
    for (id, object) in &desired.objects {
        assert_eq!(id.namespace.as_deref().unwrap_or_default(), text(object, "/metadata/namespace"), "{id}");
    }
}

#[test]
fn the_same_values_render_the_same_objects() {
    let render = || desired(&ground("v1.33.1"), "istio-system", json!({})).unwrap().objects;
    assert_eq!(render(), render());
}

#[test]
fn a_server_that_is_too_old_is_refused_with_both_versions() {
    let Err(RenderError::KubeVersion { wants, got, .. }) =
        desired(&ground("v1.26.3"), "istio-system", json!({}))
    else {
        panic!("1.26 is too old")
    };
    assert_eq!((wants.as_str(), got.to_string().as_str()), (">=1.27.0-0", "v1.26.3"));
}

#[test]
fn what_people_gave_stands_over_flags_and_over_what_nodes_show() {
    let given = json!({"global": {"platform": "k3s"}, "ztunnel": {"logLevel": "debug"}});
    assert_eq!(
        with_flags(given, Some("ambient"), Some("gke"), "mesh"),
        json!({
            "global": {"profile": "ambient", "platform": "k3s", "istioNamespace": "mesh"},
            "ztunnel": {"logLevel": "debug"},
        })
    );
    assert_eq!(with_flags(json!({"a": 1}), None, None, "istio-system"), json!({"a": 1}));
}

#[test]
fn a_value_that_nothing_reads_is_remarked_on_and_others_are_not() {
    let remarks = |values| desired(&ground("v1.33.1"), "istio-system", values).unwrap().remarks;
    assert_eq!(remarks(json!({})), Vec::<String>::new());
    let of_unknown = remarks(json!({"ztunnel": {"logLevle": "debug"}}));
    assert!(of_unknown.concat().contains("ztunnel.logLevle"), "{of_unknown:?}");
}
