//! How workloads and services are named: by network and IP, by namespace and hostname, or as a gateway.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::Str;

/// An IP address in one network; two networks may use the same address for different things.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkAddress {
    /// The network's id; empty for the default network.
    pub network: Str,
    /// Never an IPv4-mapped IPv6 address.
    pub address: IpAddr,
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.address)
    }
}

/// A service's name: its namespace and its fully qualified hostname.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespacedHostname {
    /// The Kubernetes namespace.
    pub namespace: Str,
    /// Fully qualified, without a trailing dot.
    pub hostname: Str,
}

/// A text that is not `<namespace>/<hostname>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form <namespace>/<hostname>")]
pub struct ParseHostnameError(String);

impl fmt::Display for NamespacedHostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

impl FromStr for NamespacedHostname {
    type Err = ParseHostnameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, hostname)) if !hostname.contains('/') => {
                Ok(Self { namespace: namespace.into(), hostname: hostname.into() })
            }
            Some(_) | None => Err(ParseHostnameError(text.into())),
        }
    }
}

/// A waypoint or a network gateway, as a workload or service refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayAddress {
    /// What it is.
    pub destination: Destination,
    /// The port on which it takes tunnels, as a service port when the destination is a service.
    pub hbone_mtls_port: u16,
}

/// The two ways to name a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// By IP.
    Address(NetworkAddress),
    /// By name; the address family then follows the client.
    Hostname(NamespacedHostname),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Hostname(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.destination, self.hbone_mtls_port)
    }
}
