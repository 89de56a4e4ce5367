//! One captured connection of the application: where it was going, how it gets there, and its bytes until it ends.

mod open;

use std::net::SocketAddr;
use std::sync::Arc;

use cni_plugin_wire::canary;
use proxy_core::decide::{self, Flow, Route, RouteKind};
use proxy_core::model::Workload;
use proxy_core::wire::baggage;
use proxy_core::world::Strictness;
use proxy_hbone::{Pool, Tunnel, relay_tcp};
use tokio::net::TcpStream;

use crate::captured::{Captured, unless_revoked};
use crate::conn::{Conn, Party};
use crate::error::ConnError;
use crate::live::draw;
use crate::metrics::traffic::Reporter;
use crate::net::dial::dial;
use crate::net::orig_dst::original_destination;
use crate::pod::Pod;
use open::Opening;

/// Serves one captured connection and records how it ended, once. The node agent's canaries are not the application's
/// connections: they are only counted.
pub(crate) async fn serve(pod: Arc<Pod>, client: TcpStream, peer: SocketAddr) {
    let mut client = Captured::new(client);
    let destination = client.socket().and_then(original_destination);
    if destination.is_some_and(canary::is_canary) {
        pod.node.metrics.canaries.inc();
        return client.land().await;
    }
    let mut conn = Conn::accepted(&pod, Reporter::Source, peer);
    let result = match destination {
        Some(destination) => {
            let flow = Flow::new(peer, destination);
            Box::pin(carry(&pod, &pod.pool, &mut conn, &mut client, flow)).await
        }
        None => Err(ConnError::Captured),
    };
    conn.close(result);
    client.refuse().await;
}

/// Carries the client to where `flow` goes, through the tunnels of `pool`.
pub(crate) async fn carry(
    pod: &Arc<Pod>,
    pool: &Pool,
    conn: &mut Conn,
    client: &mut Captured,
    flow: Flow,
) -> Result<(), ConnError> {
    conn.admitted()?;
    let destination = flow.destination;
    conn.captured(flow);
    if destination.ip().is_loopback()
        && pod.node.live.now_known().node().own_ports.contain(destination.port())
    {
        return Err(ConnError::SelfCall);
    }
    let source = pod.node.live.local_workload(&pod.info).await?;
    conn.facts.source = Party::Workload(Arc::clone(&source));
    let pick = draw();
    let route = pod.node.live.decide(Some(&source), |world| decide::route(world, &source, flow, pick));
    let route = route.await??;
    tell_missing(pod, &route);
    routed(conn, &source, &route);
    if !matches!(route.kind, RouteKind::DoubleTunnel { .. }) {
        conn.opened();
    }
    let (meter, limits) = (conn.meter(), pod.node.relay);
    let opening = Opening { pod, pool, source: &source, flow, route: &route };
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
            let tunnel = opening.single(authority, expected).await?;
            let cut = unless_revoked(cut, tunnel.revoked());
            tunnel.relay(client.release()?, &meter, cut, &limits).await
        }
        RouteKind::DoubleTunnel { authority, gateway, expected } => {
            // The labels of such a connection are only known when it is open, so that it counts as opened only then.
            let opened = Box::pin(opening.double(authority, gateway, expected)).await;
            if let Ok(tunnel) = &opened {
                told(conn, tunnel);
            }
            conn.opened();
            let tunnel = opened?;
            let cut = unless_revoked(cut, tunnel.revoked());
            tunnel.relay(client.release()?, &conn.meter(), cut, &limits).await
        }
    };
    crate::captured::settle(ended)
}

/// What the peer behind a gateway says about itself, whom the control plane describes as no more than a place in another
/// network. From a silent one, the record is about the gateway.
fn told(conn: &mut Conn, tunnel: &Tunnel) {
    if let Some(header) = tunnel.baggage() {
        conn.facts.destination = Party::Told(Box::new(baggage::parse(header.as_bytes())));
        conn.facts.destination_identity = Some(tunnel.peer().clone());
    }
}

/// Counts a connection that goes to the mesh in plain text because nothing is known of its destination.
fn tell_missing(pod: &Pod, route: &Route) {
    let world = pod.node.live.now_known();
    let mesh = &world.node().mesh_addresses;
    if mesh.unknown != Strictness::Compat && route.misses(mesh) {
        pod.node.metrics.unknown_destinations.inc();
    }
}

/// What the record may say once the route is known.
fn routed(conn: &mut Conn, source: &Workload, route: &Route) {
    let facts = &mut conn.facts;
    facts.destination_addr = Some(route.next_hop);
    facts.service.clone_from(&route.service);
    if let Some(destination) = &route.destination {
        facts.destination = Party::Workload(Arc::clone(destination));
    }
    facts.nested = matches!(route.kind, RouteKind::DoubleTunnel { .. });
    if let Some(target) = route.hbone_target() {
        facts.hbone_target = Some(target.clone());
        facts.source_identity = Some(source.identity());
        facts.destination_identity = route.destination.as_ref().map(|workload| workload.identity());
    }
}
