//! A node whose agent and proxy are containers of the images, as the charts place them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tests::lab::kube::tool;
use tests::lab::observe::Metrics;
use tests::lab::process::tail;
use tests::lab::{Lab, Node, Pod, http, plan, within};

use super::kubelet::{Chart, Placed};
use crate::runtime::containerd::{Containerd, Made};

/// Node `a` in containers, node `b` as every lab has it.
pub(super) struct Cluster {
    pub(super) lab: Lab,
    pub(super) node: Arc<Node>,
    pub(super) containerd: Containerd,
}

/// A container that runs as a chart says.
pub(super) struct Running {
    pub(super) id: String,
    pub(super) sandbox: Made,
    pub(super) chart: Chart,
    log: String,
}

impl Cluster {
    #[track_caller]
    pub(super) fn start() -> Self {
        let lab = Lab::new().kubernetes().start();
        let node = lab.node("a");
        node.agent().kill();
        node.proxy().process().kill();
        lab.enroll_namespace("default");
        let containerd = Containerd::start_apart(&node);
        Self { lab, node, containerd }
    }

    /// The agent, ready; `settings` replace those of its ConfigMap.
    #[track_caller]
    pub(super) fn agent(&self, settings: &[(&str, &str)]) -> Running {
        let account = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        let account = fs::canonicalize(account).expect("the agent's account");
        let mounts = vec![("/var/run/secrets/kubernetes.io/serviceaccount", account)];
        let agent = self.place("cni", "istio-cni-node-x7k2p", "istio-cni", mounts, settings);
        self.wait_ready(&agent, 8000, "/readyz");
        agent
    }

    /// The proxy, ready.
    #[track_caller]
    pub(super) fn proxy(&self) -> Running {
        let proxy = self.place("ztunnel", "ztunnel-q4m9d", "ztunnel", Vec::new(), &[]);
        self.wait_ready(&proxy, 15021, "/healthz/ready");
        proxy
    }

    #[track_caller]
    fn place(
        &self,
        chart: &str,
        pod: &str,
        account: &str,
        mounts: Vec<(&str, PathBuf)>,
        settings: &[(&str, &str)],
    ) -> Running {
        let chart = Chart::read(&tool("charts").join(format!("{chart}.yaml")));
        self.lab.kubernetes().apply(&chart.yaml);
        let uid = self.lab.pod(pod).in_namespace(SYSTEM).declare();
        let sandbox = within(PATIENCE, format_args!("containerd makes {pod}"), || {
            self.containerd.run(SYSTEM, pod, &uid)
        });
        let home = self.node.home().join("pods").join(pod);
        fs::create_dir_all(&home).expect("a folder for a pod");
        // A kubelet gives every pod this file; a lab has no cluster DNS that names istiod.
        let hosts = home.join("hosts");
        let istiod = format!("127.0.0.1 localhost\n{} istiod.istio-system.svc\n", plan::CONTROL_PLANE);
        fs::write(&hosts, istiod).expect("the pod's hosts");
        let root = fs::read_to_string(self.lab.control().root_file()).expect("istiod's root");
        let placed = Placed {
            fields: [
                ("metadata.name", pod.to_owned()),
                ("metadata.namespace", SYSTEM.to_owned()),
                ("spec.nodeName", self.node.name().to_owned()),
                ("spec.serviceAccountName", account.to_owned()),
                ("status.podIP", sandbox.ip().to_owned()),
            ]
            .into(),
            server: self.lab.kubernetes().address(),
            on_node: [("/etc/cni/net.d", self.containerd.confs()), ("/opt/cni/bin", self.containerd.bins())]
                .into(),
            volumes: [
                ("istiod-ca-cert", vec![("root-cert.pem", root)]),
                ("istio-token", vec![("istio-token", self.lab.control().token().to_owned())]),
            ]
            .into(),
            kubelet: mounts.into_iter().chain([("/etc/hosts", hosts)]).collect(),
            home,
        };
        let mut config = chart.container(&placed);
        for (key, value) in settings {
            let known = config.envs.iter_mut().find(|variable| variable.key == *key);
            (*value).clone_into(&mut known.unwrap_or_else(|| panic!("no setting {key}")).value);
        }
        let log = config.log_path.clone();
        let id = self.containerd.start_container(&sandbox, config).unwrap_or_else(|e| panic!("{pod}: {e}"));
        Running { id, sandbox, chart, log }
    }

    #[track_caller]
    fn wait_ready(&self, running: &Running, port: u16, path: &str) {
        within(PATIENCE, format_args!("{} is ready", running.log), || {
            let log = || tail(&self.containerd.log(&running.log), 30);
            self.containerd.running(&running.id).map_err(|why| format!("{why}\n{}", log()))?;
            match http::get(running.sandbox.netns(), ([127, 0, 0, 1], port).into(), path)? {
                (200, _) => Ok(()),
                (status, body) => Err(format!("{status} {}\n{}", body.trim(), log())),
            }
        });
    }

    /// A pod that the agent in its container has enrolled, and both proxies know.
    #[track_caller]
    pub(super) fn pod(&self, name: &str) -> Made {
        let uid = self.lab.pod(name).declare();
        let made = within(PATIENCE, format_args!("containerd makes {name}"), || {
            self.containerd.run("default", name, &uid)
        });
        self.containerd.tell(&self.lab, "default", name, &made);
        self.lab.node("b").proxy().wait_workload("default", name, "HBONE");
        made
    }

    /// A pod of the other node.
    #[track_caller]
    pub(super) fn peer(&self) -> Pod {
        let peer = self.lab.pod("peer").on("b").create();
        self.lab.node("b").proxy().wait_workload("default", "peer", "HBONE");
        peer
    }
}

impl Running {
    /// What it was given, as the runtime tells it.
    #[track_caller]
    pub(super) fn given(&self, cluster: &Cluster) -> Value {
        cluster.containerd.running(&self.id).unwrap_or_else(|e| panic!("{e}"))
    }

    /// What its metrics say: those of the proxy.
    #[track_caller]
    pub(super) fn metrics(&self) -> Metrics {
        let address = ([127, 0, 0, 1], 15020).into();
        let (status, text) =
            http::get(self.sandbox.netns(), address, "/metrics").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(status, 200, "{text}");
        Metrics::parse(&text)
    }
}

const SYSTEM: &str = "istio-system";
const PATIENCE: Duration = Duration::from_secs(90);
