//! What an inbound connection may reach: whether a tunnel stream is meant for this workload, and where it lands.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Flow, Step, guard, outbound::waypoints};
use crate::{
    Reason, Str,
    model::{GatewayAddress, Service, TunnelProtocol, Workload},
    wire::hbone::Authority,
    world::{Found, World},
};

/// A tunnel stream that asks to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRequest {
    /// What it asks for.
    pub authority: Authority,
    /// The address at which the tunnel arrived: the pod's.
    pub local: SocketAddr,
    /// The service that the peer says its client meant: telemetry only, nothing is decided by it.
    pub forwarded_host: Option<Str>,
}

/// Where an inbound connection lands, provided that policy permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The application's address, and the destination that policies see.
    pub target: SocketAddr,
    /// The service that the client most likely meant: telemetry only.
    pub service: Option<Arc<Service>>,
}

/// Why an inbound connection may not enter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The stream asks for an address that is neither this workload's nor behind it.
    #[error("ip mismatch: {asked} != {local}")]
    IpMismatch {
        /// The address asked for.
        asked: IpAddr,
        /// The pod's.
        local: IpAddr,
    },
    /// The stream asks for a hostname that no service has.
    #[error("unknown destination hostname: {0}")]
    UnknownHost(Str),
    /// The service that the stream asks for does not map the port to one of this workload.
    #[error("service {service} has no target port for port {port} of this workload")]
    NoPort {
        /// The hostname.
        service: Str,
        /// The service port.
        port: u16,
    },
    /// The target is a port of this proxy.
    #[error("attempted recursive call to ourselves: {0}")]
    SelfCall(SocketAddr),
    /// The application wants a PROXY protocol header, which this version does not write.
    #[error("workload {0} takes connections with a PROXY protocol header, which is not supported")]
    ProxyProtocolUnsupported(Str),
}

impl AdmitError {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::IpMismatch { .. } => Reason::BadRequest,
            Self::UnknownHost(_) | Self::NoPort { .. } | Self::ProxyProtocolUnsupported(_) => Reason::NoRoute,
            Self::SelfCall(_) => Reason::SelfCall,
        }
    }
}

/// Decides whether a tunnel stream is meant for `local`, and where it lands.
///
/// # Errors
/// Inside [`Step::Done`], when it is not, or when nothing can be there.
pub fn admit(
    world: &World,
    local: &Workload,
    request: &InboundRequest,
) -> Step<Result<Admission, AdmitError>> {
    Step::Done(admit_now(world, local, request))
}

fn admit_now(world: &World, local: &Workload, request: &InboundRequest) -> Result<Admission, AdmitError> {
    let InboundRequest { authority, local: at, forwarded_host } = request;
    let address = at.ip().to_canonical();
    let (port, asked_service) = match authority {
        Authority::Addr(asked) => {
            let asked_ip = asked.ip().to_canonical();
            if !is_meant_for(world, local, address, asked_ip) {
                return Err(AdmitError::IpMismatch { asked: asked_ip, local: address });
            }
            (asked.port(), None)
        }
        Authority::Host(host, port) => {
            let service = world
                .service_named(host, Some(&local.namespace))
                .ok_or_else(|| AdmitError::UnknownHost(host.clone()))?;
            let target = own_port(world, local, service, *port)
                .ok_or_else(|| AdmitError::NoPort { service: host.clone(), port: *port })?;
            (target, Some(service))
        }
    };
    let landing = SocketAddr::new(address, port);
    if guard::is_ours(port) {
        return Err(AdmitError::SelfCall(landing));
    }
    let target = match local.application_tunnel {
        Some(tunnel) if tunnel.protocol == TunnelProtocol::Proxy => {
            return Err(AdmitError::ProxyProtocolUnsupported(local.uid.clone()));
        }
        Some(tunnel) => SocketAddr::new(address, tunnel.port.unwrap_or(port)),
        None => landing,
    };
    let service = asked_service.or_else(|| service_meant(world, local, port, forwarded_host.as_deref()));
    Ok(Admission { target, service: service.cloned() })
}

/// Decides where a captured plaintext connection to `local` lands: where it was going.
///
/// # Errors
/// When that is a port of this proxy.
pub fn admit_plain(world: &World, local: &Workload, flow: Flow) -> Result<Admission, AdmitError> {
    let target = flow.destination;
    if guard::is_ours(target.port()) {
        return Err(AdmitError::SelfCall(target));
    }
    Ok(Admission { target, service: service_meant(world, local, target.port(), None).cloned() })
}

/// Whether an address asked for is this workload's, or that of something this workload fronts.
fn is_meant_for(world: &World, local: &Workload, address: IpAddr, asked: IpAddr) -> bool {
    asked == address || local.application_tunnel.is_some() || fronts(world, local, address, asked)
}

/// Whether `local`, at `address`, is the waypoint of what is at `asked`.
fn fronts(world: &World, local: &Workload, address: IpAddr, asked: IpAddr) -> bool {
    let is_local = |waypoint: &GatewayAddress| match world.find_gateway(waypoint) {
        Some(Found::Service(service)) => world.endpoint(&service.key, &local.uid).is_some(),
        Some(Found::Workload(workload)) => workload.addresses.contains(&address),
        None => false,
    };
    match world.find_address(&world.node().network, asked, None) {
        Some(Found::Workload(workload)) => workload.waypoint.as_ref().is_some_and(is_local),
        // Also a waypoint that takes only a share: ztunnel forgets those and refuses what it sent itself.
        Some(Found::Service(service)) => waypoints(service).any(is_local),
        None => false,
    }
}

/// The port of `local` for a service port: its own, else the service's.
fn own_port(world: &World, local: &Workload, service: &Service, port: u16) -> Option<u16> {
    let own = world.endpoint(&service.key, &local.uid).and_then(|endpoint| endpoint.ports.get(&port));
    let any = || service.ports.get(&port);
    own.filter(|port| **port > 0).or_else(any).copied().filter(|port| *port > 0)
}

/// The service that a client most likely meant: the one the peer names, else the first by name that maps to this port.
/// Only services that `local` is an endpoint of: a peer cannot make up others.
fn service_meant<'w>(
    world: &'w World,
    local: &Workload,
    port: u16,
    forwarded_host: Option<&str>,
) -> Option<&'w Arc<Service>> {
    let named = |host: &str| local.services.keys().find(|key| *key.hostname == *host);
    if let Some(service) = forwarded_host.and_then(named).and_then(|key| world.service(key)) {
        return Some(service);
    }
    local.services.keys().filter_map(|key| world.service(key)).find(|service| {
        let mut ports = service.ports.keys();
        ports.any(|service_port| own_port(world, local, service, *service_port) == Some(port))
    })
}

#[cfg(test)]
mod tests;
