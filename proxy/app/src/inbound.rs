//! Tunnels to the application: one accepted connection proves who calls, each of its streams is one connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proxy_core::Str;
use proxy_core::decide::{self, Connection, InboundRequest, Permit, ProxyTunnel};
use proxy_core::model::{Identity, Workload};
use proxy_core::wire::baggage::Baggage;
use proxy_core::wire::{baggage, forwarded, hbone};
use proxy_hbone::{Incoming, TunnelError};
use proxy_mtls::{Accepted, ServerStream, Standing};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::captured::{settle, unless_revoked};
use crate::conn::{Conn, Party};
use crate::error::{Chain, ConnError};
use crate::limits::Limit;
use crate::metrics::traffic::Reporter;
use crate::net::canonical;
use crate::net::dial::dial;
use crate::pod::{LAST_MOMENT, Pod};
use crate::policy::{self, Watched};

/// What the streams of one accepted connection have in common.
struct Arrival {
    pod: Arc<Pod>,
    /// The peer's end of the tunnel: the client's address, or that of the hop before us.
    source: SocketAddr,
    /// Our end: the pod's address.
    local: SocketAddr,
    identity: Identity,
    /// Whether the peer may stay.
    standing: Standing,
    transparent: bool,
    /// Streams that are open.
    streams: AtomicU32,
}

/// Serves one accepted connection until it ends.
pub(crate) async fn serve(pod: Arc<Pod>, stream: TcpStream, peer: SocketAddr, transparent: bool) {
    let mut conn = Conn::accepted(&pod, Reporter::Destination, peer);
    match Box::pin(handshake(&pod, &mut conn, stream)).await {
        Err(error) => conn.close(Err(error)),
        Ok((accepted, local)) => {
            let Accepted { stream, peer: identity, standing } = accepted;
            conn.carries_others();
            conn.facts.source_identity = Some(identity.clone());
            let arrival = Arc::new(Arrival {
                pod,
                source: peer,
                local,
                identity,
                standing,
                transparent,
                streams: AtomicU32::new(0),
            });
            if let Err(error) = Box::pin(tunnel(arrival, stream)).await {
                conn.close(Err(ConnError::Tunnel(error)));
            }
        }
    }
}

async fn handshake(
    pod: &Pod,
    conn: &mut Conn,
    stream: TcpStream,
) -> Result<(Accepted, SocketAddr), ConnError> {
    conn.admitted()?;
    let local = canonical(stream.local_addr().map_err(|_| ConnError::Captured)?);
    conn.facts.destination_addr = Some(local);
    // Held only until the peer is known: strangers cannot use up what friends need.
    let place = pod.handshakes.enter().ok_or(ConnError::Handshakes)?;
    tokio::select! {
        accepted = prove(pod, conn, stream) => Ok((accepted?, local)),
        () = place.taken() => Err(ConnError::Handshakes),
    }
}

/// Has the peer prove who it is.
async fn prove(pod: &Pod, conn: &mut Conn, stream: TcpStream) -> Result<Accepted, ConnError> {
    let node = &pod.node;
    let workload = node.live.local_workload(&pod.info).await?;
    conn.facts.destination = Party::Workload(Arc::clone(&workload));
    let credentials = node.certificates.credentials(&workload.identity()).await?;
    let accepting = proxy_mtls::accept(stream, &credentials, &node.tls);
    tokio::select! {
        accepted = accepting => accepted.map_err(ConnError::Tls),
        () = pod.cut.cancelled() => Err(ConnError::Drained),
    }
}

