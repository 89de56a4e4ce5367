//! The decisions: where a captured connection goes, what a tunnel stream may reach, who may connect.

pub mod authorize;
mod balance;
mod demand;
pub mod evidence;
pub mod explain;
pub mod guard;
pub mod inbound;
mod matching;
pub mod outbound;
mod route;
mod trail;

use std::{net::SocketAddr, sync::Arc};

use crate::{
    Reason, Str,
    model::{PodInfo, Workload},
    world::World,
};

pub use authorize::{Connection, Deny, DryRun, Permit, Would, authorize};
pub use balance::{Candidate, Fit, Purpose, Unfit};
pub use evidence::Evidence;
pub use inbound::{Admission, AdmitError, InboundRequest, ProxyTunnel, admit};
pub use outbound::route;
pub use route::{Route, RouteError, RouteKind};
pub use trail::{Choice, Turn};

/// The addresses of one captured connection, neither of them IPv4-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The client's end.
    pub source: SocketAddr,
    /// Where the client wanted to go.
    pub destination: SocketAddr,
}

impl Flow {
    /// A flow of the two addresses, IPv4-mapped ones unwrapped.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self { source: canonical(source), destination: canonical(destination) }
    }
}

/// The same address, as IPv4 when it is an IPv4-mapped IPv6 one.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A decision, or what it lacks: the shell fetches that, adds the [`Answer`](crate::world::Answer) to the world and asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The decision.
    Done(T),
    /// What it lacks.
    Need(Lookup),
}

/// What a decision lacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The addresses of a DNS name.
    Hostname(Str),
    /// What stands at `network/ip` or goes by `namespace/hostname`, where addresses come on demand.
    Address(Str),
}

/// The control plane has not announced the workload of a pod on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to fetch information about local workload: {0}")]
pub struct UnknownWorkload(pub PodInfo);

impl UnknownWorkload {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::UnknownWorkload
    }
}

/// The workload that the control plane announces for a pod of this node.
///
/// # Errors
/// When there is none, yet; the caller waits for `workloads_changed` and asks again.
pub fn local(world: &World, pod: &PodInfo) -> Result<Arc<Workload>, UnknownWorkload> {
    world
        .local_workload(&pod.name, &pod.namespace, &pod.service_account)
        .ok_or_else(|| UnknownWorkload(pod.clone()))
}
