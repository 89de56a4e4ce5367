//! Where a captured connection was going before it was redirected to us.

use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::canonical;

/// The destination that the application dialed: the kernel's original destination, else the socket's own address.
///
/// `None` only when the socket has no address any more.
pub(crate) fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let local = stream.local_addr().ok()?;
    let socket = SockRef::from(stream);
    // A dual-stack listener shows IPv4 as mapped addresses; its NAT entry is found by the family on the wire.
    let redirected =
        if canonical(local).is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    Some(canonical(redirected.ok().and_then(|address| address.as_socket()).unwrap_or(local)))
}
