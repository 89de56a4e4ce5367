//! A pod with an application, a proxy's two doors, and a peer outside; and connections between them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, DnsListeners, Plan, PodOverrides, Settings, apply, plan};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Namespace;

/// A pod with an application and a proxy's two doors, and a peer outside.
pub(crate) struct Lab {
    family: Family,
    pub(crate) pod: Namespace,
    pub(crate) peer: Namespace,
    pub(crate) app: TcpListener,
    pub(crate) inbound: TcpListener,
    pub(crate) outbound: TcpListener,
}

impl Lab {
    pub(crate) fn new(family: Family) -> Self {
        let (pod, peer) = Namespace::pair();
        let listen = |port| pod.inside(|| TcpListener::bind((any(family), port)).unwrap());
        let (app, inbound, outbound) = (listen(APP), listen(15006), listen(15001));
        Self { family, pod, peer, app, inbound, outbound }
    }

    pub(crate) fn apply(&self, backend: &Backend) {
        apply::apply(backend, self.pod.as_fd(), &planned(false)).unwrap();
    }

    pub(crate) fn connect_to_app(&self) -> (TcpStream, TcpStream) {
        let client = self.peer.inside(|| connect((self.pod_address(), APP).into()));
        (client, accept(&self.app))
    }

    pub(crate) fn pod_address(&self) -> IpAddr {
        self.address("10.88.0.2", "fd00:88::2")
    }

    pub(crate) fn peer_address(&self) -> IpAddr {
        self.address("10.88.0.1", "fd00:88::1")
    }

    pub(crate) fn loopback(&self) -> IpAddr {
        self.address("127.0.0.1", "::1")
    }

    pub(crate) fn any(&self) -> IpAddr {
        any(self.family)
    }

    pub(crate) fn address(&self, v4: &str, v6: &str) -> IpAddr {
        if self.family == Family::V4 { v4 } else { v6 }.parse().unwrap()
    }

    pub(crate) fn domain(&self) -> Domain {
        if self.family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 }
    }
}

/// What a plain pod wants.
pub(crate) fn planned(dns: bool) -> Plan {
    plan(&Settings { dns, ..Settings::default() }, &PodOverrides::default(), DnsListeners::ALL)
}

pub(crate) fn any(family: Family) -> IpAddr {
    if family == Family::V4 { "0.0.0.0" } else { "::" }.parse().unwrap()
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    patient(TcpStream::connect_timeout(&to, PATIENCE).unwrap())
}

pub(crate) fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), SHORT)?;
    Ok(patient(socket.into()))
}

/// Fails instead of hanging when nobody comes.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let socket = Socket::from(listener.try_clone().unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    patient(listener.accept().unwrap().0)
}

pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What one side writes, the other reads, and the connection stays usable.
#[track_caller]
pub(crate) fn exchange(mut from: &TcpStream, mut to: &TcpStream) {
    let mut got = [0; 4];
    from.write_all(b"ping").unwrap();
    to.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
}

pub(crate) const APP: u16 = 8080;
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection that should be dropped is tried.
const SHORT: Duration = Duration::from_secs(2);
