//! Where a connection goes, or why it goes nowhere: the outcome of [`route`](super::route).

use std::{net::SocketAddr, sync::Arc};

use crate::{
    Reason, Str,
    model::{GatewayAddress, Identity, Service, Workload},
    wire::hbone::Authority,
    world::MeshAddresses,
};

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// How the bytes travel.
    pub kind: RouteKind,
    /// The address to connect to.
    pub next_hop: SocketAddr,
    /// The workload at that address, which may be a waypoint or a gateway; for a tunnel its uid belongs into the pool's key.
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
    /// A tunnel stream inside a tunnel stream: the next hop is the gateway of another network, and does not see inside.
    DoubleTunnel {
        /// What both streams ask for: the service, which only its own network can tell the endpoints of.
        authority: Authority,
        /// The identities of which the gateway must have one.
        gateway: Vec<Identity>,
        /// The identities of which the peer behind the gateway must have one.
        expected: Vec<Identity>,
    },
}

impl Route {
    /// Whether it leads, in plain text, to an address that is the mesh's and not known.
    #[must_use]
    pub fn misses(&self, mesh: &MeshAddresses) -> bool {
        self.kind == RouteKind::Passthrough && self.service.is_none() && mesh.contain(self.next_hop.ip())
    }

    /// What the tunnel stream asks for, if there is a tunnel.
    #[must_use]
    pub const fn hbone_target(&self) -> Option<&Authority> {
        match &self.kind {
            RouteKind::Passthrough | RouteKind::Plain => None,
            RouteKind::Tunnel { authority, expected: _ }
            | RouteKind::DoubleTunnel { authority, gateway: _, expected: _ } => Some(authority),
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
    /// The gateway to another network is not known, or has no endpoint.
    #[error("unknown network gateway: {0}")]
    UnknownGateway(GatewayAddress),
    /// The address is the mesh's, and the control plane has not told what is there.
    #[error("unknown destination of the mesh: {0}")]
    UnknownInMesh(SocketAddr),
    /// A workload of another network can be reached through a service only.
    #[error("no service for target address: {0}")]
    NoService(SocketAddr),
    /// The workload has neither an address, a hostname nor a gateway.
    #[error("no valid routing destination for workload: {0}")]
    NoAddress(Str),
    /// DNS knows no address for the workload's hostname.
    #[error("no ip addresses were resolved for hostname {1} of workload {0}")]
    Unresolved(Str, Str),
}

impl RouteError {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::SelfCall(_) => Reason::SelfCall,
            Self::NoHealthyUpstream(_) => Reason::NoEndpoint,
            Self::UnknownWaypoint(_)
            | Self::UnknownGateway(_)
            | Self::UnknownInMesh(_)
            | Self::NoService(_)
            | Self::NoAddress(_)
            | Self::Unresolved(..) => Reason::NoRoute,
        }
    }
}
