//! Where the agent's canary connections go: a connection from inside a pod to one of these addresses, which belong to
//! nobody (RFC 5737, RFC 3849), is answered only where the pod is captured.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// For pods with IPv4.
pub const V4: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), DISCARD));

/// For pods with IPv6.
pub const V6: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), DISCARD, 0, 0));

/// Whether a captured connection is a canary.
#[must_use]
pub fn is_canary(destination: SocketAddr) -> bool {
    destination == V4 || (destination.ip() == V6.ip() && destination.port() == V6.port())
}

/// RFC 863.
const DISCARD: u16 = 9;
