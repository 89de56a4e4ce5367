//! Each check with a cluster that it finds fault with.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::healthy::{METRICS, NOW, node, object, pod};
use crate::check::facts::{Facts, Unread};
use crate::check::finding::Severity::{self, Error, Warning};
use crate::check::node_facts::NodeFacts;

pub(super) struct Case {
    pub(super) id: &'static str,
    pub(super) before: bool,
    pub(super) severity: Severity,
    /// A part of what is said.
    pub(super) told: &'static str,
    pub(super) spoil: fn(&mut Facts),
}

const fn case(
    id: &'static str,
    before: bool,
    severity: Severity,
    told: &'static str,
    spoil: fn(&mut Facts),
) -> Case {
    Case { id, before, severity, told, spoil }
}

/// Changes the first object of a list by a merge patch.
fn patch<T>(list: &mut Result<Vec<T>, Unread>, index: usize, change: Value)
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let one = &mut list.as_mut().unwrap()[index];
    let mut value = serde_json::to_value(&*one).unwrap();
    merge(&mut value, &change);
    *one = object(value);
}

fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

fn info(facts: &mut Facts, field: &str, value: &str) {
    patch::<Node>(&mut facts.nodes, 0, json!({"status": {"nodeInfo": {field: value}}}));
}

fn probed(facts: &mut Facts, change: fn(&mut NodeFacts)) {
    change(facts.probed.as_mut().unwrap().get_mut("n1").unwrap().as_mut().unwrap());
}

fn istiod_env(facts: &mut Facts, env: Value) {
    let containers = json!([{"name": "discovery", "image": "istio/pilot:1.29.1", "env": env}]);
    patch(&mut facts.deployments, 0, json!({"spec": {"template": {"spec": {"containers": containers}}}}));
}

fn istiod_image(facts: &mut Facts, image: &str) {
    let containers = json!([{"name": "discovery", "image": image}]);
    patch(&mut facts.deployments, 0, json!({"spec": {"template": {"spec": {"containers": containers}}}}));
}

fn proxy_env(facts: &mut Facts, name: &str, value: &str) {
    let env = json!([{"name": name, "value": value}]);
    let containers = json!([{"name": "istio-proxy", "image": "x/adit-proxy:0.1.0", "env": env}]);
    patch::<DaemonSet>(
        &mut facts.daemon_sets,
        0,
        json!({"spec": {"template": {"spec": {"containers": containers}}}}),
    );
}

fn set(facts: &mut Facts, namespace: &str, name: &str, labels: Value, env: Value) {
    let containers = json!([{"name": "c", "image": "somebody/else:1", "env": env}]);
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
    let set = json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"selector": {}, "template": template}});
    facts.daemon_sets.as_mut().unwrap().push(object(set));
}

fn add_pod(facts: &mut Facts, namespace: &str, name: &str, change: Value) {
    let mut value = pod(namespace, name);
    merge(&mut value, &change);
    facts.pods.as_mut().unwrap().push(object(value));
}

fn policy(facts: &mut Facts, spec: Value) {
    let policy = json!({"metadata": {"namespace": "shop", "name": "tight"}, "spec": spec});
    facts.policies.as_mut().unwrap().push(object(policy));
}

fn says(facts: &mut Facts, from: &str, to: &str) {
    facts.proxies.insert("ztunnel-x".to_owned(), Ok(METRICS.replace(from, to)));
}

fn refuse(facts: &mut Facts, verb: &str, resource: &str) {
    let asked = facts.rights.iter_mut().filter(|asked| {
        asked.right.verb == "escalate" || (asked.right.verb == verb && asked.right.resource == resource)
    });
    asked.for_each(|asked| asked.allowed = Ok(false));
}

