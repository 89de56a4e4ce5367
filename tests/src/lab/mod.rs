//! Nodes and their pods as network namespaces, with the real plugin, agent and proxies, and a control plane.
//!
//! A suite calls [`main`] with its [`Trial`]s; each trial gets a process, and with it a machine, of its own and says
//! what it needs: `let lab = Lab::new().start();`.

pub mod authority;
pub mod binaries;
pub mod capture;
pub mod cluster;
pub mod cni;
pub mod control;
pub mod dns;
pub mod eventually;
pub mod external;
pub mod hbone;
pub mod http;
pub mod isolate;
pub mod kube;
pub mod logs;
pub mod net;
pub mod netns;
pub mod node;
pub mod observe;
pub mod peer;
pub mod plan;
pub mod pod;
pub mod process;
pub mod proxy;
pub mod runner;
pub mod service;
pub mod standalone;
pub mod tcp;
pub mod usual;

mod mesh;
mod status;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use parking_lot::Mutex;
use serde_json::json;

pub use authority::Authority;
pub use capture::{Capture, Seen};
pub use cluster::{Cluster, Key};
pub use control::{ControlPlane, Issued};
pub use dns::{NameServer, Over};
pub use eventually::{always, eventually, eventually_is, within};
pub use isolate::HOME;
pub use netns::Netns;
pub use node::Node;
pub use peer::{Peer, Peers};
pub use plan::Families;
pub use pod::{Pod, PodBuilder};
pub use process::{Process, Program};
pub use proxy::Proxy;
pub use runner::{Trial, isolated, main};
pub use service::{Service, ServiceBuilder};
pub use standalone::Standalone;
pub use tcp::{Conn, End, Server, Speaks};

/// A lab that is about to be built: nodes `a` and `b`, IPv4, the mesh running.
#[derive(Debug, Clone)]
pub struct Builder {
    nodes: Vec<String>,
    families: Families,
    mesh: bool,
    standalone: bool,
    kubernetes: bool,
    proxy_env: Vec<(String, String)>,
    agent_env: Vec<(String, String)>,
}

impl Builder {
    /// Only node `a`.
    pub fn one_node(mut self) -> Self {
        self.nodes.truncate(1);
        self
    }

    /// The families of the pods.
    pub const fn families(mut self, families: Families) -> Self {
        self.families = families;
        self
    }

    /// Nodes and pods alone: no control plane, agent or proxy, and no `adit-cni` in the chain.
    pub const fn without_mesh(mut self) -> Self {
        self.mesh = false;
        self
    }

    /// As on machines without a cluster: the program `adit-control` reads a directory, which the agents read too.
    pub const fn standalone(mut self) -> Self {
        self.standalone = true;
        self.kubernetes = false;
        self
    }

    /// As on a cluster: the objects that agents read are those of a real API server.
    pub const fn kubernetes(mut self) -> Self {
        self.kubernetes = true;
        self
    }

    /// Sets a variable of every agent's environment.
    pub fn agent_env(mut self, key: &str, value: &str) -> Self {
        self.agent_env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of every proxy's environment.
    pub fn proxy_env(mut self, key: &str, value: &str) -> Self {
        self.proxy_env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Builds it and waits until every node is ready.
    #[track_caller]
    pub fn start(self) -> Lab {
        let underlay = underlay(self.families);
        let home = Path::new(HOME);
        let numbered = self.nodes.iter().zip(1u8..);
        let mut nodes: Vec<Node> = numbered
            .map(|(name, number)| Node::create(name, number, self.families, &underlay, home))
            .collect();
        for node in &nodes {
            node.route_pods_in(&underlay);
            for other in nodes.iter().filter(|other| other.name() != node.name()) {
                node.route_pods_in(other.netns());
            }
        }
        let names = NameServer::start(&underlay, &plan::control_plane(self.families));
        let cluster = if self.kubernetes {
            Cluster::on(kube::ApiServer::start())
        } else {
            Arc::new(Cluster::default())
        };
        cluster.set(namespace("default"));
        let control = self.mesh.then(|| self.start_mesh(&mut nodes, &cluster));
        Lab {
            shared: Arc::new(Shared {
                names,
                underlay,
                nodes: nodes.into_iter().map(Arc::new).collect(),
                families: self.families,
                cluster,
                control,
                uids: AtomicU32::new(1),
                services: AtomicU8::new(1),
                pods: Mutex::new(Vec::new()),
            }),
        }
    }
}

impl Builder {
    fn start_mesh(&self, nodes: &mut [Node], cluster: &Arc<Cluster>) -> ControlPlane {
        for node in nodes.iter_mut() {
            node.agent_env.clone_from(&self.agent_env);
        }
        mesh::start(nodes, cluster, self.standalone, &self.proxy_env)
    }
}

/// The bridge between the nodes, in the lab's first namespace, with the control plane's address on it.
fn underlay(families: Families) -> Netns {
    let underlay = Netns::current("underlay");
    underlay.run(|| {
        netns::sysctl("net/ipv6/conf/all/accept_dad", "0");
        netns::sysctl("net/ipv6/conf/default/accept_dad", "0");
    });
    net::configure(&underlay, "build the underlay", |handle| async move {
        net::up(&handle, "lo").await?;
        net::bridge(&handle, node::UNDERLAY).await?;
        for address in plan::control_plane(families) {
            net::address(&handle, node::UNDERLAY, address).await?;
        }
        Ok(())
    });
    underlay
}

fn namespace(name: &str) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": {} } })
}

/// Set, it makes every lab one [on Kubernetes](Builder::kubernetes) unless it is standalone.
pub const KUBERNETES: &str = "ADIT_LAB_KUBERNETES";

/// A running lab. It ends with its process.
pub struct Lab {
    shared: Arc<Shared>,
}

/// What a lab's pods share.
struct Shared {
    names: NameServer,
    underlay: Netns,
    nodes: Vec<Arc<Node>>,
    families: Families,
    cluster: Arc<Cluster>,
    control: Option<ControlPlane>,
    uids: AtomicU32,
    services: AtomicU8,
    /// A pod runs until it is deleted, whoever forgets it.
    pods: Mutex<Vec<Pod>>,
}

impl Shared {
    #[track_caller]
    fn node(&self, name: &str) -> Arc<Node> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        Arc::clone(found.unwrap_or_else(|| panic!("the lab has no node {name}")))
    }

