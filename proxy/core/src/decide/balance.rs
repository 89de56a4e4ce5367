//! Which endpoint of a service takes a connection: health, locality, weight.

use std::sync::Arc;

use crate::{
    Pick,
    model::{Health, LoadBalancer, LoadBalancerMode, Locale, Service, Workload},
    world::{Endpoint, Endpoints, World},
};

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
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
    pub(super) service: &'a Service,
    pub(super) port: u16,
    pub(super) purpose: Purpose,
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
            let (port, rank) = self.judge(endpoint)?;
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
            let Some((port, rank)) = self.judge(endpoint) else {
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

    /// An endpoint's port and how much it shares with the source; `None` when it cannot take the connection.
    fn judge(self, endpoint: &Endpoint) -> Option<(u16, usize)> {
        let Wanted { service, .. } = self.wanted;
        if endpoint.workload.capacity == 0 || !is_usable(self.source, self.wanted, endpoint) {
            return None;
        }
        let port = target_port(self.wanted, endpoint)?;
        let rank = rank(self.source, &endpoint.workload, service.load_balancer.as_ref())?;
        Some((port, rank))
    }
}

fn is_usable(source: &Workload, wanted: Wanted<'_>, endpoint: &Endpoint) -> bool {
    let workload = &endpoint.workload;
    let healthy = workload.health == Health::Healthy || wanted.service.takes_unhealthy();
    // A gateway leads to what has no address here; from its own network, nothing does.
    let reachable = if workload.network == source.network || wanted.purpose == Purpose::Gateway {
        !workload.is_addressless()
    } else {
        workload.network_gateway.is_some()
    };
    healthy && reachable
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
