//! Which endpoint of a service takes a connection: health, locality, weight.

use std::sync::Arc;

use crate::{
    Pick,
    model::{Health, LoadBalancer, LoadBalancerMode, Locale, Service, Workload},
    world::{Endpoint, Endpoints, World},
};

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To reach the service itself.
    Traffic,
    /// To reach it as somebody's waypoint, which may take tunnels on a port that the service does not name.
    Waypoint,
    /// To reach it as the gateway of another network: it counts as a part of that network, and is reached directly.
    Gateway,
}

/// An endpoint, and its port for the service port asked for.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) workload: Arc<Workload>,
    pub(super) port: u16,
}

/// What the choice is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) port: u16,
    pub(super) purpose: Purpose,
}

/// An endpoint that might have been chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The workload.
    pub workload: Arc<Workload>,
    /// Its port for the service port asked for, and how much it has in common with the source; or why it takes no connection.
    pub fit: Result<Fit, Unfit>,
}

/// How well an endpoint suits a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fit {
    /// Its port.
    pub port: u16,
    /// How much it shares with the source; only endpoints of the highest rank there is are chosen.
    pub rank: usize,
}

/// Why an endpoint takes no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// Its capacity is nought.
    NoCapacity,
    /// It is not ready, and the service takes only what is.
    Unhealthy,
    /// It is of another network to which no gateway is told, or has no address.
    Unreachable,
    /// The service, or the endpoint, has no such port.
    NoPort,
    /// The service demands that it has more in common with the source.
    Locality,
}

/// Every endpoint of a service as [`choose`] sees it, sorted by uid.
pub(super) fn candidates(world: &World, source: &Workload, wanted: Wanted<'_>) -> Vec<Candidate> {
    let judge = Candidates { source, wanted };
    let endpoints = world.endpoints(&wanted.service.key);
    let mut all: Vec<_> = endpoints
        .map(|endpoint| Candidate { workload: Arc::clone(&endpoint.workload), fit: judge.judge(endpoint) })
        .collect();
    all.sort_by(|a, b| a.workload.uid.cmp(&b.workload.uid));
    all
}

/// Chooses among the endpoints that share the most with the source, in proportion to their capacity.
pub(super) fn choose(world: &World, source: &Workload, wanted: Wanted<'_>, pick: Pick) -> Option<Chosen> {
    let endpoints = world.endpoints_of(&wanted.service.key)?;
    let candidates = Candidates { source, wanted };
    // Looking at every endpoint is fine for tens and not for thousands.
    let drawn = (endpoints.len() > FEW).then(|| candidates.draw(endpoints, pick.fork(DRAW))).flatten();
    let (endpoint, port) = drawn.or_else(|| candidates.search(endpoints, pick.fork(SEARCH)))?;
    Some(Chosen { workload: Arc::clone(&endpoint.workload), port })
}

/// The endpoints that can take a connection, and how well.
#[derive(Clone, Copy)]
struct Candidates<'a> {
    source: &'a Workload,
    wanted: Wanted<'a>,
}

impl Candidates<'_> {
    /// Draws endpoints until one is as good as any can be; `None` when a few draws find none.
    ///
    /// What is drawn evenly and kept in proportion to its capacity has the share that a search would give it.
    fn draw(self, endpoints: &Endpoints, pick: Pick) -> Option<(&Endpoint, u16)> {
        let count = u64::try_from(endpoints.len()).ok()?;
        let largest = u64::from(endpoints.largest_capacity());
        let perfect = highest_rank(self.wanted.service.load_balancer.as_ref());
        (0..DRAWS).find_map(|turn| {
            let place = usize::try_from(pick.below(turn, count)).ok()?;
            let endpoint = endpoints.at(place)?;
            let Fit { port, rank } = self.judge(endpoint).ok()?;
            let share = pick.below(turn.saturating_add(DRAWS), largest);
            (rank == perfect && share < u64::from(endpoint.workload.capacity)).then_some((endpoint, port))
        })
    }

    /// Looks at every endpoint, once and without allocation: each candidate replaces the one so far with the probability of
    /// its share of what has been seen, which leaves every candidate its share of the whole.
    fn search(self, endpoints: &Endpoints, pick: Pick) -> Option<(&Endpoint, u16)> {
        let mut best = None;
        let mut best_rank = 0;
        let mut seen: u64 = 0;
        for (turn, endpoint) in (0_u64..).zip(endpoints.iter()) {
            let Ok(Fit { port, rank }) = self.judge(endpoint) else {
                continue;
            };
            if best.is_some() && rank < best_rank {
                continue;
            }
            if rank > best_rank {
                best_rank = rank;
                seen = 0;
            }
            let capacity = u64::from(endpoint.workload.capacity);
            seen = seen.saturating_add(capacity);
            if pick.below(turn, seen) < capacity {
                best = Some((endpoint, port));
            }
        }
        best
    }

    /// An endpoint's port and how much it shares with the source, or why it cannot take the connection.
    fn judge(self, endpoint: &Endpoint) -> Result<Fit, Unfit> {
        let Wanted { service, .. } = self.wanted;
        if endpoint.workload.capacity == 0 {
            return Err(Unfit::NoCapacity);
        }
        if endpoint.workload.health != Health::Healthy && !service.takes_unhealthy() {
            return Err(Unfit::Unhealthy);
        }
        if !is_reachable(self.source, self.wanted, &endpoint.workload) {
            return Err(Unfit::Unreachable);
        }
        let port = target_port(self.wanted, endpoint).ok_or(Unfit::NoPort)?;
        let rank = rank(self.source, &endpoint.workload, service.load_balancer.as_ref());
        Ok(Fit { port, rank: rank.ok_or(Unfit::Locality)? })
    }
}

