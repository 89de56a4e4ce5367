//! Passes a query on to the name servers and brings the response back, both as they are but for the id.

use std::io;
use std::net::SocketAddr;

use proxy_core::dns::{answers, id, is_refusal, is_retryable, set_id};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::config::ResolvConf;
use crate::pod::Pod;

/// Where the sockets are made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// In the pod, so that the servers see the pod, and network policy applies to it.
    Pod(&'a Pod),
    /// In the process's own namespace.
    Home,
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    #[error("no name server is configured")]
    NoServer,
    #[error("no answer from {0}")]
    Silent(SocketAddr),
    #[error("ask {server}: {source}")]
    Io {
        server: SocketAddr,
        #[source]
        source: io::Error,
    },
}

impl Origin<'_> {
    /// A socket with a port of its own, which the kernel draws, and one peer.
    async fn udp(self, server: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::from_std(self.make(server, Type::DGRAM, Protocol::UDP)?.into())?;
        socket.connect(server).await?;
        Ok(socket)
    }

    async fn tcp(self, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.make(server, Type::STREAM, Protocol::TCP)?;
        socket.set_tcp_nodelay(true)?;
        TcpSocket::from_std_stream(socket.into()).connect(server).await
    }

    fn make(self, server: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket =
            || Socket::new(Domain::for_address(server), kind.cloexec().nonblocking(), Some(protocol));
        match self {
            Self::Home => socket(),
            Self::Pod(pod) => {
                let socket = pod.netns.run(socket)??;
                if let Some(mark) = pod.sockets.mark {
                    socket.set_mark(mark)?;
                }
                Ok(socket)
            }
        }
    }
}

/// Asks the servers one after the other, over UDP, until one answers. The response has the query's id.
pub(super) async fn exchange(
    from: Origin<'_>,
    servers: &ResolvConf,
    query: &[u8],
) -> Result<Vec<u8>, UpstreamError> {
    let rounds = if is_retryable(query) { servers.attempts } else { 1 };
    let mut failed = UpstreamError::NoServer;
    let mut refused = None;
    for _ in 0..rounds {
        for server in in_order(servers) {
            match timeout(servers.patience(), ask(from, server, query)).await {
                // The next one may know better, as an application's own resolver would find out.
                Ok(Ok(response)) if is_retryable(query) && is_refusal(&response) => {
                    refused.get_or_insert(response);
                }
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(source)) => failed = UpstreamError::Io { server, source },
                Err(_) => failed = UpstreamError::Silent(server),
            }
        }
        if refused.is_some() {
            break;
        }
    }
    refused.ok_or(failed)
}

async fn ask(from: Origin<'_>, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let socket = from.udp(server).await?;
    let mut sent = query.to_vec();
    set_id(&mut sent, random());
    socket.send(&sent).await?;
    let mut response = Vec::with_capacity(LONGEST);
    loop {
        response.clear();
        socket.recv_buf(&mut response).await?;
        // Anything else is late, or a guess.
        if answers(&sent, &response) {
            set_id(&mut response, id(query).unwrap_or_default());
            return Ok(response);
        }
    }
}

/// A connection to the first server that takes one.
pub(super) async fn connect(from: Origin<'_>, servers: &ResolvConf) -> Result<TcpStream, UpstreamError> {
    let mut failed = UpstreamError::NoServer;
    for server in in_order(servers) {
        match timeout(servers.patience(), from.tcp(server)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => failed = UpstreamError::Io { server, source },
            Err(_) => failed = UpstreamError::Silent(server),
        }
    }
    Err(failed)
}

fn in_order(servers: &ResolvConf) -> impl Iterator<Item = SocketAddr> {
    let count = servers.servers.len();
    let first = if servers.rotate && count > 0 { fastrand::usize(..count) } else { 0 };
    servers.servers.iter().copied().cycle().skip(first).take(count)
}

/// What nobody can guess: who could, might answer in a server's place (RFC 5452 9.2).
pub(super) fn random() -> u16 {
    let mut bytes = [0; 2];
    let provider = rustls::crypto::CryptoProvider::get_default();
    if provider.is_none_or(|provider| provider.secure_random.fill(&mut bytes).is_err()) {
        return fastrand::u16(..);
    }
    u16::from_be_bytes(bytes)
}

const LONGEST: usize = 65_535;
