//! One captured connection of the application: where it was going, how it gets there, and its bytes until it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy_core::decide::{self, Flow, Route, RouteKind, guard};
use proxy_core::model::{Identity, Workload};
use proxy_core::wire::hbone::Authority;
use proxy_core::wire::{baggage, forwarded, traceparent::Traceparent};
use proxy_core::{Reason, Str};
use proxy_hbone::{ConnectHead, PoolKey, Tunnel, relay_tcp};
use proxy_mtls::{ClientStream, IdentityError, TlsError};
use tokio::net::TcpStream;

use crate::captured::Captured;
use crate::conn::{Conn, Party};
use crate::error::ConnError;
use crate::live::draw;
use crate::metrics::traffic::Reporter;
use crate::net::dial::{DialError, dial};
use crate::net::orig_dst::original_destination;
use crate::pod::Pod;

/// Serves one captured connection and records how it ended, once.
pub(crate) async fn serve(pod: Arc<Pod>, client: TcpStream, peer: SocketAddr) {
    let mut conn = Conn::accepted(&pod, Reporter::Source, peer);
    let mut client = Captured::new(client);
    let result = Box::pin(drive(&pod, &mut conn, &mut client, peer)).await;
    conn.close(result);
    client.refuse().await;
}

async fn drive(
    pod: &Arc<Pod>,
    conn: &mut Conn,
    client: &mut Captured,
    peer: SocketAddr,
) -> Result<(), ConnError> {
    let destination = client.socket().and_then(original_destination).ok_or(ConnError::Captured)?;
    let flow = Flow::new(peer, destination);
    conn.captured(flow);
    if destination.ip().is_loopback() && guard::is_ours(destination.port()) {
        return Err(ConnError::SelfCall);
    }
    let source = pod.node.live.local_workload(&pod.info).await?;
    conn.facts.source = Party::Workload(Arc::clone(&source));
    let pick = draw();
    let route = pod.node.live.decide(|world| decide::route(world, &source, flow, pick));
    let route = route.await.ok_or(ConnError::Lookups)??;
    routed(conn, &source, &route);
    conn.opened();
    let (meter, limits) = (conn.meter(), pod.node.relay);
    let cut = async {
        pod.cut.cancelled().await;
        ConnError::Drained
    };
    let ended = match &route.kind {
        RouteKind::Passthrough | RouteKind::Plain => {
            let upstream =
                dial(&pod.netns, &pod.sockets, route.next_hop, None).await.map_err(ConnError::Dial)?;
            relay_tcp(client.release()?, upstream, &meter, cut, &limits).await
        }
        RouteKind::Tunnel { authority, expected } => {
            let tunnel = open(pod, &source, flow, &route, authority, expected).await?;
            tunnel.relay(client.release()?, &meter, cut, &limits).await
        }
    };
    crate::captured::settle(ended)
}

/// What the record may say once the route is known.
fn routed(conn: &mut Conn, source: &Workload, route: &Route) {
    let facts = &mut conn.facts;
    facts.destination_addr = Some(route.next_hop);
    facts.service.clone_from(&route.service);
    if let Some(destination) = &route.destination {
        facts.destination = Party::Workload(Arc::clone(destination));
    }
    if let Some(target) = route.hbone_target() {
        facts.hbone_target = Some(target.clone());
        facts.source_identity = Some(source.identity());
        facts.destination_identity = route.destination.as_ref().map(|workload| workload.identity());
    }
}

async fn open(
    pod: &Arc<Pod>,
    source: &Workload,
    flow: Flow,
    route: &Route,
    authority: &Authority,
    expected: &[Identity],
) -> Result<Tunnel, ConnError> {
    let key = PoolKey {
        source: source.identity(),
        expected: expected.to_vec(),
        next_hop: route.next_hop,
        source_ip: flow.source.ip(),
        workload_uid: route.destination.as_ref().map(|workload| Str::clone(&workload.uid)),
    };
    let head = ConnectHead {
        authority: authority.clone(),
        baggage: baggage::encode(source),
        forwarded: forwarded::encode(flow.source, route.service.as_ref().map(|s| &**s.hostname())),
        traceparent: Traceparent::new(fastrand::u128(..), fastrand::u64(..)).to_string(),
    };
    let dial = || hop(Arc::clone(pod), key.clone());
    pod.pool.open(&key, dial, &head).await.map_err(ConnError::Tunnel)
}

/// Dials the next hop's tunnel port under the source's identity.
async fn hop(pod: Arc<Pod>, key: PoolKey) -> Result<(ClientStream, Identity), HopError> {
    let node = &pod.node;
    let credentials = node.certificates.credentials(&key.source).await.map_err(HopError::Identity)?;
    let socket = dial(&pod.netns, &pod.sockets, key.next_hop, None).await.map_err(|error| match error {
        timed_out @ DialError::TimedOut { .. } => {
            HopError::TimedOut { port: key.next_hop.port(), source: timed_out }
        }
        error @ (DialError::Socket { .. } | DialError::Connect { .. }) => HopError::Connect(error),
    })?;
    let connected =
        proxy_mtls::connect(socket, &credentials, &key.expected, &node.tls).await.map_err(HopError::Tls)?;
    Ok((connected.stream, connected.peer))
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
            Self::Tls(_) => Reason::TlsFailed,
        }
    }
}
