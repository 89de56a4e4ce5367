//! Where a captured connection goes: through, to a workload, to a waypoint, or through the gateway of another network.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Flow, Lookup, Route, RouteError, RouteKind, Step,
    balance::{self, Chosen, Purpose, Wanted},
    demand, guard,
    trail::{Trail, Turn},
};
use crate::{
    Pick,
    model::{Destination, GatewayAddress, Identity, IpFamilies, Protocol, Service, Workload},
    wire::hbone::Authority,
    world::{Found, Strictness, World},
};

/// Decides where a connection that `source` opened goes.
///
/// # Errors
/// Inside [`Step::Done`], when the destination is known and cannot be reached: the connection then ends, and never falls
/// back to plain text.
pub fn route(world: &World, source: &Workload, flow: Flow, pick: Pick) -> Step<Result<Route, RouteError>> {
    follow(world, source, flow, pick, Trail::default())
}

/// As [`route`], telling `trail` what it came by.
pub(super) fn follow(
    world: &World,
    source: &Workload,
    flow: Flow,
    pick: Pick,
    trail: Trail<'_>,
) -> Step<Result<Route, RouteError>> {
    let ask = Ask { world, source, flow, pick, trail };
    match ask.route() {
        Ok(route) => Step::Done(Ok(route)),
        Err(Stop::Refuse(error)) => Step::Done(Err(error)),
        Err(Stop::Need(lookup)) => Step::Need(lookup),
    }
}

/// One question, as every part of its answer sees it.
#[derive(Clone, Copy)]
struct Ask<'a> {
    world: &'a World,
    source: &'a Workload,
    flow: Flow,
    pick: Pick,
    trail: Trail<'a>,
}

/// The workload that stands for a waypoint or network gateway.
struct Hop<'a> {
    workload: Arc<Workload>,
    port: u16,
    /// The service that it is an endpoint of.
    front: Option<&'a Arc<Service>>,
    /// The address that it should be reached at, if that is one of its own; else one of the same family.
    near: IpAddr,
}

/// Why there is no route, yet or at all.
enum Stop {
    Refuse(RouteError),
    Need(Lookup),
}

impl From<RouteError> for Stop {
    fn from(error: RouteError) -> Self {
        Self::Refuse(error)
    }
}

