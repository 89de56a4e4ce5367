//! Pods that want something of their own: plain traffic for themselves, DNS by the proxy, machines behind an interface.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, DnsListeners, Drift, Plan, PodOverrides, Settings, apply, plan};
use socket2::{Protocol, Socket, Type};

use crate::lab::Namespace;
use crate::rig::{APP, Lab, PATIENCE, accept, connect, exchange, planned};

/// A name and what it promises.
type Row = (&'static str, fn(&Backend, Family));

pub(crate) const TESTS: &[Row] = &[
    ("a_pod_that_takes_plain_traffic_itself_gets_it", a_pod_that_takes_plain_traffic_itself_gets_it),
    (
        "machines_behind_an_interface_speak_through_the_proxy",
        machines_behind_an_interface_speak_through_the_proxy,
    ),
    ("dns_goes_to_the_proxy_and_the_proxys_own_goes_out", dns_goes_to_the_proxy_and_its_own_goes_out),
    ("a_pod_that_changes_its_wishes_is_brought_to_them", a_pod_that_changes_its_wishes_is_brought_to_them),
];

fn a_pod_that_takes_plain_traffic_itself_gets_it(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    apply::apply(backend, lab.pod.as_fd(), &wanting(true, "")).unwrap();
    let (client, app) = lab.connect_to_app();
    exchange(&client, &app);
    let tunnel = lab.pod.inside(|| TcpListener::bind((lab.any(), 15008)).unwrap());
    let peer = lab.peer.inside(|| connect((lab.pod_address(), 15008).into()));
    exchange(&peer, &accept(&tunnel));
    let call = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&call, &accept(&lab.outbound));
}

fn machines_behind_an_interface_speak_through_the_proxy(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let machine = Namespace::new();
    lab.pod.wire("docker7", &machine, "eth0");
    for (side, name, host) in [(&lab.pod, "docker7", 1), (&machine, "eth0", 2)] {
        side.run(&format!(
            "ip addr add 10.99.0.{host}/24 dev {name}; ip addr add fd00:99::{host}/64 dev {name} nodad
             ip link set {name} up"
        ));
    }
    machine.run("ip -4 route add default via 10.99.0.1; ip -6 route add default via fd00:99::1");
    apply::apply(backend, lab.pod.as_fd(), &wanting(false, "virbr0,docker+")).unwrap();
    let call = machine.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&call, &accept(&lab.outbound));
    let client = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
    exchange(&client, &accept(&lab.inbound));
}

/// The proxy asks from the port from which the application has just asked.
fn dns_goes_to_the_proxy_and_its_own_goes_out(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let (proxy, proxy_tcp) = lab.pod.inside(|| {
        let address = (lab.loopback(), 15053);
        (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap())
    });
    let server = lab.peer.inside(|| UdpSocket::bind((lab.any(), 53)).unwrap());
    for socket in [&proxy, &server] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    apply::apply(backend, lab.pod.as_fd(), &planned(true)).unwrap();
    let name_server = SocketAddr::from((lab.peer_address(), 53));
    let query = lab.pod.inside(|| UdpSocket::bind((lab.pod_address(), 0)).unwrap());
    ask(&query, name_server, &proxy);
    let from = query.local_addr().unwrap();
    drop(query);
    let own: UdpSocket = lab.pod.inside(|| {
        let socket = Socket::new(lab.domain(), Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_mark(0x539).unwrap();
        // A program that another test starts holds the port for a moment longer.
        let bound = (0..200).any(|_| {
            thread::sleep(Duration::from_millis(10));
            socket.bind(&from.into()).is_ok()
        });
        assert!(bound, "{from} stays in use");
        socket.into()
    });
    ask(&own, name_server, &server);
    let call = lab.pod.inside(|| connect(name_server));
    exchange(&call, &accept(&proxy_tcp));
}

#[track_caller]
fn ask(query: &UdpSocket, of: SocketAddr, answers: &UdpSocket) {
    query.set_read_timeout(Some(PATIENCE)).unwrap();
    query.send_to(b"question", of).unwrap();
    let mut got = [0; 16];
    let (length, from) = receive(answers, &mut got);
    assert_eq!(got.get(..length), Some(&b"question"[..]));
    answers.send_to(b"answer", from).unwrap();
    let (length, from) = receive(query, &mut got);
    assert_eq!((got.get(..length), from), (Some(&b"answer"[..]), of));
}

/// A read with a limit is not taken up again by the kernel after a signal, such as the end of a program.
#[track_caller]
fn receive(socket: &UdpSocket, into: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received.unwrap(),
        }
    }
}

fn a_pod_that_changes_its_wishes_is_brought_to_them(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let wishes = [
        planned(false),
        wanting(true, ""),
        wanting(false, "br0"),
        planned(true),
        wanting(true, "br0,docker+"),
    ];
    let mut before: Option<&Plan> = None;
    for plan in wishes.iter().chain(&wishes) {
        if before.is_some_and(|before| before != plan) {
            assert_ne!(apply::inspect(backend, lab.pod.as_fd(), plan).unwrap(), Drift::default());
        }
        assert_eq!(&apply::apply(backend, lab.pod.as_fd(), plan).unwrap().plan, plan);
        assert_eq!(apply::inspect(backend, lab.pod.as_fd(), plan).unwrap(), Drift::default());
        before = Some(plan);
    }
}

fn wanting(ingress: bool, interfaces: &str) -> Plan {
    let names = interfaces.split(',').filter(|name| !name.is_empty());
    let virtual_interfaces = names.map(|name| name.parse().unwrap()).collect();
    let pod = PodOverrides { ingress, dns: None, virtual_interfaces };
    plan(&Settings::default(), &pod, DnsListeners::ALL)
}
