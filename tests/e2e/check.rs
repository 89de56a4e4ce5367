//! `adit check` against a whole Kubernetes: what stands in the way of an installation, each thing once.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::lab::kube::cluster::Cluster;
use tests::lab::kube::tool;
use tests::lab::{binaries, eventually};

pub(crate) fn a_cluster_without_istiod_is_told_what_is_missing_and_one_that_has_it_may_be_installed() {
    let cluster = Cluster::start(&["a"]);
    let (code, report) = check(&cluster, cluster.kubeconfig(), &["--pre"]);
    assert_eq!(
        (code, &report["result"], &report["stage"]),
        (1, &"error".into(), &"before".into()),
        "{report:#}"
    );
    assert_eq!(ids(&report, "error"), ["istiod-crds", "istiod-present", "istiod-root-cert"], "{report:#}");
    furnish(&cluster);
    let (code, report) = check(&cluster, cluster.kubeconfig(), &["--pre", "--wait", "90s"]);
    assert_eq!((code, ids(&report, "error")), (0, vec![]), "{report:#}");
    // Nobody has looked at the node itself, and that is not taken for good. A kubelet's first heartbeat comes when it comes.
    eventually("nothing but the node itself is not known", || {
        let (_, report) = check(&cluster, cluster.kubeconfig(), &["--pre"]);
        if ids(&report, "warning") == ["node-redirection"] { Ok(()) } else { Err(format!("{report:#}")) }
    });
    // What is installed is asked for without --pre.
    let (code, report) = check(&cluster, cluster.kubeconfig(), &[]);
    assert_eq!((code, ids(&report, "error")), (1, vec!["rollout-agent", "rollout-proxy"]), "{report:#}");
    let (code, _) = check(&cluster, cluster.kubeconfig(), &["--wait", "1s"]);
    assert_eq!(code, 4);
    let nowhere = Path::new("/nowhere.kubeconfig");
    assert_eq!(run(&cluster, nowhere, &[]).status.code(), Some(2));
    cluster.server().stop();
    let (code, report) = check(&cluster, cluster.kubeconfig(), &[]);
    assert_eq!((code, ids(&report, "error")), (1, vec!["api-reachable"]), "{report:#}");
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
    cluster.server().start_again();
}

pub(crate) fn each_thing_in_the_way_is_found_by_its_check() {
    let cluster = Cluster::start(&["a"]);
    furnish(&cluster);
    cluster.apply(WORKLOADS);
    for name in ["pod/web", "pod/old", "pod/on-host"] {
        cluster.wait("shop", name, "condition=Ready");
    }
    let (_, report) = check(&cluster, cluster.kubeconfig(), &["--pre"]);
    found(&report, "pods-sidecars", "warning", "pod shop/old: it has a sidecar").unwrap();
    found(&report, "pods-left-out", "warning", "pod shop/on-host: it is on the host's network").unwrap();
    let istiod = ["-n", "istio-system", "patch", "deployment", "istiod", "--type=merge", "-p"];
    for (id, severity, patch, told) in ISTIODS {
        cluster.must(&[&istiod[..], &[patch]].concat());
        eventually(format_args!("{id} is found"), || {
            let (_, report) = check(&cluster, cluster.kubeconfig(), &["--pre"]);
            found(&report, id, severity, told)
        });
    }
    for (id, severity, yaml, told) in OBJECTS {
        cluster.apply(yaml);
        let (_, report) = check(&cluster, cluster.kubeconfig(), &["--pre"]);
        found(&report, id, severity, told).unwrap_or_else(|e| panic!("{e}"));
    }
}