impl Ask<'_> {
    fn route(self) -> Result<Route, Stop> {
        let wanted = self.flow.destination;
        if self.world.node().own_ports.contain(wanted.port()) && self.is_own(wanted.ip()) {
            return Err(RouteError::SelfCall(wanted).into());
        }
        if let Some(lookup) = demand::outbound(self.world, self.source, wanted.ip()) {
            return Err(Stop::Need(lookup));
        }
        let client = Some(&*self.source.namespace);
        let meant = match self.world.find_address(&self.world.node().network, wanted.ip(), client) {
            Some(Found::Service(service)) => Some(service),
            Some(Found::Workload(_)) | None => None,
        };
        if let Some(service) = meant {
            self.trail.note(|| Turn::Meant(Arc::clone(service)));
        }
        if let Some(service) = meant
            && let Some(waypoint) = self.service_waypoint(service)
        {
            return self.to_waypoint(waypoint, Some(service));
        }
        match self.world.find_upstream(&self.source.network, wanted.ip(), client) {
            Some(Found::Service(service)) if service.is_passthrough() => {
                Ok(passthrough(wanted, Some(service)))
            }
            Some(Found::Service(service)) => {
                let wanted_port = Wanted { service, port: wanted.port(), purpose: Purpose::Traffic };
                let chosen = self.choose(wanted_port).ok_or(RouteError::NoHealthyUpstream(wanted))?;
                self.to_workload(&chosen, meant, Some(service))
            }
            Some(Found::Workload(workload)) => {
                let chosen = Chosen { workload: Arc::clone(workload), port: wanted.port() };
                self.to_workload(&chosen, meant, None)
            }
            None => match meant {
                Some(service) if !service.is_passthrough() => {
                    Err(RouteError::NoHealthyUpstream(wanted).into())
                }
                None if self.is_missing(wanted.ip()) => Err(RouteError::UnknownInMesh(wanted).into()),
                Some(_) | None => Ok(passthrough(wanted, meant)),
            },
        }
    }

    /// Whether an address that is not known is one that may not be reached in plain text.
    fn is_missing(&self, address: IpAddr) -> bool {
        let mesh = &self.world.node().mesh_addresses;
        mesh.unknown == Strictness::Enforce && mesh.contain(address)
    }

    /// Whether an address leads back to the pod that asks.
    fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.source.addresses.contains(&address)
    }

    /// To a workload: plain, through a tunnel, or by way of its waypoint when it was meant itself.
    fn to_workload(
        self,
        chosen: &Chosen,
        meant: Option<&Arc<Service>>,
        service: Option<&Arc<Service>>,
    ) -> Result<Route, Stop> {
        let Chosen { workload, port } = chosen;
        if workload.network != self.source.network {
            return self.to_network(workload, service, meant.or(service));
        }
        if meant.is_none()
            && let Some(waypoint) = &workload.waypoint
            && !self.comes_from(waypoint)
        {
            return self.to_waypoint(waypoint, None);
        }
        let families = service.map(|service| service.ip_families).unwrap_or_default();
        let address = self.address_of(workload, self.flow.destination.ip(), families)?;
        let target = SocketAddr::new(address, *port);
        let (kind, next_hop) = match workload.protocol {
            Protocol::Tcp => (RouteKind::Plain, target),
            Protocol::Hbone => (
                RouteKind::Tunnel { authority: target.into(), expected: expected(service, workload) },
                SocketAddr::new(address, guard::HBONE),
            ),
        };
        Ok(Route { kind, next_hop, destination: Some(Arc::clone(workload)), service: service.cloned() })
    }

    /// Into another network, through the gateway of the workload that was chosen there: a service's endpoint, or a waypoint.
    ///
    /// Whoever answers behind the gateway proves to be of the service that the workload is an endpoint of. The workload
    /// itself only stands for what is there, and has no identity of its own.
    fn to_network(
        self,
        workload: &Workload,
        of: Option<&Arc<Service>>,
        wanted: Option<&Arc<Service>>,
    ) -> Result<Route, Stop> {
        let service = wanted.ok_or(RouteError::NoService(self.flow.destination))?;
        let gateway =
            workload.network_gateway.as_ref().ok_or_else(|| RouteError::NoAddress(workload.uid.clone()))?;
        self.trail.note(|| Turn::Gateway(gateway.clone()));
        let hop = self
            .resolve(gateway, Purpose::Gateway)
            .ok_or_else(|| RouteError::UnknownGateway(gateway.clone()))?;
        Ok(Route {
            kind: RouteKind::DoubleTunnel {
                authority: Authority::Host(service.hostname().clone(), self.flow.destination.port()),
                gateway: expected(hop.front, &hop.workload),
                expected: of.map(|service| service.subject_alt_names.clone()).unwrap_or_default(),
            },
            next_hop: self.next_hop(&hop)?,
            destination: Some(hop.workload),
            service: Some(Arc::clone(service)),
        })
    }

    /// The waypoint of a service that this connection has to take.
    fn service_waypoint<'s>(&self, service: &'s Service) -> Option<&'s GatewayAddress> {
        // ztunnel sends a captured waypoint that dials what it fronts back to itself; we let it through.
        if waypoints(service).any(|waypoint| self.comes_from(waypoint)) {
            return None;
        }
        let weights = || service.weighted_waypoints.iter();
        let total = weights().map(|waypoint| u64::from(waypoint.weight)).sum();
        let mut left = self.pick.fork(WEIGHT).below(0, total);
        let chosen = weights().find(|waypoint| {
            let weight = u64::from(waypoint.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        chosen.map(|waypoint| &waypoint.destination).or(service.waypoint.as_ref())
    }

    /// To a waypoint, which gets the address that the client wanted.
    fn to_waypoint(self, waypoint: &GatewayAddress, service: Option<&Arc<Service>>) -> Result<Route, Stop> {
        self.trail.note(|| Turn::Waypoint(waypoint.clone()));
        let hop = self
            .resolve(waypoint, Purpose::Waypoint)
            .ok_or_else(|| RouteError::UnknownWaypoint(waypoint.clone()))?;
        if hop.workload.network != self.source.network {
            return self.to_network(&hop.workload, hop.front, service);
        }
        Ok(Route {
            kind: RouteKind::Tunnel {
                authority: self.flow.destination.into(),
                expected: expected(hop.front, &hop.workload),
            },
            next_hop: self.next_hop(&hop)?,
            destination: Some(hop.workload),
            service: service.cloned(),
        })
    }

    /// The workload that stands for a waypoint or network gateway this time.
    fn resolve(&self, gateway: &GatewayAddress, purpose: Purpose) -> Option<Hop<'_>> {
        let client = Some(&*self.source.namespace);
        // What is named by IP is reached at that IP; what is named by hostname follows the client's address family.
        let (found, near) = match &gateway.destination {
            Destination::Address(at) => {
                (self.world.find_upstream(&at.network, at.address, client), at.address)
            }
            Destination::Hostname(key) => (self.world.find_hostname(key), self.flow.destination.ip()),
        };
        let port = gateway.hbone_mtls_port;
        match found? {
            Found::Workload(workload) => {
                Some(Hop { workload: Arc::clone(workload), port, front: None, near })
            }
            Found::Service(front) => {
                let Chosen { workload, port } = self.choose(Wanted { service: front, port, purpose })?;
                Some(Hop { workload, port, front: Some(front), near })
            }
        }
    }

    /// The endpoint of a service that takes this connection.
    fn choose(&self, wanted: Wanted<'_>) -> Option<Chosen> {
        let part = match wanted.purpose {
            Purpose::Traffic => ENDPOINT,
            Purpose::Waypoint => WAYPOINT,
            Purpose::Gateway => GATEWAY,
        };
        self.trail.note(|| Turn::choice(self.world, self.source, wanted));
        balance::choose(self.world, self.source, wanted, self.pick.fork(part))
    }

    /// Where to connect to.
    fn next_hop(&self, hop: &Hop<'_>) -> Result<SocketAddr, Stop> {
        let families = hop.front.map(|front| front.ip_families).unwrap_or_default();
        Ok(SocketAddr::new(self.address_of(&hop.workload, hop.near, families)?, hop.port))
    }

    /// Whether this connection comes from that waypoint, which is then not taken again.
    fn comes_from(&self, waypoint: &GatewayAddress) -> bool {
        let own = self.is_source(waypoint);
        if own {
            self.trail.note(|| Turn::OwnWaypoint(waypoint.clone()));
        }
        own
    }

    /// Whether this connection comes from that waypoint: from its identity and from its address.
    fn is_source(&self, waypoint: &GatewayAddress) -> bool {
        let is_me = |workload: &Workload| {
            workload.trust_domain == self.source.trust_domain
                && workload.namespace == self.source.namespace
                && workload.service_account == self.source.service_account
                && workload.addresses.contains(&self.flow.source.ip())
        };
        match self.world.find_gateway(waypoint) {
            Some(Found::Workload(workload)) => is_me(workload),
            Some(Found::Service(service)) => {
                self.world.endpoints(&service.key).any(|endpoint| is_me(&endpoint.workload))
            }
            None => false,
        }
    }

    /// The address of a workload to use: the one wanted, else one of its family, else any; from DNS where it has none.
    fn address_of(&self, workload: &Workload, near: IpAddr, families: IpFamilies) -> Result<IpAddr, Stop> {
        if workload.addresses.contains(&near) {
            return Ok(near);
        }
        let allowed = || workload.addresses.iter().copied().filter(|address| families.allow(*address));
        let same_family = |address: &IpAddr| address.is_ipv4() == near.is_ipv4();
        if let Some(address) = allowed().find(same_family).or_else(|| allowed().next()) {
            return Ok(address);
        }
        if workload.hostname.is_empty() {
            return Err(RouteError::NoAddress(workload.uid.clone()).into());
        }
        let Some(resolved) = self.world.resolved(&workload.hostname) else {
            return Err(Stop::Need(Lookup::Hostname(workload.hostname.clone())));
        };
        let same = resolved.iter().copied().filter(same_family);
        let other = resolved.iter().copied().filter(|address| !same_family(address));
        let pick = self.pick.fork(ADDRESS);
        any_of(same, pick)
            .or_else(|| any_of(other, pick))
            .ok_or_else(|| RouteError::Unresolved(workload.uid.clone(), workload.hostname.clone()).into())
    }
}

