//! Where a connection goes, or why it goes nowhere: the outcome of [`route`](super::route).

use std::{net::SocketAddr, sync::Arc};

use crate::{
    Reason, Str,
    model::{GatewayAddress, Identity, Service, Workload},
    wire::hbone::Authority,
};

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// How the bytes travel.
    pub kind: RouteKind,
    /// The address to connect to.
    pub next_hop: SocketAddr,
    /// The workload at that address; for a tunnel its uid belongs into the pool's key.
    pub destination: Option<Arc<Workload>>,
    /// The service that the client meant.
    pub service: Option<Arc<Service>>,
}

/// How the bytes travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Plain TCP to where the client wanted, which the mesh does not know or does not balance.
    Passthrough,
    /// Plain TCP to a workload.
    Plain,
    /// A tunnel stream.
    Tunnel {
        /// What the stream asks for.
        authority: Authority,
        /// The identities of which the peer must have one.
        expected: Vec<Identity>,
    },
}

impl Route {
    /// What the tunnel stream asks for, if there is a tunnel.
    #[must_use]
    pub const fn hbone_target(&self) -> Option<&Authority> {
        match &self.kind {
            RouteKind::Passthrough | RouteKind::Plain => None,
            RouteKind::Tunnel { authority, expected: _ } => Some(authority),
        }
    }
}

/// Why a connection goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The destination is a port of this proxy.
    #[error("attempted recursive call to ourselves: {0}")]
    SelfCall(SocketAddr),
    /// The service has no endpoint for this port.
    #[error("no healthy upstream: {0}")]
    NoHealthyUpstream(SocketAddr),
    /// The waypoint that the destination names is not known, or has no endpoint.
    #[error("unknown waypoint: {0}")]
    UnknownWaypoint(GatewayAddress),
    /// A workload of another network can be reached through a service only.
    #[error("no service for target address: {0}")]
    NoService(SocketAddr),
    /// The workload has neither an address, a hostname nor a gateway.
    #[error("no valid routing destination for workload: {0}")]
    NoAddress(Str),
    /// DNS knows no address for the workload's hostname.
    #[error("no ip addresses were resolved for hostname {1} of workload {0}")]
    Unresolved(Str, Str),
    /// The workload is behind a gateway of another network, which this version does not go through.
    #[error(
        "workload {workload} is on network {network:?}, and tunnels through network gateways are not supported"
    )]
    GatewayUnsupported {
        /// The workload's uid.
        workload: Str,
        /// The workload's network.
        network: Str,
    },
}

impl RouteError {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::SelfCall(_) => Reason::SelfCall,
            Self::NoHealthyUpstream(_) => Reason::NoEndpoint,
            Self::UnknownWaypoint(_)
            | Self::NoService(_)
            | Self::NoAddress(_)
            | Self::Unresolved(..)
            | Self::GatewayUnsupported { .. } => Reason::NoRoute,
        }
    }
}