/// Serves the streams of one connection.
///
/// # Errors
/// There never were any, because HTTP/2 did not start; what ends later is the streams' to tell.
async fn tunnel(arrival: Arc<Arrival>, stream: ServerStream) -> Result<(), TunnelError> {
    let pod = Arc::clone(&arrival.pod);
    let (source, standing) = (arrival.source, arrival.standing.clone());
    let each = move |incoming| {
        let arrival = Arc::clone(&arrival);
        async move { serve_stream(arrival, incoming).await }
    };
    let goodbye = async {
        tokio::select! {
            () = pod.closing.cancelled() => {}
            () = standing.revoked() => {}
        }
    };
    let overdue = async {
        standing.revoked().await;
        tracing::warn!(%source, "tunnel connection ends: its peer's certificate has been revoked");
        tokio::time::sleep(LAST_MOMENT).await;
    };
    let serving = Box::pin(proxy_hbone::serve(stream, &pod.node.settings, goodbye, each));
    let served = tokio::select! {
        biased;
        served = serving => served,
        // Its streams have ended by now, each with its record. It may not hold on to the connection.
        () = overdue => Ok(()),
    };
    match served {
        Err(error @ (TunnelError::Handshake { .. } | TunnelError::SettingsTimeout { .. })) => Err(error),
        Err(error) => {
            if let Some(limit) = Limit::behind(&error) {
                pod.node.metrics.hit(limit);
            }
            tracing::debug!(%source, "tunnel connection ended: {}", Chain(&error));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Serves one stream and records how it ended, once.
async fn serve_stream(arrival: Arc<Arrival>, incoming: Incoming) {
    let mut conn = Conn::stream(&arrival.pod, Reporter::Destination, arrival.source);
    let open = arrival.streams.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if open == arrival.pod.node.settings.max_streams {
        // Those beyond are refused before they come to us.
        arrival.pod.node.metrics.hit(Limit::Streams);
    }
    let result = Box::pin(drive(&arrival, &mut conn, incoming)).await;
    conn.close(result);
    arrival.streams.fetch_sub(1, Ordering::Relaxed);
}

async fn drive(arrival: &Arrival, conn: &mut Conn, mut incoming: Incoming) -> Result<(), ConnError> {
    let pod = &arrival.pod;
    let asked = Asked::of(&incoming);
    let entered = tokio::select! {
        biased;
        () = arrival.standing.revoked() => return Err(ConnError::Revoked),
        entered = enter(arrival, conn, asked) => entered,
        () = incoming.withdrawn() => return Err(ConnError::Withdrawn),
    };
    let Entered { local, watched, application } = match entered {
        Ok(entered) => entered,
        Err(error) => {
            incoming.refuse(error.reason().status().unwrap_or(503));
            return Err(error);
        }
    };
    let described = pod.node.tunnel.response_baggage.then(|| baggage::encode(&local));
    let tunnel = incoming.accept(described.as_deref()).map_err(ConnError::Tunnel)?;
    let meter = conn.meter();
    let cut = unless_revoked(watched.until_refused(pod), arrival.standing.revoked());
    settle(Box::pin(tunnel.relay(application, &meter, cut, &pod.node.relay)).await)
}

/// What a request asks for, and what it says about its client.
struct Asked {
    authority: Result<hbone::Authority, hbone::RequestError>,
    /// The service that the client meant.
    meant: Option<Str>,
    told: Option<Baggage>,
    network: Option<Vec<u8>>,
}

impl Asked {
    fn of(incoming: &Incoming) -> Self {
        Self {
            authority: hbone::request(incoming.method(), incoming.authority()),
            meant: incoming.header("forwarded").and_then(|header| forwarded::parse(header).host),
            told: incoming.header("baggage").map(baggage::parse),
            network: incoming.header("x-forwarded-network").map(<[u8]>::to_vec),
        }
    }
}

/// A stream that may enter, with the application's socket.
struct Entered {
    local: Arc<Workload>,
    watched: Watched,
    application: TcpStream,
}

async fn enter(arrival: &Arrival, conn: &mut Conn, asked: Asked) -> Result<Entered, ConnError> {
    let pod = &arrival.pod;
    conn.admitted()?;
    let node = &pod.node;
    conn.facts.destination_addr = Some(arrival.local);
    conn.facts.source_identity = Some(arrival.identity.clone());
    conn.facts.source = source(arrival, asked.network.as_deref(), asked.told);
    let authority = asked.authority?;
    conn.facts.hbone_target = Some(authority.clone());
    let local = node.live.local_workload(&pod.info).await?;
    conn.facts.destination_identity = Some(local.identity());
    conn.facts.destination = Party::Workload(Arc::clone(&local));
    conn.facts.original = asked.meant.as_ref().map(ToString::to_string);
    let request = InboundRequest {
        authority,
        source: arrival.source,
        local: arrival.local,
        forwarded_host: asked.meant,
    };
    let admitted = node.live.decide(None, |world| decide::admit(world, &local, &request));
    let admission = admitted.await??;
    conn.facts.service = admission.service;
    conn.facts.landing = Some(admission.target);
    conn.opened();
    let connection = Connection {
        source: arrival.source,
        identity: Some(arrival.identity.clone()),
        target: admission.target,
    };
    let watched = policy::ask(pod, &local, &connection).map_err(ConnError::Denied)?;
    let application = deliver(arrival, &watched.permit, admission.tunnel).await?;
    Ok(Entered { local, watched, application })
}

/// Connects to the application that policy permits, and tells it whose connection it is if it takes PROXY protocol.
async fn deliver(
    arrival: &Arrival,
    permit: &Permit,
    tunnel: Option<ProxyTunnel>,
) -> Result<TcpStream, ConnError> {
    let pod = &arrival.pod;
    let (target, loopback) = match &tunnel {
        Some(tunnel) => (tunnel.dials(permit.target()), tunnel.loopback),
        None => (permit.target(), false),
    };
    // What comes over loopback has to come from there: any other source would not find its way back.
    let as_client = (arrival.transparent && !loopback).then_some(arrival.source.ip());
    let header = tunnel.map(|tunnel| tunnel.header.encode(Some(&arrival.identity))).transpose()?;
    let mut application = dial(&pod.netns, &pod.sockets, target, as_client).await.map_err(ConnError::Dial)?;
    if let Some(header) = header {
        // A fresh socket takes it whole: an application that reads nothing cannot make us wait here.
        application.write_all(&header).await.map_err(ConnError::WriteHeader)?;
    }
    Ok(application)
}

/// The source as the control plane knows it by its address; as it describes itself when it is of another network.
fn source(arrival: &Arrival, network: Option<&[u8]>, told: Option<Baggage>) -> Party {
    let node = &arrival.pod.node;
    let elsewhere = network.is_some_and(|network| !network.eq_ignore_ascii_case(node.network.as_bytes()));
    if !elsewhere
        && let Some(workload) = node.live.now_known().workload_at(&node.network, arrival.source.ip())
    {
        return Party::Workload(Arc::clone(workload));
    }
    told.map_or(Party::Unknown, |told| Party::Told(Box::new(told)))
}
