//! One application that asks for its connection by SOCKS5: what it asks for, and then as any captured connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::decide::Flow;
use proxy_core::wire::socks5::{self, Heard, ProtocolError, Reply, Target};
use proxy_core::{Reason, Str};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::captured::Captured;
use crate::conn::Conn;
use crate::dns;
use crate::metrics::traffic::Reporter;
use crate::outbound;
use crate::pod::Pod;

/// How long a client may take to say where it wants to go.
const NEGOTIATION: Duration = Duration::from_secs(10);

/// Why a client was not told that it is connected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocksError {
    #[error("the client's socket failed before it was asked for")]
    Io(#[source] std::io::Error),
    #[error("the client did not say where it wants to go within {NEGOTIATION:?}")]
    TimedOut,
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("host {0} has no address that is known here")]
    UnknownHost(Str),
}

impl SocksError {
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Io(_) | Self::TimedOut => Reason::Io,
            Self::Protocol(error) => error.reason(),
            Self::UnknownHost(_) => Reason::NoRoute,
        }
    }

    const fn reply(&self) -> Reply {
        match self {
            Self::Io(_) | Self::TimedOut => Reply::Failed,
            Self::Protocol(_) => Reply::NotSupported,
            Self::UnknownHost(_) => Reply::HostUnreachable,
        }
    }
}

/// Serves one client and records how its connection ended, once.
pub(crate) async fn serve(pod: Arc<Pod>, client: TcpStream, peer: SocketAddr) {
    let mut conn = Conn::accepted(&pod, Reporter::Source, peer);
    let (client, asked) = match negotiate(&pod, client, peer).await {
        Ok((client, destination)) => (client, destination),
        Err(error) => return conn.close(Err(error.into())),
    };
    let mut client = Captured::new(client);
    let flow = Flow::new(peer, asked);
    let result = Box::pin(outbound::carry(&pod, &pod.asked, &mut conn, &mut client, flow)).await;
    conn.close(result);
    client.refuse().await;
}

/// Finds out where the client wants to go, and tells it that it is there: before anybody was dialed, as ztunnel does.
async fn negotiate(
    pod: &Arc<Pod>,
    mut client: TcpStream,
    peer: SocketAddr,
) -> Result<(TcpStream, SocketAddr), SocksError> {
    let asked = timeout(NEGOTIATION, ask(pod, &mut client, peer)).await.unwrap_or(Err(SocksError::TimedOut));
    match asked {
        Ok(destination) => {
            client.write_all(&Reply::Granted.encode()).await.map_err(SocksError::Io)?;
            Ok((client, destination))
        }
        Err(error) => {
            // Whether the client still hears it changes nothing.
            let _ = client.write_all(&error.reply().encode()).await;
            let _ = client.shutdown().await;
            Err(error)
        }
    }
}

async fn ask(pod: &Arc<Pod>, client: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, SocksError> {
    listen(client, socks5::greeting).await?;
    client.write_all(&socks5::METHOD).await.map_err(SocksError::Io)?;
    let target = listen(client, socks5::request).await?;
    match target {
        Target::Addr(address) => Ok(address),
        Target::Host(host, port) => {
            // Of the client's own family, as ztunnel chooses; a host that has none may still have one of the other.
            let own = peer.is_ipv6();
            let address = match dns::resolve(pod, &host, own).await {
                Some(address) => Some(address),
                None => dns::resolve(pod, &host, !own).await,
            };
            Ok(SocketAddr::new(address.ok_or(SocksError::UnknownHost(host))?, port))
        }
    }
}

/// Reads one message of the client, and no byte of what it sends after it.
async fn listen<T>(
    client: &mut TcpStream,
    parse: impl Fn(&[u8]) -> Result<Heard<T>, ProtocolError>,
) -> Result<T, SocksError> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes)? {
            Heard::All(message) => return Ok(message),
            Heard::Lacks(more) => {
                let there = bytes.len();
                bytes.resize(there + more, 0);
                let rest = bytes.get_mut(there..).unwrap_or_default();
                client.read_exact(rest).await.map_err(SocksError::Io)?;
            }
        }
    }
}
