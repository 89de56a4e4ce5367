//! Opens the tunnel that a route asks for: a stream on a shared connection, and inside of it one of its own where the
//! destination is of another network.

use std::sync::Arc;

use proxy_core::decide::{Flow, Route};
use proxy_core::model::{Identity, Workload};
use proxy_core::wire::hbone::Authority;
use proxy_core::wire::{baggage, forwarded, traceparent::Traceparent};
use proxy_core::{Reason, Str};
use proxy_hbone::{ConnectHead, Dialed, Inside, Pool, PoolKey, Tunnel};
use proxy_mtls::{ClientStream, Connected, IdentityError, TlsError};

use crate::error::ConnError;
use crate::net::dial::{DialError, dial};
use crate::pod::Pod;

/// What opening a tunnel takes.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) pod: &'a Arc<Pod>,
    pub(super) pool: &'a Pool,
    pub(super) source: &'a Workload,
    pub(super) flow: Flow,
    pub(super) route: &'a Route,
}

impl Opening<'_> {
    /// A stream to the next hop.
    pub(super) async fn single(
        &self,
        authority: &Authority,
        expected: &[Identity],
    ) -> Result<Tunnel, ConnError> {
        self.stream(&self.head(authority), expected).await
    }

    /// A stream to whom the next hop, which is the `gateway`, leads to.
    pub(super) async fn double(
        &self,
        authority: &Authority,
        gateway: &[Identity],
        expected: &[Identity],
    ) -> Result<Tunnel, ConnError> {
        let mut head = self.head(authority);
        let outer = self.stream(&head, gateway).await?;
        let node = &self.pod.node;
        let credentials = node.certificates.credentials(&self.source.identity()).await?;
        // Our address means nothing in another network. The gateway needs no such hint.
        head.network = Some(node.network.to_string());
        let inside = Inside { credentials: &credentials, expected, tls: &node.tls };
        outer.nest(inside, &head, &node.settings).await.map_err(ConnError::Tunnel)
    }

    async fn stream(&self, head: &ConnectHead, expected: &[Identity]) -> Result<Tunnel, ConnError> {
        let Self { pod, pool, source, flow, route } = self;
        let key = PoolKey {
            source: source.identity(),
            expected: expected.to_vec(),
            next_hop: route.next_hop,
            source_ip: flow.source.ip(),
            workload_uid: route.destination.as_ref().map(|workload| Str::clone(&workload.uid)),
        };
        let dial = || hop(Arc::clone(pod), key.clone());
        pool.open(&key, dial, head).await.map_err(ConnError::Tunnel)
    }

    fn head(&self, authority: &Authority) -> ConnectHead {
        let service = self.route.service.as_ref().map(|service| &**service.hostname());
        ConnectHead {
            authority: authority.clone(),
            baggage: baggage::encode(self.source),
            forwarded: forwarded::encode(self.flow.source, service),
            traceparent: Traceparent::new(fastrand::u128(..), fastrand::u64(..)).to_string(),
            network: None,
        }
    }
}

/// Dials the next hop's tunnel port under the source's identity.
async fn hop(pod: Arc<Pod>, key: PoolKey) -> Result<Dialed<ClientStream>, HopError> {
    let node = &pod.node;
    let credentials = node.certificates.credentials(&key.source).await.map_err(HopError::Identity)?;
    let socket = dial(&pod.netns, &pod.sockets, key.next_hop, None).await.map_err(|error| match error {
        timed_out @ DialError::TimedOut { .. } => {
            HopError::TimedOut { port: key.next_hop.port(), source: timed_out }
        }
        error @ (DialError::Socket { .. } | DialError::Connect { .. }) => HopError::Connect(error),
    })?;
    let Connected { stream, peer, standing } =
        proxy_mtls::connect(socket, &credentials, &key.expected, &node.tls).await.map_err(HopError::Tls)?;
    Ok(Dialed { stream, peer, revoked: Box::pin(async move { standing.revoked().await }) })
}

/// Why the next hop has no connection for us.
#[derive(Debug, thiserror::Error)]
enum HopError {
    #[error("connection timed out, maybe a NetworkPolicy is blocking HBONE port {port}")]
    TimedOut {
        port: u16,
        #[source]
        source: DialError,
    },
    #[error("connection failed")]
    Connect(#[source] DialError),
    #[error("identity error")]
    Identity(#[source] IdentityError),
    #[error("tls handshake error")]
    Tls(#[source] TlsError),
}

impl proxy_hbone::DialError for HopError {
    fn reason(&self) -> Reason {
        match self {
            Self::TimedOut { .. } => Reason::NetworkPolicy,
            Self::Connect(_) => Reason::ConnectFailed,
            Self::Identity(_) => Reason::IdentityUnavailable,
            Self::Tls(error) => error.reason(),
        }
    }
}
