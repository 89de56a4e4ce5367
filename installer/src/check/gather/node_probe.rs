//! A short-lived pod on each node that says what the node is like: `--node-probe`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ask::{failed, now, refused};
use crate::check::facts::{Known, Unread};
use crate::check::node::{is_linux, is_ready, name};
use crate::check::node_facts::NodeFacts;
use crate::check::pod::{ended, why};
use crate::check::verdict::platform::platform_of;

/// How nodes are looked at.
pub(in crate::check) struct NodeProbe {
    pub(in crate::check) client: Client,
    pub(in crate::check) image: String,
    pub(in crate::check) namespace: String,
}

impl NodeProbe {
    /// Looks at every ready Linux node. Pods are taken away again, also when the caller is interrupted.
    pub(in crate::check) async fn look(&self, nodes: &[Node]) -> BTreeMap<String, Known<NodeFacts>> {
        let nodes = nodes.iter().filter(|node| is_linux(node) && is_ready(node));
        let looks = stream::iter(nodes)
            .map(|node| async move { (name(node).to_owned(), Box::pin(self.node(node)).await) });
        let looks = looks.buffered(AT_ONCE).collect::<Vec<_>>();
        let found = tokio::select! {
            found = looks => found,
            _ = tokio::signal::ctrl_c() => Vec::new(),
        };
        // They end by themselves; this is only tidy.
        let ours = ListParams::default().labels(LABEL);
        let _ = self.pods().delete_collection(&DeleteParams::default(), &ours).await;
        found.into_iter().collect()
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn node(&self, node: &Node) -> Known<NodeFacts> {
        let attempt = |what: &str| format!("{what} in {}", self.namespace);
        let pod: Pod = serde_json::from_value(pod(node, &self.image))
            .map_err(|error| failed("write the probe's pod", &error.to_string()))?;
        let made = self.pods().create(&PostParams::default(), &pod).await;
        let made = made.map_err(|error| refused(&attempt("create pods"), &error))?;
        let name = made.metadata.name.unwrap_or_default();
        self.wait(&name).await?;
        let log = self.pods().logs(&name, &LogParams::default()).await;
        let log = log.map_err(|error| refused(&attempt("get pods/log"), &error))?;
        let facts = NodeFacts::parse(&log).map_err(|why| failed("read the probe's answer", &why))?;
        Ok(NodeFacts { read_at: now(), ..facts })
    }

    /// Until the pod has ended, well or not: its log tells.
    async fn wait(&self, name: &str) -> Result<(), Unread> {
        let deadline = Instant::now() + LASTS;
        loop {
            let pod = self.pods().get(name).await;
            let pod = pod.map_err(|error| refused(&format!("get pods in {}", self.namespace), &error))?;
            if ended(&pod) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(failed("run a pod on the node", &why(&pod)));
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// The agent's image with the rights that the agent will have, on the node's own network: no CNI has to work yet.
fn pod(node: &Node, image: &str) -> Value {
    let (conf, bin) = platform_of(node).map_or(("/etc/cni/net.d", "/opt/cni/bin"), |one| (one.conf, one.bin));
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path, "readOnly": true});
    let volume = |name: &str, path: &str| json!({"name": name, "hostPath": {"path": path}});
    json!({
        "metadata": {
            "generateName": "adit-node-probe-",
            "labels": {
                "app.kubernetes.io/name": "adit-node-probe", "app.kubernetes.io/managed-by": "adit",
                "istio.io/dataplane-mode": "none", "sidecar.istio.io/inject": "false",
            },
        },
        "spec": {
            "nodeName": name(node),
            "hostNetwork": true,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LASTS.as_secs(),
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "facts",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/usr/local/bin/adit-node-agent"],
                "args": ["facts"],
                "env": [
                    variable("NODE_NAME", name(node)), variable("PROC_ROOT", "/host/proc"),
                    // No API server is asked: the agent's settings want some source of pods.
                    variable("PODS_DIR", "/tmp"), variable("CNI_AGENT_RUN_DIR", "/tmp"),
                ],
                "securityContext": {
                    "runAsUser": 0, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": true,
                    "appArmorProfile": {"type": "Unconfined"},
                    "capabilities": {
                        "drop": ["ALL"],
                        "add": ["NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_ADMIN", "DAC_OVERRIDE"],
                    },
                },
                "volumeMounts": [
                    mount("proc", "/host/proc"), mount("cni-conf", "/host/etc/cni/net.d"),
                    mount("cni-bin", "/host/opt/cni/bin"), {"name": "tmp", "mountPath": "/tmp"},
                ],
            }],
            "volumes": [
                volume("proc", "/proc"), volume("cni-conf", conf), volume("cni-bin", bin),
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    })
}

const LABEL: &str = "app.kubernetes.io/name=adit-node-probe";
const AT_ONCE: usize = 16;
/// For the image to come and the probe to end.
const LASTS: Duration = Duration::from_secs(90);
const EVERY: Duration = Duration::from_millis(500);
