//! Where a connection from inside a pod comes to, with the kernel's own redirection.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;

use cni_plugin_agent::canary::{self, Landing};
use cni_plugin_agent::netns::Netns;
use cni_plugin_redirect::in_netns;

use crate::rig::PodNetns;

/// A pod with a way out.
fn pod() -> (PodNetns, Netns) {
    let pod = PodNetns::with_address("10.0.0.5");
    pod.run("ip", &["link", "set", "veth1", "up"]);
    pod.run("ip", &["route", "add", "default", "via", "10.0.0.1"]);
    let netns = Netns::from_fd(pod.fd(), Path::new("test")).unwrap();
    (pod, netns)
}

fn redirected(pod: &PodNetns) {
    let rule = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "REDIRECT", "--to-ports", "15001"];
    pod.run("iptables", &rule);
}

fn listening(pod: &PodNetns, at: &str) -> TcpListener {
    in_netns(pod.fd().as_fd(), || TcpListener::bind(at).unwrap()).unwrap()
}

#[test]
fn a_canary_lands_where_rules_lead_to_a_listening_proxy() {
    for at in ["0.0.0.0:15001", "[::]:15001"] {
        let (pod, netns) = pod();
        redirected(&pod);
        let _proxy = listening(&pod, at);
        assert_eq!(canary::send(&netns, true).unwrap(), Landing::Proxy, "{at}");
    }
}

#[test]
fn a_canary_is_refused_where_nobody_listens() {
    let (pod, netns) = pod();
    redirected(&pod);
    assert!(matches!(canary::send(&netns, true).unwrap(), Landing::Refused(_)));
}

#[test]
fn a_canary_misses_where_no_rule_leads_to_the_proxy() {
    let (pod, netns) = pod();
    let _proxy = listening(&pod, "0.0.0.0:15001");
    assert!(matches!(canary::send(&netns, true).unwrap(), Landing::Missed(_)));
}

#[test]
fn a_pod_without_a_way_out_has_nothing_to_prove() {
    let pod = PodNetns::with_address("10.0.0.5");
    let netns = Netns::from_fd(pod.fd(), Path::new("test")).unwrap();
    assert_eq!(canary::send(&netns, true).unwrap(), Landing::Unroutable);
}

#[test]
fn a_canary_leaves_nothing_behind() {
    let (pod, netns) = pod();
    redirected(&pod);
    let proxy = listening(&pod, "0.0.0.0:15001");
    canary::send(&netns, true).unwrap();
    let (accepted, _) = proxy.accept().unwrap();
    drop(accepted);
    let left = pod.run("ss", &["-tanH"]);
    assert!(!left.contains("192.0.2.1"), "{left}");
}