    fn next_uid(&self) -> String {
        let number = self.uids.fetch_add(1, Ordering::Relaxed);
        format!("00000000-0000-4000-8000-{number:012}")
    }
}

impl Lab {
    /// Describes a lab; [`Builder::start`] builds it.
    #[expect(clippy::new_ret_no_self, reason = "reads as a story: Lab::new().one_node().start()")]
    pub fn new() -> Builder {
        Builder {
            nodes: vec!["a".to_owned(), "b".to_owned()],
            families: Families::V4,
            mesh: true,
            standalone: false,
            kubernetes: std::env::var_os(KUBERNETES).is_some(),
            proxy_env: Vec::new(),
            agent_env: Vec::new(),
        }
    }

    /// A node by its name.
    #[track_caller]
    pub fn node(&self, name: &str) -> Arc<Node> {
        self.shared.node(name)
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.shared.nodes
    }

    /// The Kubernetes objects.
    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// The API server of a lab [on Kubernetes](Builder::kubernetes).
    #[track_caller]
    pub fn kubernetes(&self) -> &kube::ApiServer {
        self.shared.cluster.server().expect("a lab on Kubernetes")
    }

    /// The control plane.
    #[track_caller]
    pub fn control(&self) -> &ControlPlane {
        self.shared.control.as_ref().expect("a lab with a mesh")
    }

    /// The name server that pods and proxies are configured with.
    pub fn names(&self) -> &NameServer {
        &self.shared.names
    }

    /// Describes a pod.
    pub fn pod(&self, name: &str) -> PodBuilder {
        PodBuilder::new(&self.shared, name)
    }

    /// Describes a service.
    pub fn service(&self, name: &str) -> ServiceBuilder {
        let number = self.shared.services.fetch_add(1, Ordering::Relaxed);
        ServiceBuilder::new(&self.shared, name, plan::service(self.shared.families, number))
    }

    /// Creates a namespace of Kubernetes.
    pub fn create_namespace(&self, name: &str) {
        self.shared.cluster.set(namespace(name));
    }

    /// Labels a namespace for the mesh.
    pub fn enroll_namespace(&self, name: &str) {
        self.label_namespace(name, Some("ambient"));
    }

    /// Takes the label away.
    pub fn withdraw_namespace(&self, name: &str) {
        self.label_namespace(name, None);
    }

    fn label_namespace(&self, name: &str, mode: Option<&str>) {
        let patch = json!({ "metadata": { "labels": { "istio.io/dataplane-mode": mode } } });
        assert!(self.shared.cluster.patch(&Key::new("Namespace", "", name), &patch), "no namespace {name}");
    }

    /// Applies YAML, as `kubectl apply` would.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        self.shared.cluster.apply(yaml);
    }

    /// Deletes an object.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.shared.cluster.remove(&Key::new(kind, namespace, name));
    }

    /// Applies policies and waits until every node's proxy has the one called `namespace/name`.
    #[track_caller]
    pub fn apply_policy(&self, yaml: &str, name: &str) {
        self.apply(yaml);
        self.wait_policy(name, true);
    }

    /// Waits until every node's proxy has a policy, or has lost it.
    #[track_caller]
    pub fn wait_policy(&self, name: &str, present: bool) {
        for node in self.nodes() {
            node.proxy().wait_policy(name, present);
        }
    }

    /// Captures what crosses between the nodes from now on.
    pub fn capture(&self) -> Capture {
        Capture::start(&self.shared.underlay)
    }
}
