//! The CNI chain that makes a pod's network: a first plugin of the lab's own, then the real `adit-cni`.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::net;
use super::netns::{Netns, sysctl};
use super::process::Program;

/// The pod that a chain is run for.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The pod's namespace in Kubernetes.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The runtime's name for this sandbox.
    pub container_id: String,
    /// The pod's network namespace.
    pub netns: Netns,
    /// Addresses that the lab's plugin assigns, each with its gateway.
    pub addresses: Vec<(IpAddr, IpAddr)>,
    /// The host end of the pair of interfaces.
    pub host_interface: String,
}

/// The chain of one node.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The node's namespace, in which plugins run.
    pub host: Netns,
    /// The second plugin; none when the lab has no mesh.
    pub plugin: Option<Plugin>,
}

/// How to run `adit-cni`.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The binary.
    pub path: PathBuf,
    /// Its part of the conflist.
    pub config: Value,
}

/// A CNI error document, or what the plugin said instead of one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{plugin} {command} failed with code {code}: {message}")]
pub struct CniError {
    /// Which plugin.
    pub plugin: String,
    /// Which command.
    pub command: &'static str,
    /// The document's code; 0 when there was no document.
    pub code: u64,
    /// The document's message and details.
    pub message: String,
}

impl Chain {
    /// ADD through the chain: answers the last result.
    pub fn add(&self, sandbox: &Sandbox) -> Result<Value, CniError> {
        let result = first_add(&self.host, sandbox);
        match &self.plugin {
            Some(plugin) => self.run(plugin, "ADD", sandbox, Some(&result)),
            None => Ok(result),
        }
    }

    /// CHECK of the second plugin.
    pub fn check(&self, sandbox: &Sandbox, result: &Value) -> Result<(), CniError> {
        match &self.plugin {
            Some(plugin) => self.run(plugin, "CHECK", sandbox, Some(result)).map(drop),
            None => Ok(()),
        }
    }

    /// DEL through the chain in reverse.
    pub fn del(&self, sandbox: &Sandbox) -> Result<(), CniError> {
        let asked = match &self.plugin {
            Some(plugin) => self.run(plugin, "DEL", sandbox, None).map(drop),
            None => Ok(()),
        };
        net::configure(&self.host, "remove the pod's interfaces", |handle| async move {
            net::remove_link(&handle, &sandbox.host_interface).await
        });
        asked
    }

    fn run(
        &self,
        plugin: &Plugin,
        command: &'static str,
        sandbox: &Sandbox,
        previous: Option<&Value>,
    ) -> Result<Value, CniError> {
        let mut config = plugin.config.clone();
        config["cniVersion"] = json!(VERSION);
        config["name"] = json!("lab");
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        let program = Program::new(&plugin.path)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &sandbox.container_id)
            .env("CNI_NETNS", sandbox.netns.path().display().to_string())
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", plugin.path.parent().unwrap_or_else(|| Path::new("/")).display().to_string())
            .env(
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
                    sandbox.namespace, sandbox.pod, sandbox.container_id, sandbox.uid
                ),
            );
        let output = self.host.run(|| {
            let mut child = program
                .command()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|e| panic!("start {}: {e}", plugin.path.display()));
            let mut stdin = child.stdin.take().expect("a pipe to the plugin");
            // A plugin that refuses early closes its end first.
            let _ = stdin.write_all(config.to_string().as_bytes());
            drop(stdin);
            child.wait_with_output().expect("the plugin's output")
        });
        let document: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if output.status.success() {
            return Ok(document.unwrap_or(Value::Null));
        }
        let text = |key: &str| document.as_ref().and_then(|d| d[key].as_str()).unwrap_or_default().to_owned();
        Err(CniError {
            plugin: plugin.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            command,
            code: document.as_ref().and_then(|d| d["code"].as_u64()).unwrap_or(0),
            message: format!(
                "{} {}{}",
                text("msg"),
                text("details"),
                String::from_utf8_lossy(if document.is_some() { b"" } else { &output.stderr })
            ),
        })
    }
}

/// The first plugin, in the manner of `ptp`: a pair of interfaces, a route to the pod on the host, everything else
/// through the host in the pod.
fn first_add(host: &Netns, sandbox: &Sandbox) -> Value {
    let pod = &sandbox.netns;
    let (name, addresses) = (sandbox.host_interface.as_str(), &sandbox.addresses);
    let host_mac = net::configure(host, "make the pod's interfaces", |handle| async move {
        net::veth(&handle, name, INTERFACE, pod).await?;
        net::up(&handle, name).await?;
        for (address, gateway) in addresses {
            net::address(&handle, name, net::host(*gateway)).await?;
            net::route_dev(&handle, net::host(*address), name).await?;
        }
        net::mac(&handle, name).await
    });
    // The host's replies to the pod keep the path they came by.
    host.run(|| sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "0"));
    let pod_mac = net::configure(pod, "furnish the pod's interface", |handle| async move {
        net::up(&handle, "lo").await?;
        net::up(&handle, INTERFACE).await?;
        for (address, gateway) in addresses {
            net::address(&handle, INTERFACE, net::host(*address)).await?;
            net::route_dev(&handle, net::host(*gateway), INTERFACE).await?;
            net::route_via(&handle, net::everywhere(*address), *gateway).await?;
        }
        net::mac(&handle, INTERFACE).await
    });
    json!({
        "cniVersion": VERSION,
        "interfaces": [
            { "name": name, "mac": host_mac },
            { "name": INTERFACE, "mac": pod_mac, "sandbox": pod.path().display().to_string() },
        ],
        "ips": addresses.iter().map(|(address, gateway)| json!({
            "address": IpNet::from(*address).to_string(),
            "gateway": gateway.to_string(),
            "interface": 1,
        })).collect::<Vec<_>>(),
        "routes": addresses.iter().map(|(address, gateway)| json!({
            "dst": net::everywhere(*address).to_string(),
            "gw": gateway.to_string(),
        })).collect::<Vec<_>>(),
        "dns": {},
    })
}

/// A pod's interface.
pub const INTERFACE: &str = "eth0";
const VERSION: &str = "1.0.0";
