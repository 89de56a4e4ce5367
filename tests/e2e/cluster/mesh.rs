//! Our charts and images on a whole Kubernetes, under the real istiod.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::lab::kube::cluster::{Cluster, Machine, Ran};
use tests::lab::kube::tool;
use tests::lab::{Program, binaries, eventually, eventually_is, within};

use crate::images::archives;

pub(crate) fn a_pod_calls_another_node_s_through_the_mesh_that_the_charts_installed() {
    let cluster = with_mesh();
    enroll(&cluster);
    for wanted in ["a", "b"] {
        eventually_is(format_args!("an answer of node {wanted}"), wanted.to_owned(), || ask(&cluster).stdout);
    }
    eventually("node b's proxy knows who called whom", || {
        let log = cluster.must(&["-n", SYSTEM, "logs", &proxy_of(&cluster, "b")]);
        let told = log.lines().any(|line| CALLED.iter().all(|part| line.contains(part)));
        if told { Ok(()) } else { Err(log) }
    });

    cluster.apply(DENY);
    within(tests::lab::kube::cluster::PATIENCE, "a policy of istiod's is in force", || match ask(&cluster) {
        Ran { exit: 56, .. } => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.must(&["delete", "authorizationpolicy/no-curl"]);
    within(tests::lab::kube::cluster::PATIENCE, "and is gone again", || match ask(&cluster) {
        Ran { exit: 0, .. } => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

pub(crate) fn the_tool_installs_a_mesh_again_without_a_change_and_takes_it_away() {
    let cluster = with_istiod();
    adit(&cluster, &["install", "--yes", "--timeout", "3m"]);
    enroll(&cluster);
    eventually_is("an answer of node b", "b".to_owned(), || ask(&cluster).stdout);
    adit(&cluster, &["status"]);
    let pods = agents(&cluster);
    adit(&cluster, &["install", "--yes", "--timeout", "3m"]);
    assert_eq!(agents(&cluster), pods, "a second installation changes no pod");
    adit(&cluster, &["uninstall", "--yes", "--timeout", "3m"]);
    for machine in cluster.machines() {
        eventually_is(format_args!("rules on {}", machine.name()), String::new(), || rules(machine));
    }
    eventually_is("an answer of node a", "a".to_owned(), || ask(&cluster).stdout);
}

pub(crate) fn charts_that_are_uninstalled_leave_nodes_and_pods_as_they_were() {
    let cluster = with_mesh();
    enroll(&cluster);
    for machine in cluster.machines() {
        assert_eq!(chain(machine), ["ptp", "portmap", "adit-cni"], "of {}", machine.name());
        assert!(rules(machine).contains("ISTIO"), "no pod of {} is captured", machine.name());
    }
    cluster.uninstall(SYSTEM, "istio-cni");
    cluster.uninstall(SYSTEM, "istio-ztunnel");
    for machine in cluster.machines() {
        eventually_is(
            format_args!("the chain of {}", machine.name()),
            ["ptp", "portmap"].map(str::to_owned).to_vec(),
            || chain(machine),
        );
        eventually_is(format_args!("rules on {}", machine.name()), String::new(), || rules(machine));
    }
    for wanted in ["a", "b"] {
        eventually_is(format_args!("an answer of node {wanted}"), wanted.to_owned(), || ask(&cluster).stdout);
    }
    // And a pod that comes now needs nobody.
    cluster.must(&["delete", "pod/curl"]);
    cluster.apply(CLIENT);
    cluster.wait("default", "pod/curl", "condition=Ready");
}

/// Runs our command-line tool as an administrator; answers what it printed.
#[track_caller]
fn adit(cluster: &Cluster, args: &[&str]) -> String {
    let ran = cluster.run(Program::new(binaries::find("adit")).args(args.iter().copied()), "");
    assert_eq!(ran.exit, 0, "adit {args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// The names of the mesh's pods on the nodes.
fn agents(cluster: &Cluster) -> String {
    let names = "-o=jsonpath={.items[*].metadata.name}";
    cluster.must(&["-n", SYSTEM, "get", "pods", "-l", "app!=istiod", names])
}

/// Two nodes with istiod, and both of our charts as an ambient mesh has them.
#[track_caller]
fn with_mesh() -> Cluster {
    let cluster = with_istiod();
    for (release, chart) in [("istio-cni", "cni"), ("istio-ztunnel", "ztunnel")] {
        cluster.install(SYSTEM, release, &charts().join(chart), &json!({ "profile": "ambient" }));
    }
    cluster
}

/// Two nodes that have our images, and istiod.
#[track_caller]
fn with_istiod() -> Cluster {
    let cluster = Cluster::start(&["a", "b"]);
    cluster.load(&tool("sample-image.tar"));
    for image in ["adit-proxy", "adit-node-agent"] {
        cluster.load(&archives().join(format!("{image}.tar")));
    }
    cluster.install_istiod();
    cluster
}

/// Runs the sample and a client in a namespace of the mesh, and waits until all of them are captured.
#[track_caller]
fn enroll(cluster: &Cluster) {
    cluster.must(&["label", "namespace", "default", "istio.io/dataplane-mode=ambient"]);
    super::apply_samples(cluster);
    cluster.apply(CLIENT);
    cluster.wait("default", "pod/curl", "condition=Ready");
    for object in
        ["pod/curl".to_owned()].into_iter().chain(super::pods(cluster).iter().map(|pod| format!("pod/{pod}")))
    {
        cluster.wait("default", &object, ENROLLED);
    }
}

/// The types of the plugins that a machine's runtime calls.
fn chain(machine: &Machine) -> Vec<String> {
    let list = std::fs::read(machine.conflists().join("10-lab.conflist")).expect("the conflist");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    let plugins = list["plugins"].as_array().cloned().unwrap_or_default();
    plugins.iter().map(|plugin| plugin["type"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The redirection rules in all pods of a machine.
fn rules(machine: &Machine) -> String {
    let script = "for pod in /run/netns/cni-*; do nsenter --net=$pod iptables-save; nsenter --net=$pod nft list ruleset; done";
    let saved = machine.inside().run(|| Program::new("sh").args(["-c", script]).command().output());
    let saved = String::from_utf8_lossy(&saved.expect("start sh").stdout).into_owned();
    saved.lines().filter(|line| line.contains("ISTIO")).collect::<Vec<_>>().join("\n")
}

/// One request of the client's to the sample's service.
fn ask(cluster: &Cluster) -> Ran {
    cluster.kubectl(&["exec", "curl", "--", "curl", "-sS", "--max-time", "5", "http://sample/color"])
}

/// The name of a node's proxy.
fn proxy_of(cluster: &Cluster, node: &str) -> String {
    let on = format!("--field-selector=spec.nodeName={node}");
    let path = "-o=jsonpath={.items[*].metadata.name}";
    cluster.must(&["-n", SYSTEM, "get", "pods", "-l", "app=ztunnel", &on, path])
}

fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts")
}

const SYSTEM: &str = "istio-system";
const ENROLLED: &str = r"jsonpath={.metadata.annotations.ambient\.istio\.io/redirection}=enabled";
const CALLED: [&str; 3] = [
    "spiffe://cluster.local/ns/default/sa/curl",
    "spiffe://cluster.local/ns/default/sa/sample",
    r#"direction="inbound""#,
];

const CLIENT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: curl, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: curl, namespace: default}
spec:
  serviceAccountName: curl
  nodeName: a
  terminationGracePeriodSeconds: 0
  containers: [{name: curl, image: 'adit.test/sample:1', command: [sleep, 1d]}]
";
const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-curl, namespace: default}
spec:
  selector: {matchLabels: {app: sample}}
  action: DENY
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/curl]}}]}]
";
