use super::*;
use crate::selector;

const MODE: &str = "istio.io/dataplane-mode";

fn policy() -> Policy {
    Policy {
        selectors: selector::parse(selector::DEFAULT).unwrap(),
        excluded_namespaces: BTreeSet::from(["kube-system".to_owned()]),
        system_namespace: "istio-system".to_owned(),
        node: "n1".to_owned(),
    }
}

fn pod(namespace: &str, mode: Option<&str>) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = "web".to_owned();
    pod.metadata.namespace = namespace.to_owned();
    pod.spec.node_name = "n1".to_owned();
    if let Some(mode) = mode {
        pod.metadata.labels.insert(MODE.to_owned(), mode.to_owned());
    }
    pod
}

fn mode(mode: Option<&str>) -> Labels {
    mode.map(|mode| (MODE.to_owned(), mode.to_owned())).into_iter().collect()
}

#[test]
fn the_default_selectors_follow_the_truth_table() {
    let out = Verdict::NotSelected(Why::NoSelector);
    for (pod_mode, namespace_mode, want) in [
        (Some("ambient"), None, Verdict::Selected),
        (Some("ambient"), Some("ambient"), Verdict::Selected),
        (Some("ambient"), Some("none"), Verdict::Selected),
        (Some("none"), Some("ambient"), out),
        (Some("none"), None, out),
        (None, Some("ambient"), Verdict::Selected),
        (None, Some("none"), out),
        (None, None, out),
        (Some("sidecar"), Some("ambient"), Verdict::Selected),
        (Some("sidecar"), None, out),
    ] {
        let got = verdict(&policy(), &pod("shop", pod_mode), &mode(namespace_mode));
        assert_eq!(got, want, "pod {pod_mode:?} in namespace {namespace_mode:?}");
    }
}

#[test]
fn what_can_never_be_captured_stays_out_whatever_its_labels() {
    let ambient = mode(Some("ambient"));
    let check = |change: fn(&mut Pod), want| {
        let mut pod = pod("shop", Some("ambient"));
        change(&mut pod);
        assert_eq!(verdict(&policy(), &pod, &ambient), Verdict::NotSelected(want));
    };
    check(|pod| pod.spec.host_network = true, Why::HostNetwork);
    check(|pod| pod.spec.node_name = "n2".to_owned(), Why::OtherNode);
    check(|pod| pod.spec.node_name.clear(), Why::OtherNode);
    check(|pod| pod.metadata.namespace = "kube-system".to_owned(), Why::ExcludedNamespace);
    check(|pod| pod.status.phase = "Succeeded".to_owned(), Why::Terminal);
    check(|pod| pod.status.phase = "Failed".to_owned(), Why::Terminal);
    check(
        |pod| {
            pod.metadata.annotations.insert(SIDECAR_STATUS.to_owned(), String::new());
        },
        Why::Sidecar,
    );
    check(
        |pod| {
            pod.metadata.namespace = "istio-system".to_owned();
            pod.metadata.labels.insert("app".to_owned(), "ztunnel".to_owned());
        },
        Why::ProxyItself,
    );
}

#[test]
fn what_says_nothing_about_capture_changes_nothing() {
    let mut pod = pod("shop", None);
    pod.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    pod.metadata.labels.insert("app".to_owned(), "ztunnel".to_owned());
    pod.metadata.annotations.insert("ambient.istio.io/redirection".to_owned(), "disabled".to_owned());
    pod.metadata.annotations.insert("sidecar.istio.io/inject".to_owned(), "true".to_owned());
    assert_eq!(verdict(&policy(), &pod, &mode(Some("ambient"))), Verdict::Selected);
}

#[test]
fn no_selector_selects_nothing() {
    let policy = Policy { selectors: Vec::new(), ..policy() };
    let got = verdict(&policy, &pod("shop", Some("ambient")), &mode(Some("ambient")));
    assert_eq!(got, Verdict::NotSelected(Why::NoSelector));
}

#[test]
fn a_namespace_is_selected_by_its_own_labels() {
    assert!(namespace_selected(&policy(), "shop", &mode(Some("ambient"))));
    assert!(!namespace_selected(&policy(), "shop", &mode(None)));
    assert!(!namespace_selected(&policy(), "kube-system", &mode(Some("ambient"))));
    let only_pods = "- podSelector: {matchLabels: {a: b}}";
    let policy = Policy { selectors: selector::parse(only_pods).unwrap(), ..policy() };
    assert!(!namespace_selected(&policy, "shop", &mode(Some("ambient"))));
    let both = "- {podSelector: {matchLabels: {a: b}}, namespaceSelector: {matchLabels: {istio.io/dataplane-mode: ambient}}}";
    let policy = Policy { selectors: selector::parse(both).unwrap(), ..policy };
    assert!(namespace_selected(&policy, "shop", &mode(Some("ambient"))));
}

#[test]
fn booleans_are_read_as_go_reads_them() {
    for text in ["1", "t", "T", "TRUE", "true", "True"] {
        assert_eq!(parse_bool(text), Some(true), "{text}");
    }
    for text in ["0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(parse_bool(text), Some(false), "{text}");
    }
    for text in ["", "yes", "on", "tRUE", " true", "2"] {
        assert_eq!(parse_bool(text), None, "{text}");
    }
}

#[test]
fn annotations_override_and_those_not_understood_are_named() {
    let mut pod = pod("shop", None);
    assert_eq!(overrides(&pod), (PodOverrides::default(), Vec::new()));
    let mut set = |key: &str, value: &str| {
        pod.metadata.annotations.insert(key.to_owned(), value.to_owned());
    };
    set(BYPASS_INBOUND, "T");
    set(DNS_CAPTURE, "0");
    set(VIRTUAL_INTERFACES, " net1, ,br-x,a b");
    let (got, bad) = overrides(&pod);
    let names: Vec<String> = got.virtual_interfaces.iter().map(ToString::to_string).collect();
    assert_eq!(
        (got.ingress, got.dns, names),
        (true, Some(false), vec!["net1".to_owned(), "br-x".to_owned()])
    );
    assert_eq!(bad, vec![BadOverride { annotation: VIRTUAL_INTERFACES, value: "a b".to_owned() }]);
    pod.metadata.annotations.insert(DNS_CAPTURE.to_owned(), "maybe".to_owned());
    let (got, bad) = overrides(&pod);
    assert_eq!(got.dns, None);
    assert_eq!(bad.first().map(|bad| bad.annotation), Some(DNS_CAPTURE));
}
