//! Calls to the proxy's own ports, from where they may not come.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tests::lab::tcp::Conn;
use tests::lab::{Netns, Pod};

use super::{captured, meshed, uncaptured};

/// What becomes of a call that is no HTTP request, no TLS and no SOCKS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Nobody listens.
    Refused,
    /// Accepted, by one proxy or another, and ended without an answer.
    Ended,
    /// Told by an HTTP server that it is no HTTP.
    Answered,
}
use Call::{Answered, Ended, Refused};

pub(crate) fn no_call_to_the_proxy_s_own_ports_gets_through_or_loops() {
    let lab = meshed();
    let inside = captured(&lab, "in", "a");
    let outside = uncaptured(&lab, "out", "a");
    let node = lab.node("a").ip();
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ports = [15001, 15006, 15008, 15080, 15000, 15020, 15021];
    #[rustfmt::skip]
    let table: [(&str, &Pod, IpAddr, [Call; 7]); 5] = [
        // Its own proxy accepts whatever it dials, and only then finds out that nobody is there.
        ("a captured pod calls the proxy", &inside, node, [Ended, Ended, Ended, Ended, Ended, Answered, Answered]),
        ("a captured pod calls itself", &inside, inside.ip(), [Ended, Ended, Ended, Refused, Refused, Refused, Refused]),
        ("a captured pod calls loopback", &inside, localhost, [Ended, Ended, Ended, Refused, Refused, Refused, Refused]),
        ("an uncaptured pod calls the proxy", &outside, node, [Refused, Refused, Ended, Refused, Refused, Answered, Answered]),
        ("an uncaptured pod calls a captured one", &outside, inside.ip(), [Ended; 7]),
    ];
    for (row, client, to, want) in table {
        let got = ports.map(|port| call(client.netns(), SocketAddr::new(to, port)));
        assert_eq!(got, want, "{row}, ports {ports:?}");
    }
    for node in lab.nodes() {
        node.proxy().process().assert_running();
    }
}

fn call(netns: &Netns, to: SocketAddr) -> Call {
    let Ok(mut conn) = Conn::open(netns, to) else { return Refused };
    let _ = conn.try_say("hello world\r\n\r\n");
    let (heard, _) = conn.rest();
    // A TLS alert is no answer either.
    if heard.starts_with("HTTP/1.1 400") { Answered } else { Ended }
}
