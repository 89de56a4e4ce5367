//! DNS over UDP: one socket of a pod, each query that is passed on in a task of its own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proxy_core::dns::{Transport, Verdict, failure};
use tokio::net::UdpSocket;

use super::log::{self, Asked};
use super::{Service, upstream};

/// Serves until the pod closes. Queries under way are answered after that, from the same address: it stays bound until
/// the last one is, but takes no more.
pub(super) async fn serve(service: Service, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; LONGEST];
    loop {
        let received = tokio::select! {
            () = service.pod.closing.cancelled() => break,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((length, client)) => take(&service, &socket, &buffer, length, client).await,
            Err(error) => {
                tracing::debug!("receive a DNS query: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    retire(&socket).await;
    take_queued(&service, &socket, &mut buffer).await;
}

/// What came before the socket retired. No more than a queue holds: one that could not retire must not serve for ever.
async fn take_queued(service: &Service, socket: &Arc<UdpSocket>, buffer: &mut [u8]) {
    for _ in 0..QUEUE {
        let Ok((length, client)) = socket.try_recv_from(buffer) else { return };
        take(service, socket, buffer, length, client).await;
    }
}

/// Leaves new queries to the successor that is bound beside us: a connected socket gets its peer's packets only, and
/// nobody has that address.
async fn retire(socket: &UdpSocket) {
    let v4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
    let nobody: SocketAddr =
        if v4 { (Ipv4Addr::LOCALHOST, DISCARD).into() } else { (Ipv6Addr::LOCALHOST, DISCARD).into() };
    if let Err(error) = socket.connect(nobody).await {
        tracing::debug!("a DNS socket stays open to queries until it closes: {error}");
    }
}

async fn take(service: &Service, socket: &Arc<UdpSocket>, buffer: &[u8], length: usize, client: SocketAddr) {
    let Some(message) = buffer.get(..length) else { return };
    let (verdict, asked) = service.decide(message, Transport::Udp);
    match verdict {
        Verdict::Answer(answer) => send(socket, &answer.message, client).await,
        Verdict::Relay => match Arc::clone(&service.queries).try_acquire_owned() {
            Ok(place) => {
                let (service, socket, message) = (service.clone(), Arc::clone(socket), message.to_vec());
                let tasks = service.pod.tasks.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = relay(&service, &socket, message, client, &asked) => {}
                        () = service.pod.cut.cancelled() => {}
                    }
                    drop(place);
                });
            }
            Err(_) => {
                asked.relayed(&service.pod.node.metrics.dns, false);
                log::write(&service.pod, message, "forwarding failed (too many queries at once)", 0);
                refuse(socket, message, client).await;
            }
        },
    }
}

async fn relay(service: &Service, socket: &UdpSocket, message: Vec<u8>, client: SocketAddr, asked: &Asked) {
    let response = upstream::exchange(service.origin(), &service.dns.upstream, &message).await;
    asked.relayed(&service.pod.node.metrics.dns, response.is_ok());
    match response {
        Ok(response) => {
            log::write(&service.pod, &message, "forwarded", 0);
            send(socket, &response, client).await;
        }
        Err(error) => {
            log::write(&service.pod, &message, &format!("forwarding failed ({error})"), 0);
            refuse(socket, &message, client).await;
        }
    }
}

async fn refuse(socket: &UdpSocket, message: &[u8], client: SocketAddr) {
    if let Some(failure) = failure(message) {
        send(socket, &failure, client).await;
    }
}

async fn send(socket: &UdpSocket, message: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(message, client).await {
        tracing::debug!("send a DNS response to {client}: {error}");
    }
}

const LONGEST: usize = 65_535;
/// Queries that fit into the kernel's default receive buffer, which counts at least this much for each.
const QUEUE: usize = 212_992 / 256;
/// After an error that may come back at once.
const PAUSE: Duration = Duration::from_millis(5);
/// Nobody sends from it.
const DISCARD: u16 = 9;
