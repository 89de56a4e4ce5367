//! One plaintext connection to the application, captured on its way in.

use std::net::SocketAddr;
use std::sync::Arc;

use proxy_core::decide::{Connection, Flow, inbound};
use proxy_hbone::relay_tcp;
use tokio::net::TcpStream;

use crate::captured::{Captured, settle};
use crate::conn::{Conn, Party};
use crate::error::ConnError;
use crate::metrics::traffic::Reporter;
use crate::net::dial::dial;
use crate::net::orig_dst::original_destination;
use crate::pod::Pod;
use crate::policy;

/// Serves one captured plaintext connection and records how it ended, once.
pub(crate) async fn serve(pod: Arc<Pod>, client: TcpStream, peer: SocketAddr, transparent: bool) {
    let mut conn = Conn::accepted(&pod, Reporter::Destination, peer);
    let mut client = Captured::new(client);
    let result = Box::pin(drive(&pod, &mut conn, &mut client, peer, transparent)).await;
    conn.close(result);
    client.refuse().await;
}

async fn drive(
    pod: &Arc<Pod>,
    conn: &mut Conn,
    client: &mut Captured,
    peer: SocketAddr,
    transparent: bool,
) -> Result<(), ConnError> {
    conn.admitted()?;
    let destination = client.socket().and_then(original_destination).ok_or(ConnError::Captured)?;
    let flow = Flow::new(peer, destination);
    conn.captured(flow);
    let local = pod.node.live.local_workload(&pod.info).await?;
    conn.facts.destination = Party::Workload(Arc::clone(&local));
    let admission = {
        let world = pod.node.live.now_known();
        if let Some(source) = world.workload_at(&pod.node.network, flow.source.ip()) {
            conn.facts.source = Party::Workload(Arc::clone(source));
        }
        inbound::admit_plain(&world, &local, flow)?
    };
    conn.facts.service = admission.service;
    conn.opened();
    let asked = Connection { source: flow.source, identity: None, target: admission.target };
    let watched = policy::ask(pod, &local, &asked).map_err(ConnError::Denied)?;
    let source = transparent.then_some(flow.source.ip());
    let target = watched.permit.target();
    let application = dial(&pod.netns, &pod.sockets, target, source).await.map_err(ConnError::Dial)?;
    let meter = conn.meter();
    let cut = watched.until_refused(pod);
    settle(relay_tcp(client.release()?, application, &meter, cut, &pod.node.relay).await)
}
