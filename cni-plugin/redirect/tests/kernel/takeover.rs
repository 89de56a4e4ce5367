//! One backend after another in the same pod, and istio-cni before us and after us: no connection breaks, none goes around
//! the proxy meanwhile, and nothing of the one before stays.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, Drift, Kind, apply};

use crate::istio;
use crate::lab::Namespace;
use crate::rig::{APP, Lab, accept, connect, exchange, planned};
use crate::rules::leftovers;

/// Who has put rules into a pod before us.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Former {
    Istio(Kind),
    Ours(Kind),
}

impl fmt::Display for Former {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Istio(kind) => write!(f, "{kind} of istio-cni"),
            Self::Ours(kind) => write!(f, "{kind} of ours"),
        }
    }
}

/// A name and what it promises.
type Row = (&'static str, fn(&Backend));
/// The same for one family.
type RowOf = (&'static str, fn(&Backend, Family));

pub(crate) const TESTS: &[Row] = &[
    ("istio_cni_takes_over_from_us", istio_cni_takes_over_from_us),
    ("istio_cni_removes_our_rules_by_their_names", istio_cni_removes_our_rules_by_their_names),
];
pub(crate) const REPAIR: &[RowOf] =
    &[("tampering_is_repaired_without_a_window", tampering_is_repaired_without_a_window)];

pub(crate) fn is_taken_over_without_a_break(backend: &Backend, former: Former, family: Family) {
    let lab = Lab::new(family);
    match former {
        Former::Istio(kind) => drop(lab.pod.run(&istio::enrol(kind))),
        Former::Ours(kind) => lab.apply(&Backend::try_out(kind).unwrap()),
    }
    let server = lab.peer.inside(|| TcpListener::bind((lab.any(), 9090)).unwrap());
    let inbound = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
    let inbound = (accept(&lab.inbound), inbound);
    let outbound = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    let outbound = (accept(&lab.outbound), outbound);
    lab.while_it_connects(|| lab.apply(backend));
    for (one, other) in [&inbound, &outbound] {
        exchange(one, other);
        exchange(other, one);
    }
    let new = lab.pod.inside(|| connect((lab.peer_address(), 9090).into()));
    exchange(&new, &accept(&lab.outbound));
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(apply::inspect(backend, lab.pod.as_fd(), &planned(false)).unwrap(), Drift::default());
    assert_eq!(ours(&lab.pod), ours_in_a_fresh_pod(backend));
    apply::remove(backend, lab.pod.as_fd()).unwrap();
    assert_eq!(leftovers(&lab.pod), "");
}

/// The tampering itself lets nothing by, so that only the repair could.
fn tampering_is_repaired_without_a_window(backend: &Backend, family: Family) {
    let lab = Lab::new(family);
    lab.apply(backend);
    let tampering = match backend.kind() {
        Kind::Nftables => "nft add rule inet istio-ambient-nat istio-output accept".to_owned(),
        kind @ Kind::Iptables(_) => format!("{kind} -t nat -A ISTIO_OUTPUT -j ACCEPT"),
    };
    lab.while_it_connects(|| {
        for _ in 0..5 {
            lab.pod.run(&tampering);
            assert!(!apply::inspect(backend, lab.pod.as_fd(), &planned(false)).unwrap().is_none());
            lab.apply(backend);
        }
    });
    assert_eq!(ours(&lab.pod), ours_in_a_fresh_pod(backend));
}

fn istio_cni_takes_over_from_us(backend: &Backend) {
    let lab = Lab::new(Family::V4);
    lab.apply(backend);
    let client = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
    let captured = accept(&lab.inbound);
    // Native nftables are upserted in one transaction; for iptables, it first removes what is there by name.
    if let Kind::Iptables(_) = backend.kind() {
        lab.pod.run(&istio::withdraw(backend.kind()));
        assert_eq!(leftovers(&lab.pod), "");
    }
    lab.pod.run(&istio::enrol(backend.kind()));
    exchange(&client, &captured);
    let (fresh, _peer) = Namespace::pair();
    fresh.run(&istio::enrol(backend.kind()));
    assert_eq!(ours(&lab.pod), ours(&fresh));
}

fn istio_cni_removes_our_rules_by_their_names(backend: &Backend) {
    let lab = Lab::new(Family::V4);
    apply::apply(backend, lab.pod.as_fd(), &planned(true)).unwrap();
    lab.pod.run(&istio::withdraw(backend.kind()));
    assert_eq!(leftovers(&lab.pod), "");
}

impl Lab {
    /// While `work` is done, a peer opens one connection after the other; none may reach the application.
    fn while_it_connects(&self, work: impl FnOnce()) {
        let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let client = self.peer.inside(|| connect((self.pod_address(), APP).into()));
                    exchange(&client, &accept(&self.inbound));
                    begun.store(true, Ordering::Relaxed);
                }
            });
            while !begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            work();
            done.store(true, Ordering::Relaxed);
        });
        self.app.set_nonblocking(true).unwrap();
        assert_eq!(self.app.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

fn ours_in_a_fresh_pod(backend: &Backend) -> Vec<String> {
    let (fresh, _peer) = Namespace::pair();
    apply::apply(backend, fresh.as_fd(), &planned(false)).unwrap();
    ours(&fresh)
}

/// Every line of every backend that could be ours, without counters.
fn ours(pod: &Namespace) -> Vec<String> {
    let all =
        pod.run("nft -s list ruleset; iptables-legacy-save; ip6tables-legacy-save; ip rule; ip -6 rule");
    let words = ["ISTIO", "istio-", "REDIRECT", "redirect", "0x00000111", "0x111", "CT", "ct zone"];
    let lines = all.lines().map(|line| line.split(" [").next().unwrap().trim());
    let ours = lines.filter(|line| words.iter().any(|word| line.contains(word)));
    let mut ours: Vec<String> = ours.map(str::to_owned).collect();
    // Tables and chains are told in the order in which they were made.
    ours.sort_unstable();
    ours
}