pub(crate) fn somebody_with_few_rights_is_told_which_are_missing_and_what_is_not_known() {
    let cluster = Cluster::start(&["a"]);
    furnish(&cluster);
    cluster.apply(VIEWER);
    let token = cluster.must(&["-n", "default", "create", "token", "viewer"]);
    let admin = fs::read_to_string(cluster.kubeconfig()).expect("the administrator's kubeconfig");
    let mut config: Value = serde_json::from_str(&admin).expect("a kubeconfig");
    config["users"][0]["user"]["token"] = token.trim().into();
    let path = cluster.kubeconfig().with_file_name("viewer.kubeconfig");
    fs::write(&path, config.to_string()).expect("the viewer's kubeconfig");
    let (code, report) = check(&cluster, &path, &["--pre"]);
    assert_eq!(code, 1, "{report:#}");
    found(
        &report,
        "rights-install",
        "error",
        "you may not create, patch, delete daemonsets.apps in istio-system",
    )
    .unwrap();
    found(&report, "rights-grant", "error", "you may not patch, update pods/status").unwrap();
    // Pods may be listed, nodes may not: what needs them is not known, and never good.
    found(&report, "node-kernel", "warning", "not known: list nodes:").unwrap();
    let findings = report["findings"].as_array().unwrap();
    let kernel = findings.iter().find(|one| one["id"] == "node-kernel").unwrap();
    assert_eq!(kernel["hint"], "run this as somebody who may list nodes");
}

pub(crate) fn a_pod_of_the_agent_s_image_tells_what_a_node_is_like_and_is_gone_afterwards() {
    let cluster = Cluster::start(&["a"]);
    furnish(&cluster);
    cluster.load(&super::images::archives().join("adit-node-agent.tar"));
    let (code, report) = check(&cluster, cluster.kubeconfig(), &["--pre", "--node-probe"]);
    assert_eq!(code, 0, "{report:#}");
    found(&report, "node-redirection", "ok", "a way to redirect works on every node").unwrap();
    found(&report, "node-probes", "ok", "on every node").unwrap();
    found(&report, "node-cni", "ok", "on every node").unwrap();
    let pods =
        ["-n", "kube-system", "get", "pods", "-l", "app.kubernetes.io/name=adit-node-probe", "-o", "name"];
    eventually("no pod is left", || match cluster.must(&pods) {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
}

/// The findings of `adit check`, and its exit code.
#[track_caller]
fn check(cluster: &Cluster, kubeconfig: &Path, args: &[&str]) -> (i32, Value) {
    let output = run(cluster, kubeconfig, args);
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code().unwrap_or(-1), report.unwrap_or_else(|e| panic!("{e}: {output:?}")))
}

fn run(cluster: &Cluster, kubeconfig: &Path, args: &[&str]) -> std::process::Output {
    cluster.underlay().run(|| {
        let mut command = std::process::Command::new(binaries::find("adit"));
        command.arg("check").arg("--kubeconfig").arg(kubeconfig).args(["-o", "json"]).args(args);
        command.output().expect("adit runs")
    })
}

/// The checks with findings of a severity, each once.
fn ids<'a>(report: &'a Value, severity: &str) -> Vec<&'a str> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let mut ids: Vec<_> =
        findings.filter(|one| one["severity"] == severity).filter_map(|one| one["id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn found(report: &Value, id: &str, severity: &str, told: &str) -> Result<(), String> {
    let mut findings = report["findings"].as_array().into_iter().flatten();
    let is = |one: &Value| {
        let text = format!("{}: {}", one["subject"].as_str().unwrap(), one["message"].as_str().unwrap());
        one["id"] == id && one["severity"] == severity && text.contains(told)
    };
    if findings.any(is) { Ok(()) } else { Err(format!("no {severity} {id} with {told:?}: {report:#}")) }
}

/// What an istiod would bring, with another program in its place: only its objects are looked at.
#[track_caller]
fn furnish(cluster: &Cluster) {
    cluster.load(&tool("sample-image.tar"));
    for (plural, kind) in
        [("authorizationpolicies", "AuthorizationPolicy"), ("peerauthentications", "PeerAuthentication")]
    {
        let singular = kind.to_lowercase();
        cluster.apply(&CRD.replace("PLURAL", plural).replace("KIND", kind).replace("SINGULAR", &singular));
    }
    cluster.apply(ISTIOD);
    cluster.must(&["-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=120s"]);
}

/// Changes of istiod, what they are found by, and what is said.
const ISTIODS: [(&str, &str, &str, &str); 3] = [
    (
        "istiod-version",
        "error",
        r#"{"metadata":{"labels":{"app.kubernetes.io/version":"1.20.3"}}}"#,
        "istiod 1.20.3 is older than 1.24",
    ),
    (
        "istiod-trusted-account",
        "error",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"discovery","image":"adit.test/sample:1",
            "env":[{"name":"CA_TRUSTED_NODE_ACCOUNTS","value":"kube-system/ztunnel"}]}]}}}}"#,
        "without istio-system/ztunnel",
    ),
    (
        "istiod-ambient",
        "error",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"discovery","image":"adit.test/sample:1","env":[]}]}}}}"#,
        "PILOT_ENABLE_AMBIENT is not set",
    ),
];

