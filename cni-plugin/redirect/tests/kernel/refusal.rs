//! Pods that may not speak past the proxy, until they may.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, Kind, apply};
use socket2::{Protocol, Socket, Type};

use crate::rig::{APP, Lab, PATIENCE, accept, connect, connect_from, exchange};
use crate::rules::leftovers;

/// A name and what it promises.
type Row = (&'static str, fn(&Backend, Family));

pub(crate) const TESTS: &[Row] = &[
    ("a_refused_pod_reaches_nobody_but_itself_and_the_proxy", a_refused_pod_reaches_nobody),
    ("a_refused_pod_that_is_captured_speaks_through_the_proxy", a_refused_pod_that_is_captured_speaks),
    ("a_refusal_ends_by_whichever_backend_and_leaves_nothing", a_refusal_ends),
];

fn a_refused_pod_reaches_nobody(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let server = lab.peer.inside(|| TcpListener::bind((lab.any(), 9090)).unwrap());
    let peer = SocketAddr::from((lab.peer_address(), 9090));
    let old = lab.pod.inside(|| connect(peer));
    let old_end = accept(&server);
    for _ in 0..2 {
        apply::refuse_outbound(backend, lab.pod.as_fd()).unwrap();
    }
    let refused = lab.pod.inside(|| connect_from((lab.any(), 0).into(), peer)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    exchange(&old, &old_end);
    exchange(&old_end, &old);
    let (client, app) = lab.connect_to_app();
    exchange(&client, &app);
    exchange(&app, &client);
    let inside = lab.pod.inside(|| connect((lab.loopback(), APP).into()));
    exchange(&inside, &accept(&lab.app));
    let proxy = lab.pod.inside(|| {
        let socket = Socket::new(lab.domain(), Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_mark(0x539).unwrap();
        socket.connect_timeout(&peer.into(), PATIENCE).unwrap();
        socket.into()
    });
    exchange(&proxy, &accept(&server));
}

fn a_refused_pod_that_is_captured_speaks(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    apply::refuse_outbound(backend, lab.pod.as_fd()).unwrap();
    lab.apply(backend);
    let call = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&call, &accept(&lab.outbound));
    apply::allow_outbound(backend, lab.pod.as_fd()).unwrap();
    let call = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&call, &accept(&lab.outbound));
}

fn a_refusal_ends(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    let server = lab.peer.inside(|| TcpListener::bind((lab.any(), 9090)).unwrap());
    for kind in [Kind::Nftables, Kind::Iptables(cni_plugin_redirect::Variant::Legacy)] {
        let other = Backend::try_out(kind).unwrap();
        for (refuses, allows) in [(backend, &other), (&other, backend)] {
            apply::refuse_outbound(refuses, lab.pod.as_fd()).unwrap();
            apply::allow_outbound(allows, lab.pod.as_fd()).unwrap();
            assert_eq!(leftovers(&lab.pod), "");
            apply::refuse_outbound(refuses, lab.pod.as_fd()).unwrap();
            apply::remove(allows, lab.pod.as_fd()).unwrap();
            assert_eq!(leftovers(&lab.pod), "");
        }
    }
    let call = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&call, &accept(&server));
}
