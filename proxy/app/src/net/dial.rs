//! Connects from inside a pod's network namespace, under the pod's address or the original client's.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::listen::set_keepalive;
use super::netns::Netns;
use crate::config::SocketConfig;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// A socket could not be made in the pod's namespace.
    #[error("open a socket in the pod: {attempt}")]
    Socket {
        /// The step that failed.
        attempt: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The peer's kernel refused, or the network did.
    #[error("connect to {to}")]
    Connect {
        /// Who was dialed.
        to: SocketAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("connect to {to}: no answer in {after:?}")]
    TimedOut {
        /// Who was dialed.
        to: SocketAddr,
        /// The limit.
        after: std::time::Duration,
    },
}

/// Connects to `to`; with `source`, from that address (any port), as the application behind us expects to see it.
///
/// # Errors
/// See [`DialError`].
pub(crate) async fn dial(
    netns: &Netns,
    config: &SocketConfig,
    to: SocketAddr,
    source: Option<IpAddr>,
) -> Result<TcpStream, DialError> {
    let fail = |attempt| move |source| DialError::Socket { attempt, source };
    let socket = netns.run(|| open(config, to, source)).map_err(fail("enter the network namespace"))??;
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(to);
    match timeout(config.connect_timeout, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) if source.kind() == io::ErrorKind::TimedOut => {
            Err(DialError::TimedOut { to, after: config.connect_timeout })
        }
        Ok(Err(source)) => Err(DialError::Connect { to, source }),
        Err(_) => Err(DialError::TimedOut { to, after: config.connect_timeout }),
    }
}

fn open(config: &SocketConfig, to: SocketAddr, source: Option<IpAddr>) -> Result<Socket, DialError> {
    let fail = |attempt| move |source| DialError::Socket { attempt, source };
    let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.cloexec().nonblocking(), Some(Protocol::TCP))
        .map_err(fail("create"))?;
    if let Some(mark) = config.mark {
        socket.set_mark(mark).map_err(fail("set SO_MARK, which needs CAP_NET_ADMIN"))?;
    }
    socket.set_tcp_nodelay(true).map_err(fail("set TCP_NODELAY"))?;
    if let Some(keepalive) = config.keepalive {
        set_keepalive(&socket, keepalive).map_err(fail("set TCP keepalive"))?;
    }
    // A connection of the pod to itself would have one address on both ends: leave the choice to the kernel.
    if let Some(source) = source.filter(|ip| *ip != to.ip() && ip.is_ipv4() == to.is_ipv4())
        && let Err(error) = bind_as(&socket, source)
    {
        tracing::warn!("cannot keep source address {source}, the application sees the pod's own: {error}");
    }
    Ok(socket)
}

fn bind_as(socket: &Socket, source: IpAddr) -> io::Result<()> {
    match source {
        IpAddr::V4(_) => {
            socket.set_ip_transparent_v4(true)?;
            socket.set_freebind_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_ip_transparent_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    // The port is chosen when the destination is known. Chosen here it would be one for all destinations, and a client
    // could have no more connections at once than there are ephemeral ports; on a kernel without the option it still can.
    let _ = setsockopt(socket, IpBindAddressNoPort, &true);
    socket.bind(&SocketAddr::new(source, 0).into())
}