/// Objects in the way.
const OBJECTS: [(&str, &str, &str, &str); 6] = [
    (
        "policy-hbone",
        "error",
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-8080, namespace: shop}
spec: {podSelector: {}, ingress: [{ports: [{port: 8080}]}]}
",
        "networkpolicy shop/only-8080: it lets shop/web reach shop/web, but not on port 15008",
    ),
    (
        "pod-security",
        "error",
        "
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {pod-security.kubernetes.io/enforce: restricted}}
",
        "its level is restricted",
    ),
    (
        "namespace-injection",
        "warning",
        "
apiVersion: v1
kind: Namespace
metadata: {name: both, labels: {istio.io/dataplane-mode: ambient, istio-injection: enabled}}
",
        "namespace both",
    ),
    (
        "names-owner",
        "warning",
        "
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: ztunnel
  namespace: istio-system
  annotations: {meta.helm.sh/release-name: istio-ztunnel, meta.helm.sh/release-namespace: istio-system}
spec:
  selector: {matchLabels: {app: ztunnel}}
  template:
    metadata: {labels: {app: ztunnel}}
    spec: {nodeSelector: {no: where}, containers: [{name: istio-proxy, image: 'docker.io/istio/ztunnel:1.29.1'}]}
",
        "it belongs to Helm release istio-ztunnel",
    ),
    (
        "mesh-others",
        "error",
        "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: second-agent, namespace: default}
spec:
  selector: {matchLabels: {k8s-app: istio-cni-node}}
  template:
    metadata: {labels: {k8s-app: istio-cni-node}}
    spec: {nodeSelector: {no: where}, containers: [{name: c, image: 'x/y:1'}]}
",
        "daemonset default/second-agent: it captures pods beside",
    ),
    (
        "cni-cilium",
        "error",
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {cni-exclusive: 'true'}
",
        "cni-exclusive is not false",
    ),
];

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.security.istio.io}
spec:
  group: security.istio.io
  scope: Namespaced
  names: {kind: KIND, plural: PLURAL, singular: SINGULAR}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const ISTIOD: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-ca-root-cert, namespace: istio-system}
data: {root-cert.pem: '-----BEGIN CERTIFICATE-----'}
---
apiVersion: v1
kind: Service
metadata: {name: istiod, namespace: istio-system}
spec: {selector: {app: istiod}, ports: [{name: https-dns, port: 15012}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: istiod
  namespace: istio-system
  labels: {app: istiod, istio.io/rev: default, app.kubernetes.io/version: 1.29.1}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: discovery
        image: adit.test/sample:1
        env:
        - {name: PILOT_ENABLE_AMBIENT, value: 'true'}
        - {name: CA_TRUSTED_NODE_ACCOUNTS, value: istio-system/ztunnel}
";

const WORKLOADS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'adit.test/sample:1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: shop, annotations: {sidecar.istio.io/status: '{}'}}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'adit.test/sample:1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: on-host, namespace: shop}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: 'adit.test/sample:1', command: [sleep, 1d]}]
";

const VIEWER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: viewer, namespace: default}]
";
