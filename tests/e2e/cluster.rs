//! A whole Kubernetes: nodes with a kubelet and containers of images, and what people do with them.

pub(crate) mod mesh;

use tests::lab::kube::cluster::Cluster;
use tests::lab::kube::tool;
use tests::lab::{eventually, eventually_is, http};

pub(crate) fn a_daemon_set_runs_on_every_node_as_its_account() {
    let cluster = with_samples(&["a", "b"]);
    let pods = pods(&cluster);
    assert_eq!(pods.len(), 2, "{pods:?}");
    // The first pod asks the API server, by the address of its service and with the token that its kubelet wrote.
    let ask = "curl -sS --cacert $at/ca.crt -H \"Authorization: Bearer $(cat $at/token)\" \
        https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/default/pods";
    let ask = format!("at=/var/run/secrets/kubernetes.io/serviceaccount; {ask}");
    let refused = cluster.must(&["exec", &pods[0], "--", "sh", "-c", &ask]);
    assert!(refused.contains("system:serviceaccount:default:sample"), "{refused}");
}

pub(crate) fn logs_programs_and_ports_of_a_pod_are_reached_through_the_api_server() {
    let cluster = with_samples(&["a"]);
    let pod = &pods(&cluster)[0];
    assert_eq!(cluster.must(&["exec", pod, "--", "cat", "/proc/sys/kernel/hostname"]).trim(), *pod);
    let failed = cluster.kubectl(&["exec", pod, "--", "sh", "-c", "exit 56"]);
    assert_eq!(failed.exit, 56, "{failed:?}");
    eventually("the pod's log", || match cluster.must(&["logs", pod]) {
        log if log.contains("8080") => Ok(()),
        log => Err(log),
    });
    let (forward, at) = cluster.forward("default", &format!("pod/{pod}"), 8080);
    let answer = http::get(cluster.underlay(), at, "/color").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(answer, (200, "a".to_owned()));
    forward.assert_running();
}

pub(crate) fn a_service_is_found_by_name_and_served_by_pods_of_every_node() {
    let cluster = with_samples(&["a", "b"]);
    let from = &pods(&cluster)[0];
    for wanted in ["a", "b"] {
        // kube-proxy picks one by chance.
        eventually_is(format_args!("an answer of node {wanted}"), wanted.to_owned(), || {
            cluster.must(&["exec", from, "--", "curl", "-sS", "http://sample/color"])
        });
    }
}

/// A cluster that runs the sample application on every node.
#[track_caller]
fn with_samples(nodes: &[&str]) -> Cluster {
    let cluster = Cluster::start(nodes);
    cluster.load(&tool("sample-image.tar"));
    apply_samples(&cluster);
    cluster
}

/// Runs the sample application on every node.
#[track_caller]
fn apply_samples(cluster: &Cluster) {
    cluster.apply(SAMPLE);
    cluster.rolled_out("default", "daemonset/sample");
}

/// The names of the sample's pods.
fn pods(cluster: &Cluster) -> Vec<String> {
    let names =
        cluster.must(&["get", "pods", "-l", "app=sample", "-o", "jsonpath={.items[*].metadata.name}"]);
    names.split_whitespace().map(str::to_owned).collect()
}

const SAMPLE: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: sample, namespace: default}
---
apiVersion: v1
kind: Service
metadata: {name: sample, namespace: default}
spec:
  selector: {app: sample}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: sample, namespace: default}
spec:
  selector: {matchLabels: {app: sample}}
  template:
    metadata: {labels: {app: sample}}
    spec:
      serviceAccountName: sample
      terminationGracePeriodSeconds: 1
      containers:
      - name: sample
        image: adit.test/sample:1
        env: [{name: COLOR, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz/ready, port: http}, periodSeconds: 1}
";
