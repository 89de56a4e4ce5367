//! Why a connection would go where it goes, and who would let it in: the decisions of the data path, asked without a
//! connection, with what they came by.

use std::{cell::RefCell, net::SocketAddr, sync::Arc};

use super::{
    Admission, AdmitError, Connection, Deny, Flow, InboundRequest, Permit, Route, RouteError, RouteKind,
    Step,
    authorize::{applying, authorize},
    evidence::{self, Evidence},
    guard, inbound,
    matching::Facts,
    outbound,
    trail::{Trail, Turn},
};
use crate::{
    Moment, Pick, Reason, Str,
    model::{Identity, Policy, Protocol, Workload},
    wire::hbone::Authority,
    world::{Found, World},
};

mod opposite;
#[cfg(test)]
mod tests;

pub use opposite::{Change, Opposite};

/// A connection that nobody makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its addresses, as the client would have them.
    pub flow: Flow,
    /// How it comes to the destination, when the route is not asked for.
    pub arrival: Option<Arrival>,
}

/// How a connection comes to its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In plain text.
    Plain,
    /// As a tunnel stream of whoever has this identity.
    Tunnel(Identity),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Who is at the source's address, as far as this proxy was told.
    pub source: Option<Arc<Workload>>,
    /// How it travels.
    pub way: Way,
    /// Who guards the other end.
    pub end: End,
}

/// How a connection travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// As the question says.
    Given,
    /// Past the proxies: nobody captures what the source opens.
    Uncaptured,
    /// The source speaks HBONE itself, and chooses its way itself.
    Itself,
    /// As the source's proxy decides.
    Routed(Routed),
}

/// What the source's proxy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The route, why there is none, or what has to be looked up first.
    pub route: Step<Result<Route, RouteError>>,
    /// What it was decided by, in order.
    pub turns: Vec<Turn>,
}

/// Who guards the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has no other end, or it is not known yet.
    None,
    /// No proxy: it is reached as it is, whatever policies say.
    Unguarded,
    /// It speaks HBONE itself and guards itself: a waypoint, for one.
    Itself(Arc<Workload>),
    /// It is in another network, behind this gateway.
    Beyond(Arc<Workload>),
    /// One of a service's endpoints, which somebody else chooses.
    Elsewhere(Vec<Arc<Workload>>),
    /// The proxy of its node.
    Proxy(Box<Entry>),
}

/// What the destination's proxy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The workload.
    pub local: Arc<Workload>,
    /// How the connection comes.
    pub arrival: Arrival,
    /// Whether it may be meant for the workload; with what policy says when it is.
    pub admitted: Step<Result<Judged, AdmitError>>,
}

/// What policy says to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The connection, as policies see it.
    pub connection: Connection,
    /// The verdict of [`authorize`].
    pub verdict: Result<Permit, Deny>,
    /// Every policy that applies, in the order in which they are asked.
    pub policies: Vec<Weighed>,
    /// Policies that the workload names and that have not come.
    pub missing: Vec<Str>,
    /// The policy that refuses the same connection when it comes in plain text, where one does.
    pub plaintext: Result<(), Option<Str>>,
    /// What would turn the verdict round.
    pub opposite: Opposite,
}

/// One policy that applies to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Whether it means the connection.
    pub meant: bool,
    /// Whether it means the same connection in plain text.
    pub meant_in_plain: bool,
    /// Which rule does; or which came closest, and why it does not.
    pub evidence: Evidence,
}

/// What becomes of a connection, as far as it can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It gets to the application.
    Passes,
    /// It ends before.
    Ends(Reason),
    /// That is for others to say, or has to be looked up first.
    Open,
}

impl Explanation {
    /// What becomes of the connection.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if let Way::Routed(Routed { route: Step::Done(Err(error)), turns: _ }) = &self.way {
            return Outcome::Ends(error.reason());
        }
        match &self.end {
            End::Unguarded => Outcome::Passes,
            End::None | End::Itself(_) | End::Beyond(_) | End::Elsewhere(_) => Outcome::Open,
            End::Proxy(entry) => match &entry.admitted {
                Step::Need(_) => Outcome::Open,
                Step::Done(Err(error)) => Outcome::Ends(error.reason()),
                Step::Done(Ok(judged)) => match &judged.verdict {
                    Ok(_) => Outcome::Passes,
                    Err(deny) => Outcome::Ends(deny.reason()),
                },
            },
        }
    }
}

impl Judged {
    /// Whether PeerAuthentication refuses plain text to this port.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.policies.iter().any(|weighed| {
            weighed.meant_in_plain && !weighed.policy.dry_run && weighed.policy.is_of_peer_authentication()
        })
    }
}

