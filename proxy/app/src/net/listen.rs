//! Listeners inside a pod's network namespace.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use super::netns::Netns;
use crate::config::{Keepalive, SocketConfig};

/// Connections the kernel completes ahead of us. ztunnel keeps 128; a connect storm overruns that at once.
const BACKLOG: i32 = 1_024;

/// Why a port of the data plane cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on port {port} in the pod: {attempt}")]
pub struct ListenError {
    /// The port.
    pub port: u16,
    /// The step that failed.
    pub attempt: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// A listener, and whether its connections may be carried on under the peer's address.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The bound socket.
    pub(crate) socket: TcpListener,
    /// Whether the socket is transparent, so that sockets to the application may bind the client's address.
    pub(crate) transparent: bool,
}

/// One port of a pod, and how it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its number.
    pub(crate) number: u16,
    /// Only applications of the pod itself reach it, over `127.0.0.1`; otherwise it is on every address.
    pub(crate) loopback: bool,
    /// Whether TCP finds out that a peer is gone; what else finds out needs no probes.
    pub(crate) keepalive: bool,
}

/// Binds a port of the pod.
///
/// # Errors
/// The namespace cannot be entered, the port cannot be bound, or a required option is refused.
pub(crate) fn listen(netns: &Netns, config: &SocketConfig, port: Port) -> Result<Listener, ListenError> {
    let fail = |attempt| move |source| ListenError { port: port.number, attempt, source };
    let (socket, transparent) =
        netns.run(|| bind(config, port)).map_err(fail("enter the network namespace"))??;
    let socket = TcpListener::from_std(socket.into()).map_err(fail("register with the runtime"))?;
    Ok(Listener { socket, transparent })
}

fn bind(config: &SocketConfig, port: Port) -> Result<(Socket, bool), ListenError> {
    let fail = |attempt| move |source| ListenError { port: port.number, attempt, source };
    let (socket, address) =
        if port.loopback { loopback_socket(port.number) } else { wildcard_socket(config.ipv6, port.number) }
            .map_err(fail("create a socket"))?;
    socket.set_nonblocking(true).map_err(fail("set non-blocking"))?;
    if let Some(mark) = config.listener_mark {
        socket.set_mark(mark).map_err(fail("set SO_MARK, which needs CAP_NET_ADMIN"))?;
    }
    // What an application that had the port left behind (TIME_WAIT) would keep it for a minute from a socket that has only
    // the other option.
    socket.set_reuse_address(true).map_err(fail("set SO_REUSEADDR"))?;
    if config.reuse_port {
        socket.set_reuse_port(true).map_err(fail("set SO_REUSEPORT"))?;
    }
    // Accepted sockets inherit both: no system call per connection.
    socket.set_tcp_nodelay(true).map_err(fail("set TCP_NODELAY"))?;
    if let Some(keepalive) = config.keepalive.filter(|_| port.keepalive) {
        set_keepalive(&socket, keepalive).map_err(fail("set TCP keepalive"))?;
    }
    socket.bind(&address.into()).map_err(fail("bind"))?;
    let transparent = match config.original_source {
        Some(false) => false,
        Some(true) => {
            socket
                .set_ip_transparent_v4(true)
                .map_err(fail("set IP_TRANSPARENT, which needs CAP_NET_ADMIN"))?;
            true
        }
        None => socket.set_ip_transparent_v4(true).is_ok(),
    };
    socket.listen(BACKLOG).map_err(fail("listen"))?;
    Ok((socket, transparent))
}

/// Dual stack where the pod's kernel has IPv6, else IPv4 alone.
fn wildcard_socket(ipv6: bool, port: u16) -> io::Result<(Socket, SocketAddr)> {
    if ipv6
        && let Ok(socket) = Socket::new(Domain::IPV6, Type::STREAM.cloexec(), Some(Protocol::TCP))
        && socket.set_only_v6(false).is_ok()
    {
        return Ok((socket, (Ipv6Addr::UNSPECIFIED, port).into()));
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    Ok((socket, (Ipv4Addr::UNSPECIFIED, port).into()))
}

fn loopback_socket(port: u16) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    Ok((socket, (Ipv4Addr::LOCALHOST, port).into()))
}

pub(super) fn set_keepalive(socket: &Socket, keepalive: Keepalive) -> io::Result<()> {
    let params = TcpKeepalive::new()
        .with_time(keepalive.time)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.retries);
    socket.set_tcp_keepalive(&params)?;
    if keepalive.user_timeout {
        let total = keepalive.interval.saturating_mul(keepalive.retries).saturating_add(keepalive.time);
        socket.set_tcp_user_timeout(Some(total))?;
    }
    Ok(())
}
