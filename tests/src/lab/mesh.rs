//! Brings the mesh up on the lab's nodes: control plane, then agents, then proxies.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::cluster::{Cluster, PodsDirectory};
use super::cni::Plugin;
use super::control::ControlPlane;
use super::eventually::eventually;
use super::kube::ApiServer;
use super::netns::Netns;
use super::node::Node;
use super::process::{Process, Program};
use super::proxy::{Proxy, ProxySpec};
use super::{binaries, http, plan, status};

/// Starts everything and waits until every node is ready.
#[track_caller]
pub(super) fn start(
    nodes: &mut [Node],
    cluster: &Arc<Cluster>,
    standalone: bool,
    proxy_env: &[(String, String)],
) -> ControlPlane {
    let statuses: Vec<_> = nodes.iter().map(|node| Folder::of(node).status()).collect();
    let control = if standalone {
        ControlPlane::standalone_with(cluster, &statuses)
    } else {
        ControlPlane::start(cluster)
    };
    if let Some(server) = cluster.server() {
        prepare(server, cluster, nodes);
    }
    for node in nodes.iter_mut() {
        let folder = Folder::of(node);
        if node.kubernetes.is_none() && !control.shares(&folder.pods()) {
            cluster.follow(Box::new(PodsDirectory::new(node.name(), &folder.pods(), &folder.scratch())));
        }
        node.chain.plugin = Some(Plugin {
            path: binaries::find("adit-cni"),
            config: json!({
                "type": "adit-cni",
                "agent_socket": folder.run().join("plugin.sock"),
                "pod_namespace": SYSTEM,
            }),
        });
        *node.agent.lock() = Some(start_agent(node));
        let spec = proxy_spec(node, &control, proxy_env);
        node.proxies.lock().push(spec.start());
        *node.proxy_spec.lock() = Some(spec);
    }
    for node in nodes.iter() {
        wait_agent(node);
        node.proxy().wait_ready();
    }
    if cluster.server().is_none() {
        status::follow(statuses, cluster);
    }
    control
}

/// Gives an API server what the charts install before an agent starts, and the nodes' names.
#[track_caller]
fn prepare(server: &ApiServer, cluster: &Cluster, nodes: &mut [Node]) {
    cluster.set(super::namespace(SYSTEM));
    cluster.set(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": ACCOUNT, "namespace": SYSTEM },
    }));
    server.apply(include_str!("kube/rights.yaml"));
    server.mount_account(SYSTEM, ACCOUNT);
    for node in nodes {
        cluster.set(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node.name() } }));
        node.kubernetes = Some(server.address());
    }
}

/// Starts a node's agent.
#[track_caller]
pub(super) fn start_agent(node: &Node) -> Process {
    let folder = Folder::of(node);
    for path in [folder.pods(), folder.status(), folder.run()] {
        fs::create_dir_all(&path).expect("a folder for the agent");
    }
    let text = |path: PathBuf| path.display().to_string();
    let program = Program::new(binaries::find("adit-node-agent")).env("LOG_LEVEL", level());
    let program = match node.kubernetes {
        Some(server) => program
            .env("KUBERNETES_SERVICE_HOST", server.ip().to_string())
            .env("KUBERNETES_SERVICE_PORT", server.port().to_string())
            .env("POD_NAMESPACE", SYSTEM)
            .env("POD_NAME", format!("istio-cni-node-{}", node.name()))
            .env("NODE_NAME", node.name())
            // The lab hands the plugin to its runtime itself.
            .env("INSTALL_CNI", "false"),
        None => program
            .args(["--node-name", node.name()])
            .args(["--pods-dir".to_owned(), text(folder.pods())])
            .args(["--status-dir".to_owned(), text(folder.status())]),
    };
    let program = redirection().into_iter().fold(program, |program, (key, value)| program.env(key, value));
    let program = node.agent_env.iter().fold(program, |program, (key, value)| program.env(key, value));
    program
        .args(["--run-dir".to_owned(), text(folder.run())])
        .args(["--zds-socket".to_owned(), text(folder.zds())])
        .args(["--netns-dir", "/run/netns"])
        .args(["--health-addr".to_owned(), Node::agent_health().to_string()])
        .start(&format!("agent-{}", node.name()), node.netns(), &node.home().join("agent.log"))
}

/// How agents load rules: as `ADIT_LAB_REDIRECT` says, `nft`, `iptables-nft`, `iptables-legacy` or `auto`, else as they do by
/// themselves.
fn redirection() -> Option<(&'static str, &'static str)> {
    match std::env::var("ADIT_LAB_REDIRECT").ok()?.as_str() {
        "nft" => Some(("NATIVE_NFTABLES", "true")),
        "auto" => Some(("NATIVE_NFTABLES", "auto")),
        "iptables-nft" => Some(("FORCE_IPTABLES_BINARY", "nft")),
        "iptables-legacy" => Some(("FORCE_IPTABLES_BINARY", "legacy")),
        other => {
            panic!(
                "ADIT_LAB_REDIRECT is {other:?}, which is none of nft, iptables-nft, iptables-legacy, auto"
            )
        }
    }
}

