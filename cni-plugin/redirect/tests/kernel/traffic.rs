//! Connections that meet the rules: those that exist live on, those that begin are captured, and none slips past.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, Kind, Settings, apply};
use socket2::{Protocol, Socket, Type};

use crate::rig::{APP, Lab, PATIENCE, accept, connect, connect_from, exchange, patient, planned};

/// A name and what it promises.
type Row = (&'static str, fn(&Backend, Family));

pub(crate) const TESTS: &[Row] = &[
    ("connections_that_exist_live_on_and_new_ones_are_captured", connections_that_exist_live_on),
    ("tunnels_probes_and_self_calls_are_not_captured", tunnels_probes_and_self_calls_are_not_captured),
    ("the_application_sees_its_clients_and_answers_through_the_proxy", the_application_sees_its_clients),
    ("no_first_packet_opens_a_way_past_the_proxy", no_first_packet_opens_a_way_past_the_proxy),
    ("no_old_connection_opens_a_way_past_the_proxy", no_old_connection_opens_a_way_past_the_proxy),
    ("a_released_pod_keeps_what_its_proxy_carries", a_released_pod_keeps_what_its_proxy_carries),
    ("a_withdrawn_pod_is_reached_directly_again", a_withdrawn_pod_is_reached_directly_again),
];

fn connections_that_exist_live_on(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let server = lab.peer.inside(|| TcpListener::bind((lab.any(), 9090)).unwrap());
    let inbound: Vec<_> = (0..2).map(|_| lab.connect_to_app()).collect();
    let outbound: Vec<_> = (0..2)
        .map(|_| {
            let app = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
            (app, accept(&server))
        })
        .collect();
    lab.apply(backend);
    // In each pair, the outside speaks first on one connection and the application on the other.
    for pairs in [inbound, outbound] {
        let [(one_a, one_b), (two_a, two_b)] = <[_; 2]>::try_from(pairs).unwrap();
        exchange(&one_a, &one_b);
        exchange(&one_b, &one_a);
        exchange(&two_b, &two_a);
        exchange(&two_a, &two_b);
    }
    let new = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
    exchange(&new, &accept(&lab.inbound));
    let new = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&new, &accept(&lab.outbound));
}

fn tunnels_probes_and_self_calls_are_not_captured(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let tunnel = lab.pod.inside(|| TcpListener::bind((lab.any(), 15008)).unwrap());
    let probe: IpAddr = match family {
        Family::V4 => Settings::default().probe_v4.into(),
        Family::V6 => Settings::default().probe_v6.into(),
    };
    let length = if family == Family::V4 { 32 } else { 128 };
    lab.peer
        .run(&format!("ip addr add {probe}/{length} dev eth0 {}", if length == 128 { "nodad" } else { "" }));
    lab.pod.run(&format!("ip route add {probe}/{length} dev eth0"));
    lab.apply(backend);
    let new = lab.peer.inside(|| connect((lab.pod_address(), 15008).into()));
    exchange(&new, &accept(&tunnel));
    let probing =
        lab.peer.inside(|| connect_from((probe, 0).into(), (lab.pod_address(), APP).into()).unwrap());
    exchange(&probing, &accept(&lab.app));
    for address in [lab.pod_address(), lab.loopback()] {
        let call = lab.pod.inside(|| connect((address, APP).into()));
        exchange(&call, &accept(&lab.app));
    }
}

fn the_application_sees_its_clients(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    lab.apply(backend);
    let client = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
    let captured = accept(&lab.inbound);
    exchange(&client, &captured);
    let (forwarded, app) = forward(&lab, family);
    exchange(&forwarded, &app);
    exchange(&app, &forwarded);
}