/// All waypoints that a service's connections may take.
pub(super) fn waypoints(service: &Service) -> impl Iterator<Item = &GatewayAddress> {
    service.waypoint.iter().chain(service.weighted_waypoints.iter().map(|weighted| &weighted.destination))
}

fn passthrough(wanted: SocketAddr, service: Option<&Arc<Service>>) -> Route {
    Route { kind: RouteKind::Passthrough, next_hop: wanted, destination: None, service: service.cloned() }
}

/// The identities that may answer: those the service names, and the workload's own.
fn expected(service: Option<&Arc<Service>>, workload: &Workload) -> Vec<Identity> {
    let named = service.map(|service| service.subject_alt_names.as_slice()).unwrap_or_default();
    named.iter().cloned().chain([workload.identity()]).collect()
}

fn any_of(mut addresses: impl Iterator<Item = IpAddr> + Clone, pick: Pick) -> Option<IpAddr> {
    let count = u64::try_from(addresses.clone().count()).unwrap_or(u64::MAX);
    let chosen = usize::try_from(pick.below(0, count)).ok()?;
    addresses.nth(chosen)
}

// The parts of a decision that draw.
const WEIGHT: u64 = 0;
const WAYPOINT: u64 = 1;
const ENDPOINT: u64 = 2;
const ADDRESS: u64 = 3;
const GATEWAY: u64 = 4;

#[cfg(test)]
mod tests;
