use super::kube::{IpFamily, TargetPort};
use super::security::{Action, Condition, FieldError, IpBlock, Mode, PortText, Values};
use super::*;

#[test]
fn every_document_of_a_file_is_read() {
    let text = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
# only a comment
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Node
metadata: {name: one, labels: {topology.kubernetes.io/zone: a}}
";
    let kinds: Vec<_> = read(text).iter().map(Object::kind).collect();
    assert_eq!(kinds, [Kind::Namespace, Kind::ServiceAccount, Kind::Node]);
}

#[test]
fn a_list_is_read_as_its_items() {
    let text = "{apiVersion: v1, kind: List, items: [
        {apiVersion: v1, kind: Pod, metadata: {name: a}}, {apiVersion: v1, kind: Pod, metadata: {name: b}}]}";
    let names: Vec<_> = read(text).iter().map(|object| object.metadata().name.clone()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_namespaced_object_without_a_namespace_is_in_default() {
    let objects = read("{apiVersion: v1, kind: Pod, metadata: {name: a}}");
    assert_eq!(objects[0].metadata().namespace, "default");
    let objects = read("{apiVersion: v1, kind: Namespace, metadata: {name: a}}");
    assert_eq!(objects[0].metadata().namespace, "");
}

#[test]
fn other_kinds_are_ignored_by_name() {
    let text = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2}}
---
{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: web}}";
    let parsed = parse("f", text).unwrap();
    assert_eq!(parsed.objects, []);
    assert_eq!(parsed.ignored, ["apps/v1/Deployment web", "serving.knative.dev/v1/Service web"]);
}

#[test]
fn null_is_the_same_as_absent() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: null, creationTimestamp: null},
        spec: {containers: [{name: x, ports: null}]}, status: null}";
    assert_eq!(read(text)[0].kind(), Kind::Pod);
}

#[test]
fn words_that_yaml_1_1_took_for_booleans_or_octals_are_text() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: n, labels: {a: on, b: yes, c: \"0644\"}}}";
    let labels = &read(text)[0].metadata().labels.clone();
    let values: Vec<_> = labels.values().map(String::as_str).collect();
    assert_eq!(values, ["on", "yes", "0644"]);
}

#[test]
fn a_service_is_read_with_all_that_matters() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, 'fd00::a']
  ipFamilies: [IPv4, IPv6]
  selector: {app: web}
  ports:
  - {name: http-app, port: 80, targetPort: http}
  - {name: tcp, port: 90, targetPort: 9090}
  - {name: text, port: 91, targetPort: '9091'}
";
    let Object::Service(service) = &read(text)[0] else { panic!("not a service") };
    let targets: Vec<_> = service.spec.ports.iter().map(|port| port.target_port.clone()).collect();
    let name = |text: &str| Some(TargetPort::Name(text.to_owned()));
    assert_eq!(targets, [name("http"), Some(TargetPort::Number(9090)), name("9091")]);
    assert_eq!(service.spec.ip_families, [IpFamily::V4, IpFamily::V6]);
    assert_eq!(service.spec.cluster_ips[1].0, Some("fd00::a".parse().unwrap()));
}

#[test]
fn a_policy_is_read_with_typed_values() {
    let text = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec:
  action: DENY
  rules:
  - from: [{source: {ipBlocks: [10.0.0.1, 10.1.0.0/16], serviceAccounts: [web, other/api]}}]
    to: [{operation: {ports: ['8080']}}]
    when:
    - {key: destination.port, notValues: ['80']}
    - {key: 'request.headers[x]', values: [y]}
";
    let Object::AuthorizationPolicy(policy) = &read(text)[0] else { panic!("not a policy") };
    assert_eq!(policy.spec.action, Action::Deny);
    let rule = &policy.spec.rules[0];
    let blocks = ["10.0.0.1/32", "10.1.0.0/16"].map(|block| IpBlock(block.parse().unwrap()));
    assert_eq!(rule.from[0].source.ip_blocks, blocks);
    assert_eq!(rule.from[0].source.service_accounts[1].namespace.as_deref(), Some("other"));
    assert_eq!(rule.to[0].operation.ports, [PortText(8080)]);
    let port = Condition::DestinationPort(Values { values: vec![], not_values: vec![PortText(80)] });
    assert_eq!(rule.when, [port, Condition::Http("request.headers[x]".to_owned())]);
}

