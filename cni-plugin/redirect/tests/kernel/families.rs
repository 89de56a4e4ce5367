//! Pods with one IP version, with the other, and with both; and nodes that can load rules for one only.

use std::net::TcpListener;
use std::os::fd::AsFd;

use cni_plugin_redirect::rule::Family;
use cni_plugin_redirect::{Backend, Drift, Kind, PodOverrides, Settings, Variant, apply, plan};

use crate::lab::Namespace;
use crate::programs::without;
use crate::rig::{APP, Lab, accept, connect, connect_from, exchange, planned};
use crate::rules::leftovers;

/// A name and what it promises.
type Row = (&'static str, fn(&Backend));

pub(crate) const TESTS: &[Row] = &[
    ("every_family_that_a_pod_has_is_captured", every_family_that_a_pod_has_is_captured),
    ("a_pod_without_ipv6_gets_nothing_for_it_until_it_has_it", a_pod_without_ipv6_gets_nothing_for_it),
    ("rules_of_a_family_that_is_no_longer_wanted_go", rules_of_a_family_that_is_no_longer_wanted_go),
];

fn every_family_that_a_pod_has_is_captured(backend: &Backend) {
    for has in [&[Family::V4][..], &[Family::V6], &Family::ALL] {
        for ipv6_on_loopback in [true, false] {
            for &family in has {
                let lab = Lab::new(family);
                for other in Family::ALL.into_iter().filter(|other| !has.contains(other)) {
                    let flag = if other == Family::V4 { "-4" } else { "-6" };
                    lab.pod.run(&format!("ip {flag} addr flush dev eth0"));
                }
                if !ipv6_on_loopback {
                    lab.pod.run("echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6");
                }
                let server = lab.peer.inside(|| TcpListener::bind((lab.any(), 9090)).unwrap());
                lab.apply(backend);
                let drift = apply::inspect(backend, lab.pod.as_fd(), &planned(false)).unwrap();
                assert_eq!(drift, Drift::default(), "{has:?} {ipv6_on_loopback}");
                let client = lab.peer.inside(|| connect((lab.pod_address(), APP).into()));
                exchange(&client, &accept(&lab.inbound));
                // Without ::1 the proxy cannot be reached from inside; nobody else is, either.
                let to = (lab.peer_address(), 9090).into();
                match lab.pod.inside(|| connect_from((lab.any(), 0).into(), to)) {
                    Ok(call) => exchange(&call, &accept(&lab.outbound)),
                    Err(error) => assert!(family == Family::V6 && !ipv6_on_loopback, "{error}"),
                }
                server.set_nonblocking(true).unwrap();
                assert!(server.accept().is_err(), "{has:?}: a connection went around the proxy");
            }
        }
    }
}

fn a_pod_without_ipv6_gets_nothing_for_it(backend: &Backend) {
    let (pod, _peer) = Namespace::pair();
    let switch = |to: u8| {
        pod.run(&format!("for i in lo eth0; do echo {to} > /proc/sys/net/ipv6/conf/$i/disable_ipv6; done"));
    };
    let (wanted, probe) = (planned(false), "fd16:9254:7127:1337:ffff:ffff:ffff:ffff");
    switch(1);
    let applied = apply::apply(backend, pod.as_fd(), &wanted).unwrap();
    assert_eq!(applied.plan.families().collect::<Vec<_>>(), [Family::V4]);
    assert!(!applied.ipv6_left_alone && !leftovers(&pod).contains(probe));
    assert_eq!(
        pod.run("ip -6 rule; ip -6 route show table 100 2>/dev/null || true").matches("100").count(),
        0
    );
    assert_eq!(apply::inspect(backend, pod.as_fd(), &wanted).unwrap(), Drift::default());
    switch(0);
    assert_ne!(apply::inspect(backend, pod.as_fd(), &wanted).unwrap(), Drift::default());
    assert_eq!(apply::apply(backend, pod.as_fd(), &wanted).unwrap().plan, wanted);
    assert_eq!(apply::inspect(backend, pod.as_fd(), &wanted).unwrap(), Drift::default());
}

fn rules_of_a_family_that_is_no_longer_wanted_go(backend: &Backend) {
    let (pod, _peer) = Namespace::pair();
    apply::apply(backend, pod.as_fd(), &planned(false)).unwrap();
    let settings = Settings { ipv6: false, ..Settings::default() };
    let wanted = plan(&settings, &PodOverrides::default(), cni_plugin_redirect::DnsListeners::ALL);
    assert_ne!(apply::inspect(backend, pod.as_fd(), &wanted).unwrap(), Drift::default());
    apply::apply(backend, pod.as_fd(), &wanted).unwrap();
    assert_eq!(apply::inspect(backend, pod.as_fd(), &wanted).unwrap(), Drift::default());
    let routing = pod.run(IPV6_ROUTING);
    assert!(!routing.contains("100") && !routing.contains("local"), "{routing}");
    assert!(!leftovers(&pod).contains("fd16:"), "{}", leftovers(&pod));
}

/// The pod stays enrolled; whoever enrols it learns what is not captured.
pub(crate) fn a_node_without_ip6tables_captures_ipv4() {
    without(&["ip6tables"], || {
        for variant in [Variant::Nft, Variant::Legacy] {
            let backend = Backend::try_out(Kind::Iptables(variant)).unwrap();
            assert!(backend.ipv6().unwrap_err().to_string().contains("not installed"));
            for (has_addresses, pod) in [(true, Namespace::pair().0), (false, Namespace::new())] {
                let applied = apply::apply(&backend, pod.as_fd(), &planned(false)).unwrap();
                assert_eq!(applied.plan.families().collect::<Vec<_>>(), [Family::V4]);
                assert_eq!(applied.ipv6_left_alone, has_addresses);
                let drift = apply::inspect(&backend, pod.as_fd(), &planned(false)).unwrap();
                assert_eq!(drift, Drift::default());
                apply::remove(&backend, pod.as_fd()).unwrap();
            }
        }
    });
}

const IPV6_ROUTING: &str = "ip -6 rule | grep -v ^0:; ip -6 route show table 100 2>/dev/null || true";