/// Explains what would become of a connection.
#[must_use]
pub fn explain(world: &World, question: &Question, now: Moment, pick: Pick) -> Explanation {
    let flow = question.flow;
    let source = world.workload_at(&world.node().network, flow.source.ip()).cloned();
    let (way, end) = match (&question.arrival, source.as_deref()) {
        (Some(arrival), _) => (Way::Given, direct(world, source.as_deref(), flow, arrival, now)),
        (None, Some(source)) if source.native_tunnel => {
            (Way::Itself, direct(world, Some(source), flow, &Arrival::Tunnel(source.identity()), now))
        }
        (None, Some(source)) if source.protocol == Protocol::Hbone => {
            let turns = RefCell::default();
            let route = outbound::follow(world, source, flow, pick, Trail::into(&turns));
            let end = match &route {
                Step::Done(Ok(route)) => at_the_end(world, source, flow, route, now),
                Step::Done(Err(_)) | Step::Need(_) => End::None,
            };
            (Way::Routed(Routed { route, turns: turns.into_inner() }), end)
        }
        (None, source) => (Way::Uncaptured, direct(world, source, flow, &Arrival::Plain, now)),
    };
    Explanation { source, way, end }
}

/// Who guards what stands at the address itself.
fn direct(world: &World, source: Option<&Workload>, flow: Flow, arrival: &Arrival, now: Moment) -> End {
    let namespace = source.map(|source| &*source.namespace);
    match world.find_address(&world.node().network, flow.destination.ip(), namespace) {
        // Nobody sends a tunnel where none is taken.
        Some(Found::Workload(workload)) if workload.protocol == Protocol::Tcp => End::Unguarded,
        Some(Found::Workload(workload)) => {
            guard_of(world, workload, flow, arrival.clone(), flow.destination.into(), now)
        }
        Some(Found::Service(service)) => {
            let mut all: Vec<_> =
                world.endpoints(&service.key).map(|endpoint| Arc::clone(&endpoint.workload)).collect();
            all.sort_by(|a, b| a.uid.cmp(&b.uid));
            End::Elsewhere(all)
        }
        None => End::Unguarded,
    }
}

/// Who guards what a route leads to.
fn at_the_end(world: &World, source: &Workload, flow: Flow, route: &Route, now: Moment) -> End {
    let Some(workload) = &route.destination else {
        return End::Unguarded;
    };
    let arrives = Flow { source: flow.source, destination: route.next_hop };
    match &route.kind {
        RouteKind::Passthrough => End::Unguarded,
        RouteKind::Plain => guard_of(world, workload, arrives, Arrival::Plain, route.next_hop.into(), now),
        RouteKind::Tunnel { authority, expected: _ } => {
            let arrival = Arrival::Tunnel(source.identity());
            guard_of(world, workload, arrives, arrival, authority.clone(), now)
        }
        RouteKind::DoubleTunnel { .. } => End::Beyond(Arc::clone(workload)),
    }
}

/// Who guards a workload that is asked for as `authority`.
fn guard_of(
    world: &World,
    workload: &Arc<Workload>,
    flow: Flow,
    arrival: Arrival,
    authority: Authority,
    now: Moment,
) -> End {
    if workload.protocol == Protocol::Tcp || workload.native_tunnel {
        return match arrival {
            Arrival::Plain => End::Unguarded,
            Arrival::Tunnel(_) => End::Itself(Arc::clone(workload)),
        };
    }
    let admitted = admit(world, workload, flow, &arrival, authority);
    let admitted = match admitted {
        Step::Need(lookup) => Step::Need(lookup),
        Step::Done(admitted) => Step::Done(admitted.map(|admission| {
            let identity = match &arrival {
                Arrival::Plain => None,
                Arrival::Tunnel(identity) => Some(identity.clone()),
            };
            let connection = Connection { source: flow.source, identity, target: admission.target };
            judge(world, workload, connection, now)
        })),
    };
    End::Proxy(Box::new(Entry { local: Arc::clone(workload), arrival, admitted }))
}

fn admit(
    world: &World,
    local: &Workload,
    flow: Flow,
    arrival: &Arrival,
    authority: Authority,
) -> Step<Result<Admission, AdmitError>> {
    match arrival {
        Arrival::Plain => Step::Done(inbound::admit_plain(world, local, flow)),
        Arrival::Tunnel(_) => {
            let at = SocketAddr::new(flow.destination.ip(), guard::HBONE);
            let request = InboundRequest { authority, source: flow.source, local: at, forwarded_host: None };
            inbound::admit(world, local, &request)
        }
    }
}

/// What policy says, and why.
fn judge(world: &World, local: &Workload, connection: Connection, now: Moment) -> Judged {
    let verdict = authorize(world, local, &connection, now);
    let plain = Connection { identity: None, ..connection };
    let (facts, facts_in_plain) = (Facts::of(&connection), Facts::of(&plain));
    let mut policies: Vec<Weighed> = Vec::new();
    for policy in applying(world, local) {
        // One that covers a workload twice is told once.
        if policies.iter().all(|told| told.policy.key != policy.key) {
            policies.push(Weighed {
                policy: Arc::clone(policy),
                meant: facts.meant_by(policy),
                meant_in_plain: facts_in_plain.meant_by(policy),
                evidence: evidence::of_policy(&facts, world, local, policy),
            });
        }
    }
    let missing = local.authorization_policies.iter().filter(|key| world.policy(key).is_none());
    let missing = missing.cloned().collect();
    let plaintext = authorize(world, local, &plain, now).map(|_| ()).map_err(|deny| deny.policy);
    let opposite = opposite::of(world, local, &connection, &verdict, now);
    Judged { connection, verdict, policies, missing, plaintext, opposite }
}