fn is_reachable(source: &Workload, wanted: Wanted<'_>, workload: &Workload) -> bool {
    // A gateway leads to what has no address here; from its own network, nothing does.
    if workload.network == source.network || wanted.purpose == Purpose::Gateway {
        !workload.is_addressless()
    } else {
        workload.network_gateway.is_some()
    }
}

fn target_port(wanted: Wanted<'_>, endpoint: &Endpoint) -> Option<u16> {
    let of_service = wanted.service.ports.get(&wanted.port).copied();
    let own = endpoint.ports.get(&wanted.port).copied().filter(|port| *port > 0);
    match wanted.purpose {
        Purpose::Traffic | Purpose::Gateway => {
            of_service.and_then(|port| own.or_else(|| (port > 0).then_some(port)))
        }
        Purpose::Waypoint => own.or_else(|| of_service.filter(|port| *port > 0)).or_else(|| {
            let tunnel = endpoint.workload.application_tunnel?;
            tunnel.port.map(|_| wanted.port)
        }),
    }
}

/// How much source and candidate have in common; `None` when the candidate is out.
fn rank(source: &Workload, candidate: &Workload, lb: Option<&LoadBalancer>) -> Option<usize> {
    let Some(LoadBalancer { preferences, mode, health_policy: _ }) = lb else {
        return Some(0);
    };
    let strict = match mode {
        LoadBalancerMode::Standard | LoadBalancerMode::Passthrough => return Some(0),
        LoadBalancerMode::Strict => true,
        LoadBalancerMode::Failover => false,
    };
    // A network in first place is a preference over all others, not a condition for them.
    let network_first = preferences.first() == Some(&Locale::Network);
    let mut rank: usize = 0;
    let mut bonus = 0;
    for preference in preferences {
        let same = in_common(source, candidate, *preference);
        if *preference == Locale::Network && network_first {
            if !same {
                continue;
            }
            bonus = preferences.len().saturating_sub(1);
        }
        if !same {
            break;
        }
        rank = rank.saturating_add(1);
    }
    (!strict || rank == preferences.len()).then(|| rank.saturating_add(bonus))
}

/// The rank of an endpoint that shares everything with the source.
fn highest_rank(lb: Option<&LoadBalancer>) -> usize {
    match lb {
        Some(lb) if matches!(lb.mode, LoadBalancerMode::Strict | LoadBalancerMode::Failover) => {
            let bonus = match lb.preferences.as_slice() {
                [Locale::Network, others @ ..] => others.len(),
                _ => 0,
            };
            lb.preferences.len().saturating_add(bonus)
        }
        Some(_) | None => 0,
    }
}

fn in_common(source: &Workload, candidate: &Workload, locale: Locale) -> bool {
    match locale {
        Locale::Region => source.locality.region == candidate.locality.region,
        Locale::Zone => source.locality.zone == candidate.locality.zone,
        Locale::Subzone => source.locality.subzone == candidate.locality.subzone,
        Locale::Node => source.node == candidate.node,
        Locale::Cluster => source.cluster_id == candidate.cluster_id,
        Locale::Network => source.network == candidate.network,
    }
}

/// The most endpoints that are all looked at.
const FEW: usize = 32;
/// How often one is drawn before all are looked at.
const DRAWS: u64 = 32;

// The parts of the choice that draw.
const DRAW: u64 = 0;
const SEARCH: u64 = 1;

#[cfg(test)]
mod tests;