pub(super) const CASES: &[Case] = &[
    case("api-reachable", true, Error, "connection refused", |facts| {
        facts.server = Err(Unread {
            attempt: "ask the API server for its version".to_owned(),
            why: "connection refused".to_owned(),
            forbidden: false,
        });
    }),
    case("api-version", true, Error, "older than 1.30, which istiod 1.29 needs", |facts| {
        facts.server = Ok("v1.29.9-gke.1".to_owned());
    }),
    case("api-version", true, Error, "older than 1.28, which Adit needs", |facts| {
        facts.server = Ok("v1.27.1".to_owned());
        facts.deployments = Ok(Vec::new());
    }),
    case("api-clock", true, Warning, "30 s ahead of", |facts| facts.clocks.as_mut().unwrap().here += 30_000),
    case("rights-install", true, Error, "you may not create daemonsets.apps in istio-system", |facts| {
        refuse(facts, "create", "daemonsets");
    }),
    case("rights-grant", true, Error, "you may not watch nodes", |facts| refuse(facts, "watch", "nodes")),
    case("istiod-present", true, Error, "no Deployment labelled app=istiod", |facts| {
        facts.deployments = Ok(Vec::new());
    }),
    case("istiod-present", true, Error, "no replica of it is ready", |facts| {
        patch(&mut facts.deployments, 0, json!({"status": {"readyReplicas": 0}}));
    }),
    case("istiod-version", true, Error, "istiod 1.20.3 is older than 1.24", |facts| {
        istiod_image(facts, "registry:5000/istio/pilot:1.20.3@sha256:00");
    }),
    case("istiod-version", true, Warning, "outside of 1.29 to 1.31", |facts| {
        istiod_image(facts, "istio/pilot:1.33.0")
    }),
    case("istiod-version", true, Warning, "neither its image nor its labels", |facts| {
        istiod_image(facts, "istio/pilot:latest");
    }),
    case("istiod-ambient", true, Error, "PILOT_ENABLE_AMBIENT is not set", |facts| {
        istiod_env(facts, json!([]))
    }),
    case("istiod-service", true, Error, "no Service istiod in istio-system", |facts| {
        facts.services = Ok(Vec::new())
    }),
    case("istiod-crds", true, Error, "no CustomResourceDefinition authorizationpolicies", |facts| {
        facts.crds.as_mut().unwrap().clear();
    }),
    case("gateway-api", true, Error, "namespace shop: asks for a waypoint", |facts| {
        patch(&mut facts.namespaces, 1, json!({"metadata": {"labels": {"istio.io/use-waypoint": "wp"}}}));
    }),
    case("istiod-trusted-account", true, Error, "\"x/ztunnel\", without istio-system/ztunnel", |facts| {
        istiod_env(facts, json!([{"name": "CA_TRUSTED_NODE_ACCOUNTS", "value": "x/ztunnel"}]));
    }),
    case("istiod-trusted-account", false, Error, "without istio-system/other", |facts| {
        let account = json!({"spec": {"template": {"spec": {"serviceAccountName": "other"}}}});
        patch(&mut facts.daemon_sets, 0, account);
    }),
    case("istiod-root-cert", true, Error, "not in namespace istio-system", |facts| {
        facts.config_maps.as_mut().unwrap().clear();
    }),
    case(
        "istiod-cluster-id",
        false,
        Error,
        "its cluster is \"Kubernetes\", the proxy's is \"east\"",
        |facts| {
            proxy_env(facts, "ISTIO_META_CLUSTER_ID", "east");
        },
    ),
    case(
        "istiod-network",
        false,
        Error,
        "NETWORK is \"\", the label of namespace istio-system is \"net1\"",
        |facts| {
            patch(
                &mut facts.namespaces,
                0,
                json!({"metadata": {"labels": {"topology.istio.io/network": "net1"}}}),
            );
        },
    ),
    case("istiod-revision", false, Error, "it asks istiod-canary, and there is only istiod", |facts| {
        proxy_env(facts, "XDS_ADDRESS", "https://istiod-canary.istio-system.svc:15012");
    }),
    case("istiod-revision", true, Warning, "the only istiod is of revision canary", |facts| {
        let labels = json!({"metadata": {"name": "istiod-canary", "labels": {"istio.io/rev": "canary"}}});
        patch(&mut facts.deployments, 0, labels);
    }),
    case("node-ready", true, Warning, "node n1: it is not ready: no CNI", |facts| {
        let conditions = json!([{"type": "Ready", "status": "False", "message": "no CNI"}]);
        patch(&mut facts.nodes, 0, json!({"status": {"conditions": conditions}}));
    }),
    case("node-os", true, Warning, "it runs windows", |facts| info(facts, "operatingSystem", "windows")),
    case("node-kernel", true, Warning, "Linux 4.18.0-553 is older than 5.4", |facts| {
        info(facts, "kernelVersion", "4.18.0-553");
    }),
    case("node-runtime", true, Warning, "docker://24.0.1", |facts| {
        info(facts, "containerRuntimeVersion", "docker://24.0.1");
    }),
    case("node-clock", true, Error, "its clock is 300 s ahead", |facts| {
        probed(facts, |node| node.clock_ms += 300_000);
    }),
    case("node-clock", true, Warning, "its clock is about 95 s behind", |facts| {
        facts.probed = None;
        facts.clocks.as_mut().unwrap().here = NOW + 90_000;
    }),
    case("node-clock", true, Warning, "no Lease of it", |facts| {
        facts.probed = None;
        facts.leases = Ok(Vec::new());
    }),
    case("node-redirection", true, Error, "no way to redirect pods works: nft: no", |facts| {
        probed(facts, |node| {
            node.chosen.backend = None;
            node.redirection[0].why = Some("nft: no".to_owned());
        });
    }),
    case("node-redirection", true, Warning, "works for IPv4 only", |facts| {
        probed(facts, |node| node.redirection[0].ipv6 = false);
    }),
    case("node-redirection", true, Warning, "nobody has looked", |facts| facts.probed = None),
    case("node-probes", true, Error, "probes of pods would fail", |facts| {
        probed(facts, |node| node.probes.backend = None);
    }),
    case("node-cni", true, Error, "no directory of CNI configurations", |facts| {
        probed(facts, |node| node.cni.exists = false);
    }),
    case("node-cni", true, Error, "cannot join a chain: no network configuration", |facts| {
        probed(facts, |node| node.cni.trouble = Some("no network configuration".to_owned()));
    }),
    case("node-limits", true, Warning, "128 inotify instances", |facts| {
        probed(facts, |node| node.limits.inotify_instances = Some(128));
    }),
    case("node-firewall", true, Warning, "firewalld runs", |facts| {
        probed(facts, |node| node.firewalls = vec!["firewalld".to_owned()]);
    }),
    case("platform", true, Warning, "those of k3s", |facts| info(facts, "kubeletVersion", "v1.31.0+k3s1")),
    case("platform", false, Error, "the agent does not have /var/lib/rancher", |facts| {
        info(facts, "kubeletVersion", "v1.31.0+k3s1");
    }),
    case("priority-quota", true, Error, "no ResourceQuota allows system-node-critical", |facts| {
        info(facts, "kubeletVersion", "v1.31.0-gke.1");
    }),
    case("cni-cilium", true, Error, "cni-exclusive is not false", |facts| facts.cilium = Ok(Some([].into()))),
    case("cni-cilium", true, Error, "replaces kube-proxy inside pods", |facts| {
        let settings = [("cni-exclusive", "false"), ("kube-proxy-replacement", "true")];
        facts.cilium = Ok(Some(settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into()));
    }),
    case("cni-others", true, Warning, "eBPF", |facts| {
        let env = json!([{"name": "FELIX_BPFENABLED", "value": "true"}]);
        set(facts, "kube-system", "calico-node", json!({}), env);
    }),
    case("cni-others", true, Warning, "Multus", |facts| {
        set(facts, "kube-system", "kube-multus-ds", json!({}), json!([]));
    }),
    case("mesh-others", false, Error, "daemonset mesh/ztunnel-two: it captures pods beside", |facts| {
        set(facts, "mesh", "ztunnel-two", json!({"app": "ztunnel"}), json!([]));
    }),
    case("pod-security", true, Error, "its level is baseline", |facts| {
        let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
        patch(&mut facts.namespaces, 0, json!({"metadata": {"labels": labels}}));
    }),
    case("names-owner", true, Warning, "belongs to Helm release istio-ztunnel", |facts| {
        set(facts, "istio-system", "ztunnel", json!({"app": "ztunnel"}), json!([]));
        let containers = json!([{"name": "istio-proxy", "image": "istio/ztunnel:1.29.1"}]);
        let change = json!({
            "metadata": {"annotations": {"meta.helm.sh/release-name": "istio-ztunnel"}},
            "spec": {"template": {"spec": {"containers": containers}}}});
        patch(&mut facts.daemon_sets, 0, change);
    }),
    case("policy-hbone", true, Error, "networkpolicy shop/tight: it lets shop/web reach shop/web", |facts| {
        policy(facts, json!({"podSelector": {}, "ingress": [{"ports": [{"port": 8080}]}]}));
    }),
    case(
        "policy-probes",
        true,
        Warning,
        "no rule of shop/tight lets 169.254.7.127 reach port 8080",
        |facts| {
            policy(facts, json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        },
    ),
    case("namespace-injection", true, Warning, "namespace shop", |facts| {
        patch(&mut facts.namespaces, 1, json!({"metadata": {"labels": {"istio-injection": "enabled"}}}));
    }),
    case("pods-sidecars", true, Warning, "pod shop/old: it has a sidecar", |facts| {
        add_pod(
            facts,
            "shop",
            "old",
            json!({"metadata": {"annotations": {"sidecar.istio.io/status": "{}"}}}),
        );
    }),
    case("pods-left-out", true, Warning, "pod shop/host: it is on the host's network", |facts| {
        add_pod(facts, "shop", "host", json!({"spec": {"hostNetwork": true}}));
    }),
    case("pods-left-out", true, Warning, "EXCLUDE_NAMESPACES", |facts| {
        let labels = json!({"istio.io/dataplane-mode": "ambient"});
        add_pod(facts, "kube-system", "dns", json!({"metadata": {"labels": labels}}));
    }),
    case(
        "pods-enrolled",
        false,
        Error,
        "pod shop/new: it is not redirected (1 of 2 are enrolled)",
        |facts| {
            add_pod(
                facts,
                "shop",
                "new",
                json!({"metadata": {"annotations": {"ambient.istio.io/redirection": "no"}}}),
            );
        },
    ),
    case("pods-enrolled", false, Error, "no proxy serves it yet", |facts| {
        let pending = json!({"metadata": {"annotations": {"ambient.istio.io/redirection": "pending"}}});
        patch::<Pod>(&mut facts.pods, 0, pending);
    }),
    case("pods-stale", false, Warning, "pod other/gone", |facts| add_pod(facts, "other", "gone", json!({}))),
    case("rollout-agent", false, Error, "it is not in namespace istio-system", |facts| {
        facts.daemon_sets.as_mut().unwrap().truncate(1);
    }),
    case("rollout-agent", false, Error, "it runs Istio's image", |facts| {
        let containers = json!([{"name": "install-cni", "image": "istio/install-cni:1.29.1"}]);
        patch(&mut facts.daemon_sets, 1, json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    }),
    case(
        "rollout-proxy",
        false,
        Error,
        "pod ztunnel-x is not ready: ImagePullBackOff: no such image",
        |facts| {
            let waiting = json!({"reason": "ImagePullBackOff", "message": "no such image"});
            let statuses = json!([{"name": "istio-proxy", "state": {"waiting": waiting}, "image": "", "imageID": "",
            "ready": false, "restartCount": 0}]);
            let status = json!({"conditions": [], "containerStatuses": statuses});
            patch(&mut facts.pods, 1, json!({ "status": status }));
        },
    ),
    case(
        "rollout-proxy",
        false,
        Error,
        "node n2: it has no pod of it; its taints: dedicated:NoExecute",
        |facts| {
            let mut second = node("n2");
            merge(&mut second, &json!({"spec": {"taints": [{"key": "dedicated", "effect": "NoExecute"}]}}));
            facts.nodes.as_mut().unwrap().push(object(second));
        },
    ),
    case("versions", false, Warning, "its chart is of version \"0.0.9\"", |facts| {
        let labels = json!({"app.kubernetes.io/version": "0.0.9"});
        patch(&mut facts.daemon_sets, 0, json!({"metadata": {"labels": labels}}));
    }),
    case("agent-health", false, Warning, "no proxy is connected", |facts| {
        let said = "ready: proxies=0 enrolled=1 pending=0\ndegraded: no proxy is connected: x\n";
        facts.agents.insert("istio-cni-node-x".to_owned(), Ok(said.to_owned()));
    }),
    case("agent-health", false, Error, "it is not ready: the chain is broken", |facts| {
        let said = "not ready: the chain is broken\n";
        facts.agents.insert("istio-cni-node-x".to_owned(), Ok(said.to_owned()));
    }),
    case("proxy-control-plane", false, Error, "no message of istiod", |facts| says(facts, "} 4", "} 0")),
    case("proxy-control-plane", false, Warning, "what it kept on disk", |facts| {
        says(facts, "serving 0", "serving 1")
    }),
    case("proxy-certificates", false, Error, "certificates of 2 identities istiod has refused", |facts| {
        says(facts, "\"unavailable\"} 0", "\"unavailable\"} 2");
    }),
    case(
        "proxy-certificates",
        false,
        Warning,
        "1 certificates were not renewed in time, the first ends in 10 min",
        |facts| {
            let overdue = "adit_certificates{state=\"overdue\"} 1\nadit_certificate_first_expiry_timestamp_seconds 1800000600\n# ";
            says(facts, "# ", overdue);
        },
    ),
    case("proxy-traffic", false, Warning, "no connection with mutual TLS", |facts| says(facts, "} 7", "} 0")),
];
