//! What an inbound connection may reach: whether a tunnel stream is meant for this workload, and where it lands.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{Flow, Step, demand, outbound::waypoints};
use crate::{
    Reason, Str,
    model::{ApplicationTunnel, GatewayAddress, NetworkAddress, Service, TunnelProtocol, Workload},
    wire::{hbone::Authority, proxy_header::ProxyHeader},
    world::{Found, World},
};

/// A tunnel stream that asks to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRequest {
    /// What it asks for.
    pub authority: Authority,
    /// The peer's end of the tunnel.
    pub source: SocketAddr,
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
    /// What precedes the bytes for an application that takes PROXY protocol.
    pub tunnel: Option<ProxyTunnel>,
    /// The service that the client most likely meant: telemetry only.
    pub service: Option<Arc<Service>>,
}

/// How an application gets its connections that takes PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyTunnel {
    /// Whose connection it is.
    pub header: ProxyHeader,
    /// Whether the application listens on loopback, where only its own proxy gets to it.
    pub loopback: bool,
}

impl ProxyTunnel {
    /// Where to dial an application that policy permits at `target`.
    #[must_use]
    pub const fn dials(&self, target: SocketAddr) -> SocketAddr {
        let loopback = match target.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        SocketAddr::new(if self.loopback { loopback } else { target.ip() }, target.port())
    }
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
    /// The stream asks for a service by name, and the application wants an address in its PROXY protocol header.
    #[error("no ip for service {0}, whose connections go through a PROXY protocol tunnel")]
    NoVip(Str),
}

impl AdmitError {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::IpMismatch { .. } => Reason::BadRequest,
            Self::UnknownHost(_) | Self::NoPort { .. } | Self::NoVip(_) => Reason::NoRoute,
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
    if let Authority::Addr(asked) = &request.authority
        && asked.ip().to_canonical() != request.local.ip().to_canonical()
        && let Some(lookup) = demand::inbound(world, asked.ip().to_canonical())
    {
        return Step::Need(lookup);
    }
    Step::Done(admit_now(world, local, request))
}

fn admit_now(world: &World, local: &Workload, request: &InboundRequest) -> Result<Admission, AdmitError> {
    let InboundRequest { authority, source, local: at, forwarded_host } = request;
    let address = at.ip().to_canonical();
    let (port, asked) = match authority {
        Authority::Addr(asked) => {
            let asked_ip = asked.ip().to_canonical();
            if !is_meant_for(world, local, address, asked_ip) {
                return Err(AdmitError::IpMismatch { asked: asked_ip, local: address });
            }
            (asked.port(), Asked::Address(*asked))
        }
        Authority::Host(host, port) => {
            let service = world
                .service_named(host, Some(&local.namespace))
                .ok_or_else(|| AdmitError::UnknownHost(host.clone()))?;
            let target = own_port(world, local, service, *port)
                .ok_or_else(|| AdmitError::NoPort { service: host.clone(), port: *port })?;
            (target, Asked::Service(service, *port))
        }
    };
    let landing = SocketAddr::new(address, port);
    if world.node().own_ports.contain(port) {
        return Err(AdmitError::SelfCall(landing));
    }
    let service = match asked {
        Asked::Address(_) => service_meant(world, local, port, forwarded_host.as_deref()),
        Asked::Service(service, _) => Some(service),
    };
    let service = service.cloned();
    let Some(ApplicationTunnel { protocol, port: moved }) = local.application_tunnel else {
        return Ok(Admission { target: landing, tunnel: None, service });
    };
    let tunnel = match protocol {
        TunnelProtocol::None => None,
        TunnelProtocol::Proxy => {
            let destination = match asked {
                Asked::Address(address) => address,
                Asked::Service(service, port) => told_address(world, service, port)?,
            };
            let header = ProxyHeader { source: *source, destination };
            Some(ProxyTunnel { header, loopback: world.node().loopback_tunnels })
        }
    };
    Ok(Admission { target: SocketAddr::new(address, moved.unwrap_or(port)), tunnel, service })
}

/// What a stream asks for.
#[derive(Clone, Copy)]
enum Asked<'w> {
    Address(SocketAddr),
    /// A service, by name, and its port.
    Service(&'w Arc<Service>, u16),
}

/// The address that stands for a service in a header without room for names: on this network, IPv4 if there is one.
fn told_address(world: &World, service: &Service, port: u16) -> Result<SocketAddr, AdmitError> {
    let network = &world.node().network;
    let rank = |vip: &&NetworkAddress| {
        let near = vip.network == *network;
        (near, near && vip.address.is_ipv4())
    };
    let vip = service.vips.iter().max_by_key(rank);
    let vip = vip.ok_or_else(|| AdmitError::NoVip(service.hostname().clone()))?;
    Ok(SocketAddr::new(vip.address, port))
}

/// Decides where a captured plaintext connection to `local` lands: where it was going.
///
/// # Errors
/// When that is a port of this proxy.
pub fn admit_plain(world: &World, local: &Workload, flow: Flow) -> Result<Admission, AdmitError> {
    let target = flow.destination;
    if world.node().own_ports.contain(target.port()) {
        return Err(AdmitError::SelfCall(target));
    }
    let service = service_meant(world, local, target.port(), None).cloned();
    Ok(Admission { target, tunnel: None, service })
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
