//! The network configuration on stdin, checked; other plugins' and unknown keys are nobody's business here.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use cni_plugin_wire::paths;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::is_name;
use crate::error::CniError;
use crate::log::Level;
use crate::version::Version;

/// What the runtime and the installer configured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) version: Version,
    /// The result of the plugins before this one.
    pub(crate) prev_result: Option<PrevResult>,
    /// Where the agent listens.
    pub(crate) agent_socket: PathBuf,
    /// The agent's word for when it does not.
    pub(crate) selected_namespaces: PathBuf,
    pub(crate) exclude_namespaces: BTreeSet<String>,
    /// The namespace of the agent itself, whose pod must never wait for the agent.
    pub(crate) agent_namespace: Option<String>,
    pub(crate) log_level: Level,
    /// Whether STATUS fails while the agent is away. The kubelet starts no pod on the pod network of a node whose network
    /// is not ready, so this is only for agents on the host's network: another could never come back.
    pub(crate) status_needs_agent: bool,
    /// Whether STATUS fails while no proxy is connected. A proxy on the pod network could never come back either.
    pub(crate) status_needs_proxy: bool,
    /// Containers that still exist, when the runtime collects garbage.
    pub(crate) valid_container_ids: Option<Vec<String>>,
}

/// A result passed on as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PrevResult {
    document: Map<String, Value>,
    pub(crate) ips: Vec<IpAddr>,
}

impl Config {
    pub(crate) fn parse(input: &[u8]) -> Result<Self, CniError> {
        let raw: Raw = serde_json::from_slice(input).map_err(CniError::ConfigUndecodable)?;
        let Raw { cni_version, name, .. } = &raw;
        let name = name.as_deref().filter(|name| !name.is_empty()).ok_or(CniError::NameMissing)?;
        if !is_name(name) {
            return Err(CniError::NameInvalid { name: name.to_owned() });
        }
        // An empty version is an absent one.
        let given = cni_version.as_deref().filter(|version| !version.is_empty());
        let version = Version::named(given)
            .ok_or_else(|| CniError::VersionUnknown { got: given.unwrap_or_default().to_owned() })?;
        let agent_socket = raw.agent_socket.unwrap_or_else(|| paths::DEFAULT_EVENT_SOCKET.into());
        let beside = || paths::selected_namespaces_beside(&agent_socket);
        Ok(Self {
            version,
            prev_result: raw.prev_result.map(PrevResult::read).transpose()?,
            selected_namespaces: raw.selected_namespaces_file.unwrap_or_else(beside),
            exclude_namespaces: raw.exclude_namespaces.unwrap_or_default(),
            agent_namespace: raw.pod_namespace,
            status_needs_agent: raw.status_needs_agent.unwrap_or(false),
            status_needs_proxy: raw.status_needs_proxy.unwrap_or(false),
            log_level: raw.log_level.unwrap_or_default(),
            valid_container_ids: raw.valid_attachments.map(|attachments| {
                attachments.into_iter().map(|attachment| attachment.container_id).collect()
            }),
            agent_socket,
        })
    }

    /// What an ADD that changes nothing about the pod's network answers.
    pub(crate) fn result(&self) -> Value {
        let mut document =
            self.prev_result.as_ref().map(|result| result.document.clone()).unwrap_or_default();
        if !document.contains_key("cniVersion") {
            document.insert("cniVersion".to_owned(), self.version.name().into());
        }
        Value::Object(document)
    }
}

impl PrevResult {
    /// Understands the addresses of both generations of results: `ips[].address`, and before 0.3.0 `ip4.ip`, `ip6.ip`.
    fn read(document: Map<String, Value>) -> Result<Self, CniError> {
        let addresses: Addresses = serde_json::from_value(Value::Object(document.clone()))
            .map_err(CniError::PrevResultUndecodable)?;
        let Addresses { ips, ip4, ip6 } = addresses;
        let texts = ips
            .unwrap_or_default()
            .into_iter()
            .map(|ip| ip.address)
            .chain([ip4, ip6].into_iter().flatten().map(|ip| ip.ip));
        let ips = texts.map(|text| address(&text)).collect::<Result<_, _>>()?;
        Ok(Self { document, ips })
    }
}

/// An address, with or without the length of its network.
fn address(text: &str) -> Result<IpAddr, CniError> {
    let host = text.split_once('/').map_or(text, |(host, _)| host);
    let address: IpAddr =
        host.parse().map_err(|_| CniError::PrevResultAddress { address: text.to_owned() })?;
    Ok(address.to_canonical())
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "cniVersion")]
    cni_version: Option<String>,
    name: Option<String>,
    #[serde(rename = "prevResult")]
    prev_result: Option<Map<String, Value>>,
    agent_socket: Option<PathBuf>,
    selected_namespaces_file: Option<PathBuf>,
    exclude_namespaces: Option<BTreeSet<String>>,
    pod_namespace: Option<String>,
    status_needs_agent: Option<bool>,
    status_needs_proxy: Option<bool>,
    #[serde(alias = "plugin_log_level")]
    log_level: Option<Level>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<Attachment>>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "containerID")]
    container_id: String,
}

#[derive(Deserialize)]
struct Addresses {
    ips: Option<Vec<Ip>>,
    ip4: Option<OldIp>,
    ip6: Option<OldIp>,
}

#[derive(Deserialize)]
struct Ip {
    address: String,
}

#[derive(Deserialize)]
struct OldIp {
    ip: String,
}
