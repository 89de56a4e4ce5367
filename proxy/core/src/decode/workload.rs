//! Workload resources.

use std::sync::Arc;

use xds_proto::istio::workload::{
    ApplicationTunnel as WireTunnel, Locality as WireLocality, NetworkMode as WireMode, PortList,
    TunnelProtocol as WireProtocol, Workload as Wire, WorkloadStatus, WorkloadType as WireType,
    application_tunnel::Protocol as WireTunnelProtocol,
};

use super::{
    common::{gateway, identity_part, ip, key, port, ports, required, unknown},
    error::{Fault, Malformed},
};
use crate::model::{
    ApplicationTunnel, Health, Locality, NetworkMode, Protocol, TunnelProtocol, Workload, WorkloadType,
};

pub(super) fn decode(wire: Wire) -> Result<Workload, Fault> {
    let Wire {
        name,
        namespace,
        addresses,
        network,
        tunnel_protocol,
        trust_domain,
        service_account,
        waypoint,
        node,
        canonical_name,
        canonical_revision,
        workload_type,
        workload_name,
        native_tunnel,
        authorization_policies,
        status,
        cluster_id,
        network_gateway,
        uid,
        hostname,
        services,
        application_tunnel,
        locality,
        network_mode,
        // Nothing that this proxy does depends on one.
        extensions: _,
        capacity,
    } = wire;
    Ok(Workload {
        uid: required("uid", uid)?,
        name: name.into(),
        namespace: identity_part("namespace", namespace)?,
        trust_domain: identity_part("trust_domain", or(trust_domain, "cluster.local"))?,
        service_account: identity_part("service_account", or(service_account, "default"))?,
        addresses: addresses.iter().map(|bytes| ip("addresses", bytes)).collect::<Result<_, _>>()?,
        network: network.into(),
        network_mode: mode(network_mode)?,
        protocol: protocol(tunnel_protocol)?,
        native_tunnel,
        waypoint: waypoint.map(|wire| gateway("waypoint", wire)).transpose()?,
        network_gateway: network_gateway.map(|wire| gateway("network_gateway", wire)).transpose()?,
        application_tunnel: application_tunnel.map(tunnel).transpose()?,
        hostname: hostname.into(),
        node: node.into(),
        cluster_id: or(cluster_id, "Kubernetes").into(),
        locality: place(locality.unwrap_or_default()),
        health: health(status)?,
        capacity: capacity.unwrap_or(1),
        workload_name: workload_name.into(),
        workload_type: kind(workload_type),
        canonical_name: canonical_name.into(),
        canonical_revision: canonical_revision.into(),
        authorization_policies: authorization_policies.into_iter().map(Into::into).collect(),
        services: services
            .into_iter()
            .map(|(name, PortList { ports: wire })| {
                Ok((key("services", name)?, Arc::new(ports("services", wire)?)))
            })
            .collect::<Result<_, Fault>>()?,
    })
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() { default.into() } else { text }
}

fn protocol(number: i32) -> Result<Protocol, Fault> {
    match WireProtocol::try_from(number) {
        Ok(WireProtocol::None) => Ok(Protocol::Tcp),
        Ok(WireProtocol::Hbone) => Ok(Protocol::Hbone),
        Ok(WireProtocol::LegacyIstioMtls) => {
            Err(("tunnel_protocol".into(), Malformed::Unsupported("LEGACY_ISTIO_MTLS")))
        }
        Err(_) => Err(unknown("tunnel_protocol", number)),
    }
}

fn mode(number: i32) -> Result<NetworkMode, Fault> {
    match WireMode::try_from(number) {
        Ok(WireMode::Standard) => Ok(NetworkMode::Standard),
        Ok(WireMode::HostNetwork) => Ok(NetworkMode::HostNetwork),
        Err(_) => Err(unknown("network_mode", number)),
    }
}

fn health(number: i32) -> Result<Health, Fault> {
    match WorkloadStatus::try_from(number) {
        Ok(WorkloadStatus::Healthy) => Ok(Health::Healthy),
        Ok(WorkloadStatus::Unhealthy) => Ok(Health::Unhealthy),
        Err(_) => Err(unknown("status", number)),
    }
}

/// Telemetry only, so that an owner we do not know counts as the most common one.
fn kind(number: i32) -> WorkloadType {
    match WireType::try_from(number) {
        Ok(WireType::Deployment) | Err(_) => WorkloadType::Deployment,
        Ok(WireType::Cronjob) => WorkloadType::CronJob,
        Ok(WireType::Pod) => WorkloadType::Pod,
        Ok(WireType::Job) => WorkloadType::Job,
    }
}

fn tunnel(wire: WireTunnel) -> Result<ApplicationTunnel, Fault> {
    let WireTunnel { protocol, port: number } = wire;
    let protocol = match WireTunnelProtocol::try_from(protocol) {
        Ok(WireTunnelProtocol::None) => TunnelProtocol::None,
        Ok(WireTunnelProtocol::Proxy) => TunnelProtocol::Proxy,
        Err(_) => return Err(unknown("application_tunnel.protocol", protocol)),
    };
    let number = port("application_tunnel.port", number)?;
    Ok(ApplicationTunnel { protocol, port: (number > 0).then_some(number) })
}

fn place(wire: WireLocality) -> Locality {
    let WireLocality { region, zone, subzone } = wire;
    Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() }
}