/// A connection from the proxy to the application with the peer's address, as both see it.
fn forward(lab: &Lab, family: Family) -> (TcpStream, TcpStream) {
    let spoofed: SocketAddr = (lab.peer_address(), 0).into();
    let forwarded = lab.pod.inside(|| {
        let socket = Socket::new(lab.domain(), Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_mark(0x539).unwrap();
        match family {
            Family::V4 => socket.set_ip_transparent_v4(true).unwrap(),
            Family::V6 => socket.set_ip_transparent_v6(true).unwrap(),
        }
        socket.bind(&spoofed.into()).unwrap();
        let app = SocketAddr::from((lab.pod_address(), APP));
        socket.connect_timeout(&app.into(), PATIENCE).unwrap();
        patient(socket.into())
    });
    let app = accept(&lab.app);
    assert_eq!(app.peer_addr().unwrap().ip(), lab.peer_address());
    (forwarded, app)
}

/// A connection into the pod, one out of it, and the proxy's to the application: all live on, and one that it begins
/// for a tunnel that it still has comes through too.
fn a_released_pod_keeps_what_its_proxy_carries(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let server = lab.peer.inside(|| TcpListener::bind((lab.any(), 9090)).unwrap());
    let call = || lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    lab.apply(backend);
    let client = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
    let mut carried = vec![(client, accept(&lab.inbound)), forward(&lab, family)];
    let caller = call();
    carried.push((caller, accept(&lab.outbound)));
    let both_ways = |pairs: &[(TcpStream, TcpStream)]| {
        for (one, other) in pairs {
            exchange(one, other);
            exchange(other, one);
        }
    };
    both_ways(&carried);
    // Twice: an agent that begins meanwhile does it again.
    for _ in 0..2 {
        apply::release(backend, lab.pod.as_fd(), &planned(false)).unwrap();
        both_ways(&carried);
    }
    let direct = call();
    let new = [lab.connect_to_app(), (direct, accept(&server)), forward(&lab, family)];
    both_ways(&new);
    both_ways(&carried);
    apply::remove(backend, lab.pod.as_fd()).unwrap();
    both_ways(&new[..2]);
}

/// The packet: an ACK with an MD5 option, which a listener drops without an answer. The kernel tracks it as the middle
/// of a connection.
fn no_first_packet_opens_a_way_past_the_proxy(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    lab.apply(backend);
    let from = |port| SocketAddr::from((lab.peer_address(), port));
    let to = SocketAddr::from((lab.pod_address(), APP));
    let attack = |port| {
        lab.peer.inside(|| {
            // An exchange first, so that no packet waits for the peer's link-layer address.
            Socket::new(lab.domain(), Type::RAW, Some(Protocol::TCP))
                .unwrap()
                .send_to(&ack_with_md5(from(port), to), &SocketAddr::from((lab.pod_address(), 0)).into())
                .unwrap();
            connect_from(from(port), to)
        })
    };
    drop(lab.peer.inside(|| connect(to)));
    drop(accept(&lab.inbound));
    let error = attack(40_001).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // Proof that the attack is one: without the rules that answer it, it reaches the application.
    lab.pod.run(&match backend.kind() {
        Kind::Nftables => "nft flush chain inet istio-ambient-mangle istio-prerouting".to_owned(),
        Kind::Iptables(_) if family == Family::V4 => format!("{} -t mangle -F ISTIO_PRERT", backend.kind()),
        Kind::Iptables(_) => format!("{} -t mangle -F ISTIO_PRERT", backend.kind()).replace("ip", "ip6"),
    });
    exchange(&attack(40_002).unwrap(), &accept(&lab.app));
}

/// The kernel first sees the old connection when the application speaks, so the client's side is its answering side.
/// Opened again from there after a reset, it would be no connection that the kernel tracks.
fn no_old_connection_opens_a_way_past_the_proxy(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let (client, app) = lab.connect_to_app();
    lab.apply(backend);
    exchange(&app, &client);
    let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    Socket::from(client).set_linger(Some(Duration::ZERO)).unwrap();
    let mut app = app;
    assert_eq!(app.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    if let Ok(new) = lab.peer.inside(|| connect_from(from, to)) {
        exchange(&new, &accept(&lab.inbound));
    }
    lab.app.set_nonblocking(true).unwrap();
    assert_eq!(lab.app.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

fn a_withdrawn_pod_is_reached_directly_again(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    lab.apply(backend);
    apply::remove(backend, lab.pod.as_fd()).unwrap();
    let (client, app) = lab.connect_to_app();
    exchange(&client, &app);
}

/// A TCP header (RFC 9293 3.1) with an MD5 signature option (RFC 2385) that nobody expects.
fn ack_with_md5(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend(1000_u32.to_be_bytes());
    segment.extend(5000_u32.to_be_bytes());
    segment.extend([10 << 4, 0x10]);
    segment.extend(u16::MAX.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend([19, 18]);
    segment.extend([7; 16]);
    segment.extend([1, 1]);
    let mut pseudo = octets(from.ip());
    pseudo.extend(octets(to.ip()));
    pseudo.extend(u32::try_from(segment.len()).unwrap().to_be_bytes());
    pseudo.extend([0, 0, 0, 6]);
    let sum = [pseudo.as_slice(), &segment].concat().chunks(2).fold(0_u32, |sum, pair| {
        let sum = pair.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) + sum;
        (sum & 0xffff) + (sum >> 16)
    });
    let checksum = !u16::try_from(sum).unwrap();
    segment.splice(16..18, checksum.to_be_bytes());
    segment
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
