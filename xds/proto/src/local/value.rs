//! Values that several lists have in common: addresses, names, gateways, ports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::istio::workload::gateway_address::Destination as WireDestination;
use crate::istio::workload::{
    GatewayAddress, NamespacedHostname, NetworkAddress as WireAddress, Port, PortList,
};

/// Service port to target port; a target of 0 is a named one, which each endpoint says for itself.
pub type Ports = BTreeMap<u16, u16>;

/// A text that is not of the form it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error(
        "{0:?} is not <network>/<address>; the network without a name is written with nothing before the slash, as /10.0.0.1"
    )]
    NetworkIp(String),
    #[error("{0:?} is not <namespace>/<hostname>")]
    ServiceKey(String),
    #[error("{0:?} is neither <network>/<address>, as /10.0.0.1, nor <namespace>/<hostname>")]
    Destination(String),
}

/// An address on a network: `<network>/<address>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkIp {
    pub network: String,
    pub ip: IpAddr,
}

impl TryFrom<String> for NetworkIp {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let parts = text.split_once('/').and_then(|(network, ip)| Some((network, ip.parse().ok()?)));
        match parts {
            Some((network, ip)) => Ok(Self { network: network.to_owned(), ip }),
            None => Err(ValueError::NetworkIp(text)),
        }
    }
}

impl fmt::Display for NetworkIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.ip)
    }
}

impl From<NetworkIp> for String {
    fn from(address: NetworkIp) -> Self {
        address.to_string()
    }
}

impl NetworkIp {
    pub(super) fn wire(&self) -> WireAddress {
        WireAddress { network: self.network.clone(), address: octets(self.ip), length: None }
    }
}

/// A service: `<namespace>/<hostname>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    pub namespace: String,
    pub hostname: String,
}

impl TryFrom<String> for ServiceKey {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        match text.split_once('/') {
            Some((namespace, hostname))
                if !namespace.is_empty() && !hostname.is_empty() && !hostname.contains('/') =>
            {
                Ok(Self { namespace: namespace.to_owned(), hostname: hostname.to_owned() })
            }
            Some(_) | None => Err(ValueError::ServiceKey(text)),
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> Self {
        key.to_string()
    }
}

/// Where a waypoint or a gateway is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    Address(NetworkIp),
    Service(ServiceKey),
}

impl TryFrom<String> for Destination {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        if let Ok(address) = NetworkIp::try_from(text.clone()) {
            return Ok(Self::Address(address));
        }
        ServiceKey::try_from(text.clone()).map(Self::Service).map_err(|_| ValueError::Destination(text))
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Address(address) => address.into(),
            Destination::Service(key) => key.into(),
        }
    }
}

/// A waypoint or a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    pub destination: Destination,
    #[serde(default = "hbone_port")]
    pub hbone_mtls_port: u16,
}

const fn hbone_port() -> u16 {
    15008
}

impl Gateway {
    pub(super) fn wire(&self) -> GatewayAddress {
        let destination = match &self.destination {
            Destination::Address(address) => WireDestination::Address(address.wire()),
            Destination::Service(ServiceKey { namespace, hostname }) => {
                WireDestination::Hostname(NamespacedHostname {
                    namespace: namespace.clone(),
                    hostname: hostname.clone(),
                })
            }
        };
        GatewayAddress { hbone_mtls_port: self.hbone_mtls_port.into(), destination: Some(destination) }
    }
}

pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

pub(super) fn ports(ports: &Ports) -> Vec<Port> {
    let port = |(service, target): (&u16, &u16)| Port {
        service_port: (*service).into(),
        target_port: (*target).into(),
        app_protocol: 0,
    };
    ports.iter().map(port).collect()
}

pub(super) fn port_list(given: &Ports) -> PortList {
    PortList { ports: ports(given) }
}

/// Takes over what was named.
pub(super) fn set<T: Clone>(to: &mut T, named: Option<&T>) {
    if let Some(value) = named {
        to.clone_from(value);
    }
}
