//! Services as written by hand.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::value::{Gateway, NetworkIp, Ports, octets, ports, set};
use super::workload::Status;
use crate::istio::workload::load_balancing::{
    HealthPolicy as WireHealth, Mode as WireMode, Scope as WireScope,
};
use crate::istio::workload::service::Visibility as WireVisibility;
use crate::istio::workload::{
    IpFamilies as WireFamilies, LoadBalancing, NetworkAddress, Service as Wire,
    WeightedWaypoint as WireWeighted,
};

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Without it, the hostname is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub namespace: String,
    pub hostname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vips: Option<Vec<NetworkIp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr_vips: Option<Vec<NetworkCidr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Ports>,
    /// By any name; counts as if each workload named the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<BTreeMap<String, Endpoint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_alt_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waypoint: Option<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighted_waypoints: Option<Vec<WeightedWaypoint>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_families: Option<IpFamilies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
}

impl Service {
    /// The name it has on the wire.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.hostname)
    }

    /// Takes over what is named; of endpoints see [`super::Resources::overlay`].
    pub(super) fn apply(&self, to: &mut Wire) {
        to.namespace.clone_from(&self.namespace);
        to.hostname.clone_from(&self.hostname);
        if to.name.is_empty() {
            to.name.clone_from(&self.hostname);
        }
        set(&mut to.name, self.name.as_ref());
        self.apply_addresses(to);
        if let Some(given) = &self.ports {
            to.ports = ports(given);
        }
        set(&mut to.subject_alt_names, self.subject_alt_names.as_ref());
        if let Some(waypoint) = &self.waypoint {
            to.waypoint = Some(waypoint.wire());
        }
        if let Some(waypoints) = &self.weighted_waypoints {
            to.weighted_waypoints = waypoints.iter().map(WeightedWaypoint::wire).collect();
        }
        if let Some(balancer) = &self.load_balancer {
            to.load_balancing = Some(balancer.wire());
        }
        if let Some(families) = self.ip_families {
            to.ip_families = families.wire().into();
        }
        set(&mut to.canonical, self.canonical.as_ref());
        if let Some(visibility) = self.visibility {
            to.visibility = visibility.wire().into();
        }
    }

    /// Addresses and prefixes are one list on the wire; naming one of them leaves the other as it is.
    fn apply_addresses(&self, to: &mut Wire) {
        if let Some(vips) = &self.vips {
            to.addresses.retain(|address| address.length.is_some());
            to.addresses.splice(0..0, vips.iter().map(NetworkIp::wire));
        }
        if let Some(prefixes) = &self.cidr_vips {
            to.addresses.retain(|address| address.length.is_none());
            to.addresses.extend(prefixes.iter().map(NetworkCidr::wire));
        }
    }
}

/// A prefix of virtual addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkCidr {
    #[serde(default)]
    pub network: String,
    pub cidr: IpNet,
}

impl NetworkCidr {
    fn wire(&self) -> NetworkAddress {
        NetworkAddress {
            network: self.network.clone(),
            address: octets(self.cidr.addr()),
            length: Some(self.cidr.prefix_len().into()),
        }
    }
}

/// A workload behind a service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    pub workload_uid: String,
    #[serde(default)]
    pub port: Ports,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// One of several waypoints that share a service's connections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedWaypoint {
    pub destination: Gateway,
    pub weight: u32,
}

impl WeightedWaypoint {
    fn wire(&self) -> WireWeighted {
        WireWeighted { destination: Some(self.destination.wire()), weight: self.weight }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    #[serde(default)]
    pub routing_preferences: Vec<Preference>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub health_policy: HealthPolicy,
}

impl LoadBalancer {
    fn wire(&self) -> LoadBalancing {
        LoadBalancing {
            routing_preference: self.routing_preferences.iter().map(|scope| scope.wire().into()).collect(),
            mode: self.mode.wire().into(),
            health_policy: self.health_policy.wire().into(),
        }
    }
}

/// What client and endpoint should have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Preference {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

impl Preference {
    const fn wire(self) -> WireScope {
        match self {
            Self::Region => WireScope::Region,
            Self::Zone => WireScope::Zone,
            Self::Subzone => WireScope::Subzone,
            Self::Node => WireScope::Node,
            Self::Cluster => WireScope::Cluster,
            Self::Network => WireScope::Network,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Mode {
    #[default]
    Standard,
    Strict,
    Failover,
    Passthrough,
}

impl Mode {
    const fn wire(self) -> WireMode {
        match self {
            Self::Standard => WireMode::UnspecifiedMode,
            Self::Strict => WireMode::Strict,
            Self::Failover => WireMode::Failover,
            Self::Passthrough => WireMode::Passthrough,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum HealthPolicy {
    #[default]
    OnlyHealthy,
    AllowAll,
}

impl HealthPolicy {
    const fn wire(self) -> WireHealth {
        match self {
            Self::OnlyHealthy => WireHealth::OnlyHealthy,
            Self::AllowAll => WireHealth::AllowAll,
        }
    }
}

/// The families of addresses that clients may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum IpFamilies {
    Dual,
    IPv4,
    IPv6,
}

impl IpFamilies {
    const fn wire(self) -> WireFamilies {
        match self {
            Self::Dual => WireFamilies::Dual,
            Self::IPv4 => WireFamilies::Ipv4Only,
            Self::IPv6 => WireFamilies::Ipv6Only,
        }
    }
}

/// Whose clients see the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Visibility {
    Public,
    Namespace,
}

impl Visibility {
    const fn wire(self) -> WireVisibility {
        match self {
            Self::Public => WireVisibility::Public,
            Self::Namespace => WireVisibility::Namespace,
        }
    }
}