#[test]
fn ports_of_a_peer_authentication_are_numbers() {
    let text = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: p},
        spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}}";
    let Object::PeerAuthentication(peer) = &read(text)[0] else { panic!("not a PeerAuthentication") };
    assert_eq!(peer.spec.port_level_mtls[&8080].mode, Mode::Disable);
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    for (text, kind, field) in [
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {hostNetwork: maybe}}",
            "Pod",
            "spec.hostNetwork",
        ),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x, labels: {a: 1}}}", "Pod", "metadata.labels.a"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x}, status: {podIP: ten}}", "Pod", "status.podIP"),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {clusterIP: ten}}",
            "Service",
            "spec.clusterIP",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 80}, {port: 70000}]}}",
            "Service",
            "spec.ports[1].port",
        ),
        (
            &policy("rules: [{from: [{source: {principal: [x]}}]}]"),
            "AuthorizationPolicy",
            "spec.rules[0].from[0].source.principal",
        ),
        (
            &policy("rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]"),
            "AuthorizationPolicy",
            "spec.rules[0].from[0].source.ipBlocks[0]",
        ),
        (
            &policy("rules: [{to: [{operation: {ports: ['65536']}}]}]"),
            "AuthorizationPolicy",
            "spec.rules[0].to[0].operation.ports[0]",
        ),
        (
            &policy("rules: [{when: [{key: source.ip, values: [x]}]}]"),
            "AuthorizationPolicy",
            "spec.rules[0].when[0]",
        ),
        (
            &policy("rules: [{when: [{key: source.sky, values: [x]}]}]"),
            "AuthorizationPolicy",
            "spec.rules[0].when[0]",
        ),
        (&policy("action: PERMIT"), "AuthorizationPolicy", "spec.action"),
        (&mesh("workloads: [{uid: u, nodeName: n}]"), "MeshResources", "workloads[0].nodeName"),
        (&mesh("services: [{hostname: h}]"), "MeshResources", "services[0]"),
        (&mesh("gateways: []"), "MeshResources", "gateways"),
    ] {
        match parse("shop.yaml", text) {
            Err(ObjectError::Field { file, document: 1, kind: k, name, field: f, .. }) => {
                assert_eq!((file.as_str(), name.as_str()), ("shop.yaml", "x"), "{text}");
                assert_eq!((k.as_str(), f.as_str()), (kind, field), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_document_that_is_no_object_says_what_it_lacks() {
    for (text, lacks) in [
        ("{apiVersion: v1, metadata: {name: x}}", "kind"),
        ("{kind: Pod, metadata: {name: x}}", "apiVersion"),
        ("{apiVersion: v1, kind: Pod}", "metadata.name"),
        ("just text", "kind"),
    ] {
        match parse("f", text) {
            Err(ObjectError::NotAnObject { missing, .. }) => assert_eq!(missing, lacks),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn the_document_at_fault_is_counted_and_nothing_of_the_file_is_taken() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\napiVersion: v1\nkind: [unclosed";
    assert!(matches!(parse("f", text), Err(ObjectError::Yaml { document: 2, .. })));
    let mut objects = Objects::default();
    assert!(matches!(objects.upsert_yaml("f", text), Err(ObjectError::Yaml { .. })));
    assert_eq!(objects, Objects::default());
}

#[test]
fn a_value_out_of_sense_says_why() {
    assert_eq!(PortText::try_from("http".to_owned()), Err(FieldError::Port("http".to_owned())));
    assert_eq!(IpBlock::try_from(String::new()), Err(FieldError::IpBlock(String::new())));
}

#[test]
fn objects_are_replaced_and_removed_by_kind_and_name() {
    let mut objects = Objects::default();
    objects.upsert_yaml("f", "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {v: old}}}").unwrap();
    objects.upsert_yaml("f", "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {v: new}}}").unwrap();
    assert_eq!(objects.pods().count(), 1);
    assert_eq!(objects.pod("default", "a").unwrap().metadata.labels["v"], "new");
    assert!(!objects.remove(Kind::Service, "default", "a"));
    assert!(objects.remove(Kind::Pod, "default", "a"));
    assert!(!objects.remove(Kind::Pod, "default", "a"));
}

#[test]
fn a_pods_annotation_is_set_and_taken_away() {
    let mut objects = Objects::default();
    objects.upsert_yaml("f", "{apiVersion: v1, kind: Pod, metadata: {name: a}}").unwrap();
    assert!(objects.annotate_pod("default", "a", "k", Some("v")));
    assert_eq!(objects.pod("default", "a").unwrap().metadata.annotations["k"], "v");
    assert!(objects.annotate_pod("default", "a", "k", None));
    assert!(objects.pod("default", "a").unwrap().metadata.annotations.is_empty());
    assert!(!objects.annotate_pod("default", "b", "k", Some("v")));
}

#[test]
fn an_account_is_run_by_pods_that_have_not_failed() {
    let mut objects = Objects::default();
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {serviceAccountName: web}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: x}, spec: {serviceAccountName: dead}, status: {phase: Failed}}";
    objects.upsert_yaml("f", text).unwrap();
    objects.upsert_yaml("f", &mesh("workloads: [{namespace: y, name: vm, serviceAccount: vm}]")).unwrap();
    assert!(objects.runs_as("y", "vm") && !objects.runs_as("x", "vm"));
    assert!(objects.remove(Kind::MeshResources, "", "x"), "it is cluster-wide");
    assert!(!objects.runs_as("y", "vm"));
    let runs =
        [("x", "web"), ("x", "default"), ("x", "dead"), ("y", "web")].map(|(ns, sa)| objects.runs_as(ns, sa));
    assert_eq!(runs, [true, true, false, false]);
}

#[track_caller]
fn read(text: &str) -> Vec<Object> {
    parse("f", text).unwrap().objects
}

fn mesh(entries: &str) -> String {
    format!("{{apiVersion: adit.dev/v1alpha1, kind: MeshResources, metadata: {{name: x}}, {entries}}}")
}

fn policy(spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: x}}, spec: {{{spec}}}}}"
    )
}
