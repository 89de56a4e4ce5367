//! Workloads as written by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::value::{Gateway, Ports, ServiceKey, octets, port_list, set};
use crate::istio::workload::application_tunnel::Protocol as WireTunnelProtocol;
use crate::istio::workload::{
    ApplicationTunnel as WireTunnel, Locality as WireLocality, NetworkMode as WireMode,
    TunnelProtocol as WireProtocol, Workload as Wire, WorkloadStatus as WireStatus, WorkloadType as WireType,
};

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Workload {
    /// Without it, one is made of namespace and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_ips: Option<Vec<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<NetworkMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_tunnel: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waypoint: Option<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_gateway: Option<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Resolved when a connection is made, where there are no addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_type: Option<WorkloadType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_revision: Option<String>,
    /// `namespace/name` of the policies that select it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_policies: Option<Vec<String>>,
    /// The services that it is an endpoint of, and the ports under which it serves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<ServiceKey, Ports>>,
}

impl Workload {
    /// The name it has on the wire.
    pub fn key(&self) -> Option<String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let made = || Some(format!("Local/{}/{}", given(&self.namespace)?, given(&self.name)?));
        given(&self.uid).or_else(made)
    }

    /// Takes over what is named.
    pub(super) fn apply(&self, to: &mut Wire) {
        self.apply_identity(to);
        self.apply_path(to);
        set(&mut to.node, self.node.as_ref());
        set(&mut to.cluster_id, self.cluster_id.as_ref());
        set(&mut to.workload_name, self.workload_name.as_ref());
        set(&mut to.canonical_name, self.canonical_name.as_ref());
        set(&mut to.canonical_revision, self.canonical_revision.as_ref());
        set(&mut to.authorization_policies, self.authorization_policies.as_ref());
        if let Some(Locality { region, zone, subzone }) = self.locality.clone() {
            to.locality = Some(WireLocality { region, zone, subzone });
        }
        if let Some(kind) = self.workload_type {
            to.workload_type = kind.wire().into();
        }
        if let Some(status) = self.status {
            to.status = status.wire().into();
        }
        if self.capacity.is_some() {
            to.capacity = self.capacity;
        }
    }

    fn apply_identity(&self, to: &mut Wire) {
        set(&mut to.name, self.name.as_ref());
        set(&mut to.namespace, self.namespace.as_ref());
        set(&mut to.trust_domain, self.trust_domain.as_ref());
        set(&mut to.service_account, self.service_account.as_ref());
    }

    /// How it is reached.
    fn apply_path(&self, to: &mut Wire) {
        if let Some(addresses) = &self.workload_ips {
            to.addresses = addresses.iter().map(|ip| octets(*ip)).collect();
        }
        set(&mut to.hostname, self.hostname.as_ref());
        set(&mut to.network, self.network.as_ref());
        set(&mut to.native_tunnel, self.native_tunnel.as_ref());
        if let Some(mode) = self.network_mode {
            to.network_mode = mode.wire().into();
        }
        if let Some(protocol) = self.protocol {
            to.tunnel_protocol = protocol.wire().into();
        }
        if let Some(waypoint) = &self.waypoint {
            to.waypoint = Some(waypoint.wire());
        }
        if let Some(gateway) = &self.network_gateway {
            to.network_gateway = Some(gateway.wire());
        }
        if let Some(tunnel) = self.application_tunnel {
            to.application_tunnel = Some(tunnel.wire());
        }
        if let Some(services) = &self.services {
            to.services = services.iter().map(|(key, ports)| (key.to_string(), port_list(ports))).collect();
        }
    }
}

/// What a workload speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Tcp,
    Hbone,
}

impl Protocol {
    const fn wire(self) -> WireProtocol {
        match self {
            Self::Tcp => WireProtocol::None,
            Self::Hbone => WireProtocol::Hbone,
        }
    }
}

/// Whether its addresses are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum NetworkMode {
    Standard,
    HostNetwork,
}

impl NetworkMode {
    const fn wire(self) -> WireMode {
        match self {
            Self::Standard => WireMode::Standard,
            Self::HostNetwork => WireMode::HostNetwork,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Status {
    Healthy,
    Unhealthy,
}

impl Status {
    pub(super) const fn wire(self) -> WireStatus {
        match self {
            Self::Healthy => WireStatus::Healthy,
            Self::Unhealthy => WireStatus::Unhealthy,
        }
    }
}

/// What owns it, for telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadType {
    #[serde(alias = "")]
    Deployment,
    Cronjob,
    Pod,
    Job,
}

impl WorkloadType {
    const fn wire(self) -> WireType {
        match self {
            Self::Deployment => WireType::Deployment,
            Self::Cronjob => WireType::Cronjob,
            Self::Pod => WireType::Pod,
            Self::Job => WireType::Job,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub subzone: String,
}

/// What its application is told of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationTunnel {
    pub protocol: TunnelProtocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl ApplicationTunnel {
    fn wire(self) -> WireTunnel {
        let protocol = match self.protocol {
            TunnelProtocol::None => WireTunnelProtocol::None,
            TunnelProtocol::Proxy => WireTunnelProtocol::Proxy,
        };
        WireTunnel { protocol: protocol.into(), port: self.port.unwrap_or_default().into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TunnelProtocol {
    None,
    Proxy,
}
