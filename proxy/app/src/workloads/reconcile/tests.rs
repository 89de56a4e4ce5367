//! Snapshot and changes, message by message.

use cni_plugin_wire::zds::PodUid;

use super::{Announced, OutOfOrder, Pods};
use crate::net::netns::NetnsId;

fn uid(name: &str) -> PodUid {
    PodUid(name.into())
}

const fn netns(inode: u64) -> NetnsId {
    NetnsId::for_tests(inode)
}

fn with_running(names: &[&str]) -> Pods {
    let mut pods = Pods::default();
    pods.connected();
    for name in names {
        assert_eq!(pods.announced(&uid(name), netns(1)), Announced::Start);
        pods.started(uid(name), netns(1));
    }
    assert_eq!(pods.snapshot_sent(), Ok(vec![]));
    pods
}

#[test]
fn a_pod_announced_again_in_the_same_namespace_keeps_its_proxy() {
    let mut pods = with_running(&["a"]);
    assert_eq!(pods.announced(&uid("a"), netns(1)), Announced::Runs);
}

#[test]
fn a_pod_announced_in_another_namespace_gets_a_new_proxy() {
    let mut pods = with_running(&["a"]);
    assert_eq!(pods.announced(&uid("a"), netns(2)), Announced::Replace);
}

#[test]
fn a_snapshot_stops_what_it_does_not_name() {
    let mut pods = with_running(&["a", "b", "c"]);
    pods.connected();
    assert!(!pods.is_ready());
    assert_eq!(pods.announced(&uid("a"), netns(1)), Announced::Runs);
    assert_eq!(pods.kept(uid("b")), Ok(()));
    assert_eq!(pods.snapshot_sent(), Ok(vec![uid("c")]));
    assert!(pods.is_ready());
    assert_eq!(pods.counts(), (2, 0));
}

#[test]
fn a_pod_announced_with_a_useless_namespace_keeps_the_proxy_it_has() {
    let mut pods = with_running(&["a"]);
    pods.connected();
    pods.named(&uid("a"));
    assert_eq!(pods.snapshot_sent(), Ok(vec![]));
    assert_eq!(pods.counts(), (1, 0));
}

#[test]
fn a_pod_deleted_within_a_snapshot_stops_at_its_end() {
    let mut pods = with_running(&["a"]);
    pods.connected();
    assert_eq!(pods.announced(&uid("a"), netns(1)), Announced::Runs);
    assert!(!pods.deleted(&uid("a")));
    assert_eq!(pods.snapshot_sent(), Ok(vec![uid("a")]));
}

#[test]
fn a_deleted_pod_stops_and_an_unknown_one_is_no_error() {
    let mut pods = with_running(&["a"]);
    assert!(pods.deleted(&uid("a")));
    assert!(!pods.deleted(&uid("a")));
}

#[test]
fn a_pod_that_cannot_start_is_pending_and_the_node_is_ready_all_the_same() {
    let mut pods = with_running(&["a"]);
    assert_eq!(pods.announced(&uid("b"), netns(1)), Announced::Start);
    pods.failed(uid("b"));
    assert!(pods.is_ready());
    assert_eq!(pods.counts(), (1, 1));
    assert!(pods.is_pending(&uid("b")));
    assert!(!pods.deleted(&uid("b")));
    assert_eq!(pods.counts(), (1, 0));
}

#[test]
fn messages_out_of_order_are_refused() {
    let mut pods = with_running(&["a"]);
    assert_eq!(pods.kept(uid("a")), Err(OutOfOrder::KeepAfterSnapshot));
    assert_eq!(pods.snapshot_sent(), Err(OutOfOrder::SecondSnapshot));
    pods.disconnected();
    assert_eq!(pods.kept(uid("a")), Err(OutOfOrder::NotConnected));
    assert_eq!(pods.snapshot_sent(), Err(OutOfOrder::NotConnected));
    assert_eq!(pods.counts(), (1, 0), "proxies outlive the connection");
}
