use super::*;

fn pod(yaml: &str) -> Pod {
    serde_saphyr::from_str(yaml).unwrap()
}

#[test]
fn the_fields_that_enrollment_reads_are_read() {
    let pod = pod("
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  uid: 0b1d
  labels: {app: web}
  annotations: {ambient.istio.io/redirection: enabled}
spec:
  hostNetwork: true
  nodeName: n1
  serviceAccountName: web
  containers: [{name: c, image: i}]
status:
  phase: Running
  podIP: 10.0.0.5
  podIPs: [{ip: 10.0.0.5}, {ip: 'fd00::5'}]
");
    assert_eq!(pod.full_name(), "shop/web");
    assert!(pod.spec.host_network);
    assert_eq!(pod.spec.node_name, "n1");
    assert_eq!(pod.service_account(), "web");
    assert_eq!(pod.redirection(), Some(Redirection::Enabled));
    let want: Vec<IpAddr> = vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
    assert_eq!(pod.ips(), want);
}

#[test]
fn empty_maps_may_be_written_as_nothing() {
    let pod = pod("metadata:\n  name: a\n  labels:\n  annotations: ~\nspec:\nstatus: {podIPs: ~}\n");
    assert!(pod.metadata.labels.is_empty());
    assert_eq!(pod.ips(), Vec::<IpAddr>::new());
    assert_eq!(pod.service_account(), "default");
}

#[test]
fn a_mapped_address_counts_as_ipv4_and_only_once() {
    let pod = pod(
        "metadata: {name: a}\nstatus: {podIP: 10.0.0.5, podIPs: [{ip: '::ffff:10.0.0.5'}, {ip: nonsense}]}",
    );
    assert_eq!(pod.ips(), vec!["10.0.0.5".parse::<IpAddr>().unwrap()]);
}

#[test]
fn only_ended_pods_are_terminal() {
    for (phase, terminal) in
        [("Succeeded", true), ("Failed", true), ("Running", false), ("Pending", false), ("", false)]
    {
        let pod =
            Pod { status: PodStatus { phase: phase.to_owned(), ..PodStatus::default() }, ..Pod::default() };
        assert_eq!(pod.is_terminal(), terminal, "{phase}");
    }
}

#[test]
fn other_values_of_the_annotation_say_nothing() {
    for value in ["", "disabled", "Enabled", "true"] {
        assert_eq!(Redirection::from_value(value), None, "{value}");
    }
}

#[test]
fn a_pod_without_a_uid_gets_one_that_stays() {
    let mut one = pod("metadata: {name: a, namespace: b}");
    one.ensure_uid();
    assert_eq!(one.metadata.uid, "b/a");
    assert!(one.has_made_up_uid());
    let mut other = pod("metadata: {name: a, namespace: b, uid: u}");
    other.ensure_uid();
    assert_eq!(other.metadata.uid, "u");
    assert!(!other.has_made_up_uid());
}

#[test]
fn a_status_that_tells_of_another_sandbox_is_noticed() {
    let at = |container: &str, ready: &str, ip: &str| {
        pod(&format!(
            "metadata: {{name: a}}\nstatus:\n  podIP: {ip}\n  containerStatuses: [{{containerID: {container}}}, {{}}]\n  \
             conditions: [{{type: Ready, status: '{ready}'}}, {{type: PodReadyToStartContainers, status: '{ready}'}}]\n"
        ))
    };
    let before = at("containerd://1", "True", "10.0.0.5");
    assert_eq!(before.status.has_sandbox, Some(true));
    assert!(!before.may_have_moved_since(&before));
    for moved in [
        at("containerd://2", "True", "10.0.0.5"),
        at("containerd://1", "False", "10.0.0.5"),
        at("containerd://1", "True", "10.0.0.6"),
    ] {
        assert!(moved.may_have_moved_since(&before), "{moved:?}");
    }
    let mut other = before.clone();
    other.metadata.labels.insert("a".to_owned(), "b".to_owned());
    assert!(!other.may_have_moved_since(&before));
}

#[test]
fn conditions_that_tell_nothing_of_the_sandbox_are_left_out() {
    for conditions in
        ["[]", "~", "[{type: Ready, status: 'True'}]", "[{type: PodReadyToStartContainers, status: Unknown}]"]
    {
        let pod = pod(&format!("metadata: {{name: a}}\nstatus: {{conditions: {conditions}}}"));
        assert_eq!(pod.status.has_sandbox, None, "{conditions}");
    }
}
