//! A node: its network namespace, its folder, and the agent and proxies that run on it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use super::cni::Chain;
use super::netns::{Netns, sysctl};
use super::plan::Families;
use super::process::Process;
use super::proxy::{Proxy, ProxySpec};
use super::{http, mesh, net, plan};

/// One node of the lab.
pub struct Node {
    name: String,
    number: u8,
    families: Families,
    netns: Netns,
    home: PathBuf,
    pub(super) chain: Chain,
    pub(super) agent: Mutex<Option<Process>>,
    pub(super) agent_env: Vec<(String, String)>,
    /// The API server that the agent reads, when there is one.
    pub(super) kubernetes: Option<SocketAddr>,
    pub(super) proxies: Mutex<Vec<Proxy>>,
    pub(super) proxy_spec: Mutex<Option<ProxySpec>>,
    pods: AtomicU8,
}

impl Node {
    /// Makes node number `number`, wired to the underlay.
    pub(super) fn create(name: &str, number: u8, families: Families, underlay: &Netns, home: &Path) -> Self {
        let netns = Netns::create(&format!("node-{name}"));
        let port = format!("port-{number}");
        net::configure(underlay, "wire a node to the underlay", |handle| {
            let (port, netns) = (port.clone(), netns.clone());
            async move {
                net::veth(&handle, &port, UPLINK, &netns).await?;
                net::join_bridge(&handle, &port, UNDERLAY).await
            }
        });
        netns.run(|| {
            sysctl("net/ipv4/ip_forward", "1");
            sysctl("net/ipv6/conf/all/forwarding", "1");
        });
        net::configure(&netns, "furnish a node's uplink", |handle| async move {
            net::up(&handle, "lo").await?;
            net::up(&handle, UPLINK).await?;
            for address in plan::node(families, number) {
                net::address(&handle, UPLINK, address).await?;
            }
            Ok(())
        });
        let home = home.join(name);
        std::fs::create_dir_all(&home).expect("a folder for the node");
        Self {
            name: name.to_owned(),
            number,
            families,
            chain: Chain { host: netns.clone(), plugin: None },
            netns,
            home,
            agent: Mutex::new(None),
            agent_env: Vec::new(),
            kubernetes: None,
            proxies: Mutex::new(Vec::new()),
            proxy_spec: Mutex::new(None),
            pods: AtomicU8::new(2),
        }
    }

    /// Teaches `netns` the way to this node's pods.
    pub(super) fn route_pods_in(&self, netns: &Netns) {
        let (families, via) = (self.families, self.number);
        net::configure(netns, "route to a node's pods", |handle| async move {
            for (pods, node) in plan::pods(families, via).into_iter().zip(plan::node(families, via)) {
                net::route_via(&handle, pods, node.addr()).await?;
            }
            Ok(())
        });
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its address on the underlay.
    pub fn ip(&self) -> IpAddr {
        plan::node(self.families, self.number)[0].addr()
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its number, counted from 1.
    pub(super) const fn number(&self) -> u8 {
        self.number
    }

    /// The next free pod number.
    pub(super) fn take_pod_number(&self) -> u8 {
        self.pods.fetch_add(1, Ordering::Relaxed)
    }

    /// The proxy that serves the node: the one started last.
    #[track_caller]
    pub fn proxy(&self) -> Proxy {
        self.proxies.lock().last().cloned().unwrap_or_else(|| panic!("node {} runs no proxy", self.name))
    }

    /// The agent.
    #[track_caller]
    pub fn agent(&self) -> Process {
        self.agent.lock().clone().unwrap_or_else(|| panic!("node {} runs no agent", self.name))
    }

    /// Starts another proxy beside the running one, as a rolling update does, and waits until it is ready.
    #[track_caller]
    pub fn start_successor(&self) -> Proxy {
        mesh::start_successor(self)
    }

    /// Kills the node's proxy and starts it again as `change` wants it; waits until it is ready.
    #[track_caller]
    pub fn restart_proxy(&self, change: impl FnOnce(ProxySpec) -> ProxySpec) -> Proxy {
        let proxy = self.begin_proxy(change);
        proxy.wait_ready();
        proxy
    }

    /// As [`Node::restart_proxy`], without waiting: it may never be ready.
    #[track_caller]
    pub fn begin_proxy(&self, change: impl FnOnce(ProxySpec) -> ProxySpec) -> Proxy {
        let mut proxies = self.proxies.lock();
        let mut spec = change(self.proxy_spec());
        spec.log = self.home.join(format!("proxy-{}.log", proxies.len()));
        if let Some(running) = proxies.last() {
            running.process().kill();
        }
        let proxy = spec.start();
        proxies.push(proxy.clone());
        proxy
    }

    /// Ends the agent at once and starts it again.
    #[track_caller]
    pub fn restart_agent(&self) {
        self.agent().kill();
        self.begin_agent();
        mesh::wait_agent(self);
    }

    /// Starts an agent, without waiting: it may never be ready.
    #[track_caller]
    pub fn begin_agent(&self) {
        *self.agent.lock() = Some(mesh::start_agent(self));
    }

    /// Waits until the agent is ready.
    #[track_caller]
    pub fn wait_agent(&self) {
        mesh::wait_agent(self);
    }

    /// Every pod as the agent has it, by its debug socket, or why it does not say.
    pub fn agent_pods(&self) -> Result<Vec<Value>, String> {
        let (status, body) = http::get_unix(&mesh::debug_socket(self), "/debug/pods")?;
        if status != 200 {
            return Err(format!("{status}: {body}"));
        }
        serde_json::from_str(&body).map_err(|e| format!("{e} in {body:?}"))
    }

    /// What the node's proxy was given to start with.
    #[track_caller]
    pub fn proxy_spec(&self) -> ProxySpec {
        self.proxy_spec.lock().clone().unwrap_or_else(|| panic!("node {} runs no proxy", self.name))
    }

    /// Where the agent serves health, inside the node.
    pub(super) fn agent_health() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8000))
    }
}

/// A node's interface on the underlay.
const UPLINK: &str = "eth0";
/// The bridge between the nodes.
pub(super) const UNDERLAY: &str = "underlay";