/// Where a node's agent shows what it knows.
pub(super) fn debug_socket(node: &Node) -> PathBuf {
    Folder::of(node).run().join("debug.sock")
}

/// Waits until a node's agent answers.
#[track_caller]
pub(super) fn wait_agent(node: &Node) {
    eventually(format_args!("the agent of node {} is ready", node.name()), || {
        node.agent().assert_running();
        match http::get(node.netns(), Node::agent_health(), "/readyz")? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{status} {}", body.trim())),
        }
    });
}

/// What a node's proxy is given, as the chart gives it.
fn proxy_spec(node: &Node, control: &ControlPlane, extra: &[(String, String)]) -> ProxySpec {
    let folder = Folder::of(node);
    let token = node.home().join("token");
    fs::write(&token, control.token()).expect("write a token");
    let name = format!("ztunnel-{}", node.name());
    let root = control.root_file().display().to_string();
    let address = control.address().to_string();
    let mut env: BTreeMap<String, String> = [
        ("XDS_ADDRESS", address.clone()),
        ("CA_ADDRESS", address),
        ("XDS_ROOT_CA", root.clone()),
        ("CA_ROOT_CA", root),
        ("AUTH_TOKEN", token.display().to_string()),
        ("NODE_NAME", node.name().to_owned()),
        ("POD_NAME", name.clone()),
        ("POD_NAMESPACE", "istio-system".to_owned()),
        ("SERVICE_ACCOUNT", "ztunnel".to_owned()),
        ("INSTANCE_IP", node.ip().to_string()),
        ("INPOD_UDS", folder.zds().display().to_string()),
        ("INPOD_ENABLED", "true".to_owned()),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes".to_owned()),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "30".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
        ("RUST_LOG", level()),
        ("RUST_BACKTRACE", "1".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if !control.is_ours() {
        // Its certificate does not name the lab's address.
        for key in ["ALT_XDS_HOSTNAME", "ALT_CA_HOSTNAME"] {
            env.insert(key.to_owned(), "istiod.istio-system.svc".to_owned());
        }
    }
    if control.token().is_empty() {
        env.remove("AUTH_TOKEN");
    }
    env.extend(extra.iter().cloned());
    ProxySpec {
        path: binaries::proxy_of(node.name()),
        env,
        netns: node.netns().clone(),
        log: node.home().join("proxy.log"),
        name,
    }
}

/// Starts another proxy on a node, as a rolling update does: beside the running one, in a network namespace of its own.
#[track_caller]
pub(super) fn start_successor(node: &Node) -> Proxy {
    let number = node.take_pod_number();
    let ordinal = node.proxies.lock().len();
    let netns = Netns::create(&format!("ztunnel-{}-{ordinal}", node.name()));
    let sandbox = super::cni::Sandbox {
        namespace: "istio-system".to_owned(),
        pod: netns.name().to_owned(),
        uid: netns.name().to_owned(),
        container_id: netns.name().to_owned(),
        addresses: plan::pod(plan::Families::V4, node.number(), number),
        host_interface: format!("v{number}"),
        netns: netns.clone(),
    };
    super::cni::Chain { host: node.netns().clone(), plugin: None }
        .add(&sandbox)
        .expect("the lab's own plugin");
    let mut spec = node.proxy_spec.lock().clone().expect("a node with a proxy");
    spec.name = netns.name().to_owned();
    spec.log = node.home().join(format!("proxy-{ordinal}.log"));
    spec.netns = netns;
    let proxy = spec.start();
    proxy.wait_ready();
    node.proxies.lock().push(proxy.clone());
    proxy
}

/// Where agents and proxies run on a cluster.
pub(super) const SYSTEM: &str = "istio-system";
/// The account of the agents.
pub(super) const ACCOUNT: &str = "istio-cni";

/// The log level of agents and proxies.
fn level() -> String {
    std::env::var("ADIT_LAB_LOG").unwrap_or_else(|_| "info".to_owned())
}

/// A node's folder, and what is where in it.
struct Folder(PathBuf);

impl Folder {
    fn of(node: &Node) -> Self {
        Self(node.home().to_owned())
    }

    fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    fn status(&self) -> PathBuf {
        self.0.join("status")
    }

    fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    fn zds(&self) -> PathBuf {
        self.0.join("ztunnel.sock")
    }
}
