//! What several resources have in common: addresses, ports, names, gateways.

use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;
use xds_proto::istio::workload::{
    GatewayAddress as WireGateway, NamespacedHostname as WireHostname, NetworkAddress as WireAddress, Port,
    gateway_address::Destination as WireDestination,
};

use super::error::{Fault, Malformed};
use crate::{
    Str,
    model::{Destination, GatewayAddress, NamespacedHostname, NetworkAddress, PortMap},
};

pub(super) fn ip(field: &'static str, bytes: &[u8]) -> Result<IpAddr, Fault> {
    let address = if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(octets)
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(octets)
    } else {
        return Err((field.into(), Malformed::AddressLength(bytes.len())));
    };
    Ok(address.to_canonical())
}

/// A prefix, with its host bits cleared.
pub(super) fn prefix(field: &'static str, bytes: &[u8], length: u32) -> Result<IpNet, Fault> {
    let too_long = || (Cow::from(field), Malformed::PrefixLength(length));
    let address = ip(field, bytes)?;
    // The prefix of an IPv4-mapped IPv6 address counts the 96 bits that are gone.
    let mapped = if bytes.len() == 16 && address.is_ipv4() { 96 } else { 0 };
    let length =
        length.checked_sub(mapped).and_then(|length| u8::try_from(length).ok()).ok_or_else(too_long)?;
    IpNet::new(address, length).map(|net| net.trunc()).map_err(|_| too_long())
}

pub(super) fn port(field: &'static str, number: u32) -> Result<u16, Fault> {
    u16::try_from(number).map_err(|_| (field.into(), Malformed::Port(number)))
}

pub(super) fn ports(field: &'static str, ports: Vec<Port>) -> Result<PortMap, Fault> {
    ports
        .into_iter()
        .map(|Port { service_port, target_port, app_protocol: _ }| {
            Ok((port(field, service_port)?, port(field, target_port)?))
        })
        .collect()
}

/// A text that must not be empty.
pub(super) fn required(field: &'static str, text: String) -> Result<Str, Fault> {
    if text.is_empty() { Err((field.into(), Malformed::Missing)) } else { Ok(text.into()) }
}

/// One part of an identity, or of a name.
pub(super) fn identity_part(field: &'static str, text: String) -> Result<Str, Fault> {
    if text.contains('/') { Err((field.into(), Malformed::Slash(text))) } else { required(field, text) }
}

pub(super) fn network_address(network: &str, address: IpAddr) -> NetworkAddress {
    NetworkAddress { network: network.into(), address }
}

pub(super) fn hostname(field: &'static str, wire: WireHostname) -> Result<NamespacedHostname, Fault> {
    let WireHostname { namespace, hostname } = wire;
    service_name(field, namespace, hostname)
}

/// Written as `<namespace>/<hostname>`: by that text it is referred to, and taken away.
pub(super) fn service_name(
    field: &'static str,
    namespace: String,
    hostname: String,
) -> Result<NamespacedHostname, Fault> {
    if namespace.contains('/') {
        return Err(("namespace".into(), Malformed::Slash(namespace)));
    }
    Ok(NamespacedHostname { namespace: namespace.into(), hostname: identity_part(field, hostname)? })
}

pub(super) fn key(field: &'static str, text: String) -> Result<NamespacedHostname, Fault> {
    text.parse().map_err(|_| (field.into(), Malformed::Key(text)))
}

pub(super) fn gateway(field: &'static str, wire: WireGateway) -> Result<GatewayAddress, Fault> {
    let WireGateway { hbone_mtls_port, destination } = wire;
    let destination = match destination {
        Some(WireDestination::Hostname(wire)) => Destination::Hostname(hostname(field, wire)?),
        Some(WireDestination::Address(WireAddress { network, address, length: _ })) => {
            Destination::Address(network_address(&network, ip(field, &address)?))
        }
        None => return Err((field.into(), Malformed::Missing)),
    };
    Ok(GatewayAddress { destination, hbone_mtls_port: port(field, hbone_mtls_port)? })
}

/// A number that the enum does not have.
pub(super) fn unknown(field: &'static str, number: i32) -> Fault {
    (field.into(), Malformed::Enum(number))
}
