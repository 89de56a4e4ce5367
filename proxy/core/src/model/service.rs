//! A service: a virtual name and addresses with workloads behind it.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{GatewayAddress, Identity, NamespacedHostname, NetworkAddress};
use crate::Str;

/// Service port to target port. A target of 0 on a service is a named port, which each endpoint maps itself.
pub type PortMap = BTreeMap<u16, u16>;

/// A virtual name and addresses with workloads behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The Kubernetes object's name.
    pub name: Str,
    /// Namespace and hostname: its primary key.
    pub key: NamespacedHostname,
    /// Its virtual addresses; empty for a headless service.
    pub vips: Vec<NetworkAddress>,
    /// Whole prefixes that stand for it.
    pub cidr_vips: Vec<CidrVip>,
    /// Service port to target port, 0 for a named one.
    pub ports: PortMap,
    /// Further identities that may answer for it.
    pub subject_alt_names: Vec<Identity>,
    /// The hop that connections to this service take.
    pub waypoint: Option<GatewayAddress>,
    /// Waypoints to choose from by weight, in place of `waypoint`.
    pub weighted_waypoints: Vec<WeightedWaypoint>,
    /// How an endpoint is chosen; by capacity alone when absent.
    pub load_balancer: Option<LoadBalancer>,
    /// Which of an endpoint's addresses may be used.
    pub ip_families: IpFamilies,
    /// Preferred when several namespaces claim one hostname or address.
    pub canonical: bool,
    /// Who may use it.
    pub visibility: Visibility,
}

impl Service {
    /// The namespace it belongs to.
    #[must_use]
    pub const fn namespace(&self) -> &Str {
        &self.key.namespace
    }

    /// Its fully qualified hostname.
    #[must_use]
    pub const fn hostname(&self) -> &Str {
        &self.key.hostname
    }

    /// Whether connections go where the client wanted, past any load balancing.
    #[must_use]
    pub fn is_passthrough(&self) -> bool {
        self.load_balancer.as_ref().is_some_and(|lb| lb.mode == LoadBalancerMode::Passthrough)
    }

    /// Whether endpoints that are not ready are used too.
    #[must_use]
    pub fn takes_unhealthy(&self) -> bool {
        self.load_balancer.as_ref().is_some_and(|lb| lb.health_policy == HealthPolicy::AllowAll)
    }

    /// Whether a client in `namespace` may use it; anyone when no namespace is given.
    #[must_use]
    pub fn is_visible_to(&self, namespace: Option<&str>) -> bool {
        match (self.visibility, namespace) {
            (Visibility::Public, _) | (Visibility::Namespace, None) => true,
            (Visibility::Namespace, Some(namespace)) => *self.key.namespace == *namespace,
        }
    }
}

/// A prefix in one network that stands for a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CidrVip {
    /// The network's id.
    pub network: Str,
    /// Host bits are zero.
    pub cidr: IpNet,
}

/// One of several waypoints, with its share of the connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedWaypoint {
    /// The waypoint.
    pub destination: GatewayAddress,
    /// Its share; 0 takes none.
    pub weight: u32,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadBalancer {
    /// What source and endpoint should have in common, most important first.
    pub preferences: Vec<Locale>,
    /// How strict the preferences are.
    pub mode: LoadBalancerMode,
    /// Whether endpoints that are not ready are used.
    pub health_policy: HealthPolicy,
}

/// What a source and an endpoint can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Locale {
    /// The region.
    Region,
    /// The zone.
    Zone,
    /// The subzone.
    Subzone,
    /// The Kubernetes node.
    Node,
    /// The cluster.
    Cluster,
    /// The network.
    Network,
}

/// How strict preferences are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadBalancerMode {
    /// No preference.
    #[default]
    Standard,
    /// Only endpoints that meet all of them.
    Strict,
    /// The endpoints that meet most of them.
    Failover,
    /// No endpoint is chosen: connections go where the client wanted.
    Passthrough,
}

/// Whether endpoints that are not ready are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthPolicy {
    /// No.
    #[default]
    OnlyHealthy,
    /// Yes.
    AllowAll,
}

/// Which of an endpoint's addresses a service may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpFamilies {
    /// Not stated: all.
    #[default]
    Automatic,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// All.
    Dual,
}

impl IpFamilies {
    /// Whether the address may be used.
    #[must_use]
    pub const fn allow(self, address: std::net::IpAddr) -> bool {
        match self {
            Self::Automatic | Self::Dual => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }
}

/// Who may use a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everyone.
    #[default]
    Public,
    /// Clients in its own namespace; to others it does not exist.
    Namespace,
}
