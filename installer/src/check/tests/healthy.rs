//! A cluster with which nothing is wrong.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::check::facts::{Clocks, Facts};
use crate::check::node_facts::NodeFacts;
use crate::check::rights::{self, Asked};

pub(super) const NOW: i64 = 1_800_000_000_000;

pub(super) const NODE_FACTS: &str = r#"{"format":1,"clock_ms":1800000000000,"kernel":"6.1.0","cgroups":"v2","redirection":[{"backend":"nftables","works":true,"ipv6":true,"why":null}],"chosen":{"backend":"nftables","why":"x"},"probes":{"backend":"nftables","why":"x"},"cni":{"exists":true,"files":["10-kindnet.conflist"],"primary":"10-kindnet.conflist","plugins":["ptp"],"trouble":null},"binaries":[{"dir":"/opt/cni/bin","exists":true,"programs":["ptp"]}],"limits":{"inotify_instances":512},"firewalls":[]}"#;

#[track_caller]
pub(super) fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn node(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "operatingSystem": "linux", "kernelVersion": "6.1.0-18-amd64", "osImage": "Debian GNU/Linux 12",
                "containerRuntimeVersion": "containerd://1.7.1", "kubeletVersion": "v1.31.0", "architecture": "amd64",
                "bootID": "", "kubeProxyVersion": "", "machineID": "", "systemUUID": "",
            },
        },
    })
}

pub(super) fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name},
            "annotations": {"ambient.istio.io/redirection": "enabled"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "x",
            "readinessProbe": {"httpGet": {"port": 8080}}}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.9"}],
            "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// A pod of a DaemonSet of the node components.
fn own(set: &str, label: &str, container: &str, image: &str) -> [Value; 2] {
    let labels = json!({ label: set });
    let containers = json!([{"name": container, "image": image, "env": [
        {"name": "XDS_ADDRESS", "value": "istiod.istio-system.svc:15012"},
        {"name": "ISTIO_META_CLUSTER_ID", "value": "Kubernetes"}]}]);
    let volumes = json!([
        {"name": "c", "hostPath": {"path": "/etc/cni/net.d"}}, {"name": "b", "hostPath": {"path": "/opt/cni/bin"}}]);
    [
        json!({
            "metadata": {"namespace": "istio-system", "name": set,
                "labels": {"app.kubernetes.io/version": env!("CARGO_PKG_VERSION")}},
            "spec": {"selector": {}, "template": {"metadata": {"labels": labels},
                "spec": {"serviceAccountName": set, "containers": containers, "volumes": volumes}}},
        }),
        json!({
            "metadata": {"namespace": "istio-system", "name": format!("{set}-x"), "labels": labels},
            "spec": {"nodeName": "n1", "containers": containers},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }),
    ]
}

pub(super) fn before() -> Facts {
    let istiod = json!({
        "metadata": {"namespace": "istio-system", "name": "istiod", "labels": {"app": "istiod", "istio.io/rev": "default"}},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{
            "name": "discovery", "image": "docker.io/istio/pilot:1.29.1-distroless", "env": [
                {"name": "PILOT_ENABLE_AMBIENT", "value": "true"},
                {"name": "CA_TRUSTED_NODE_ACCOUNTS", "value": "istio-system/ztunnel"},
                {"name": "CLUSTER_ID", "value": "Kubernetes"}]}]}}},
        "status": {"readyReplicas": 1},
    });
    let ambient = json!({"metadata": {"name": "shop", "labels": {"istio.io/dataplane-mode": "ambient"}}});
    let right = |right| Asked { right, allowed: Ok(true) };
    let mut probe: NodeFacts = serde_json::from_str(NODE_FACTS).unwrap();
    probe.read_at = NOW;
    Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        before: true,
        istio_namespace: "istio-system".to_owned(),
        server: Ok("v1.31.0".to_owned()),
        clocks: Ok(Clocks { here: NOW, server: NOW }),
        rights: rights::all().into_iter().map(right).collect(),
        crds: Ok(["authorizationpolicies.security.istio.io", "peerauthentications.security.istio.io"]
            .map(|name| (name.to_owned(), vec!["v1".to_owned()]))
            .into()),
        namespaces: Ok(vec![object(json!({"metadata": {"name": "istio-system"}})), object(ambient)]),
        nodes: Ok(vec![object(node("n1"))]),
        leases: Ok(vec![object(
            json!({"metadata": {"name": "n1"}, "spec": {"renewTime": "2027-01-15T07:59:55.000000Z"}}),
        )]),
        pods: Ok(vec![object(pod("shop", "web"))]),
        daemon_sets: Ok(Vec::new()),
        deployments: Ok(vec![object(istiod)]),
        services: Ok(vec![object(json!({
            "metadata": {"namespace": "istio-system", "name": "istiod"},
            "spec": {"ports": [{"port": 15012}]},
        }))]),
        policies: Ok(Vec::new()),
        quotas: Ok(Vec::new()),
        config_maps: Ok(BTreeMap::from([(
            "istio-ca-root-cert".to_owned(),
            object(json!({"data": {"root-cert.pem": "-----BEGIN CERTIFICATE-----"}})),
        )])),
        cilium: Ok(None),
        probed: Some(BTreeMap::from([("n1".to_owned(), Ok(probe))])),
        proxies: BTreeMap::new(),
        agents: BTreeMap::new(),
    }
}

pub(super) const METRICS: &str = "\
# TYPE istio_xds_message counter
istio_xds_message_total{url=\"type.googleapis.com/istio.workload.Address\"} 4
adit_snapshot_serving 0
adit_certificates{state=\"available\"} 3
adit_certificates{state=\"unavailable\"} 0
istio_tcp_connections_opened_total{reporter=\"source\",connection_security_policy=\"mutual_tls\"} 7
istio_tcp_connections_opened_total{reporter=\"destination\",connection_security_policy=\"mutual_tls\"} 7
";

pub(super) fn after() -> Facts {
    let mut facts = before();
    let tag = env!("CARGO_PKG_VERSION");
    let [proxy, proxy_pod] =
        own("ztunnel", "app", "istio-proxy", &format!("ghcr.io/adit-mesh/adit-proxy:{tag}"));
    let [agent, agent_pod] =
        own("istio-cni-node", "k8s-app", "install-cni", &format!("ghcr.io/adit-mesh/adit-node-agent:{tag}"));
    facts.before = false;
    facts.daemon_sets = Ok(vec![object(proxy), object(agent)]);
    facts.pods.as_mut().unwrap().extend([object(proxy_pod), object(agent_pod)]);
    facts.proxies.insert("ztunnel-x".to_owned(), Ok(METRICS.to_owned()));
    facts
        .agents
        .insert("istio-cni-node-x".to_owned(), Ok("ready: proxies=1 enrolled=1 pending=0\n".to_owned()));
    facts
}
