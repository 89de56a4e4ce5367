//! The sockets of a pod's DNS: UDP and TCP of one address together, because a resolver needs both.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use crate::config::{DnsAddress, SocketConfig};
use crate::net::listen::ListenError;
use crate::pod::Pod;

/// Both sockets of one address.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Binds what a pod can have of `wanted`, without what it has. Loopback may lack IPv6 in one pod and have it in another.
pub(super) fn bind(
    pod: &Pod,
    wanted: DnsAddress,
    served: &HashSet<SocketAddr>,
) -> Vec<Result<Sockets, ListenError>> {
    let config = &*pod.sockets;
    let inside = pod.netns.run(|| {
        let addresses = wanted.addresses(config.ipv6 && loopback_has_ipv6());
        let missing = addresses.into_iter().filter(|address| !served.contains(address));
        missing.map(|address| (address, bind_both(config, address))).collect::<Vec<_>>()
    });
    match inside {
        Ok(bound) => bound.into_iter().map(|(address, both)| register(address, both?)).collect(),
        Err(source) => {
            let port = wanted.addresses(false).first().map_or(0, SocketAddr::port);
            vec![Err(ListenError { port, attempt: "enter the network namespace", source })]
        }
    }
}

/// Of the namespace that this thread is in.
fn loopback_has_ipv6() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6").is_ok_and(|off| off.trim() != "1")
}

fn bind_both(config: &SocketConfig, address: SocketAddr) -> Result<(Socket, Socket), ListenError> {
    let udp = bind_one(config, address, Type::DGRAM, Protocol::UDP)?;
    let tcp = bind_one(config, address, Type::STREAM, Protocol::TCP)?;
    tcp.listen(BACKLOG).map_err(|source| failed(address, "listen", source))?;
    Ok((udp, tcp))
}

fn bind_one(
    config: &SocketConfig,
    address: SocketAddr,
    kind: Type,
    protocol: Protocol,
) -> Result<Socket, ListenError> {
    let fail = |attempt| move |source| failed(address, attempt, source);
    let domain = Domain::for_address(address);
    let socket =
        Socket::new(domain, kind.cloexec().nonblocking(), Some(protocol)).map_err(fail("create a socket"))?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(fail("set IPV6_V6ONLY"))?;
    }
    if let Some(mark) = config.listener_mark {
        socket.set_mark(mark).map_err(fail("set SO_MARK, which needs CAP_NET_ADMIN"))?;
    }
    if protocol == Protocol::TCP {
        socket.set_reuse_address(true).map_err(fail("set SO_REUSEADDR"))?;
        socket.set_tcp_nodelay(true).map_err(fail("set TCP_NODELAY"))?;
    }
    if config.reuse_port {
        socket.set_reuse_port(true).map_err(fail("set SO_REUSEPORT"))?;
    }
    socket.bind(&address.into()).map_err(fail("bind"))?;
    Ok(socket)
}

fn register(address: SocketAddr, (udp, tcp): (Socket, Socket)) -> Result<Sockets, ListenError> {
    let fail = |source| failed(address, "register with the runtime", source);
    Ok(Sockets {
        address,
        udp: UdpSocket::from_std(udp.into()).map_err(fail)?,
        tcp: TcpListener::from_std(tcp.into()).map_err(fail)?,
    })
}

const fn failed(address: SocketAddr, attempt: &'static str, source: io::Error) -> ListenError {
    ListenError { port: address.port(), attempt, source }
}

/// Connections the kernel completes ahead of us.
const BACKLOG: i32 = 128;
