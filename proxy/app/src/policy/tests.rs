//! What a policy that changes does to connections that are coming in or already there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use prost::Message;
use proxy_core::decide::authorize::DenyCause;
use proxy_core::decide::local;
use proxy_core::decode;
use proxy_core::model::PodInfo;
use proxy_core::world::{Change, NodeContext, Strictness};
use xds_proto::istio::security::{Action, Authorization, Clause, Match, Rule};
use xds_proto::istio::workload::{Address, Workload, address};

use super::*;
use crate::dns::resolver::Resolver;

const UID: &str = "Kubernetes//Pod/ns/a";

fn live() -> Live {
    Live::new(
        NodeContext {
            node_name: "n1".into(),
            network: "".into(),
            cluster_domain: "cluster.local".into(),
            own_ports: proxy_core::decide::guard::OwnPorts::default(),
            loopback_tunnels: true,
            on_demand: false,
            unknown_policy: Strictness::default(),
            mesh_addresses: proxy_core::world::MeshAddresses::default(),
        },
        Resolver::default(),
    )
}

fn pod() -> PodInfo {
    PodInfo { name: "a".into(), namespace: "ns".into(), service_account: "a".into() }
}

/// The pod's workload, which names these policies.
fn naming(policies: &[&str]) -> Change {
    let workload = Workload {
        uid: UID.to_owned(),
        name: "a".to_owned(),
        namespace: "ns".to_owned(),
        service_account: "a".to_owned(),
        node: "n1".to_owned(),
        addresses: vec![vec![10, 0, 0, 1]],
        authorization_policies: policies.iter().map(ToString::to_string).collect(),
        ..Workload::default()
    };
    let bytes = Address { r#type: Some(address::Type::Workload(workload)) }.encode_to_vec();
    decode::address(UID, &bytes).expect("a workload")
}

/// A policy for those who name it that denies everything on port 80.
fn deny() -> Change {
    let matched = Match { destination_ports: vec![80], ..Match::default() };
    let policy = Authorization {
        name: "p".to_owned(),
        namespace: "ns".to_owned(),
        scope: 2,
        action: Action::Deny.into(),
        rules: vec![Rule { clauses: vec![Clause { matches: vec![matched] }] }],
        ..Authorization::default()
    };
    decode::authorization("ns/p", &policy.encode_to_vec()).expect("a policy")
}

fn known(live: &Live) -> Arc<proxy_core::model::Workload> {
    local(&live.now_known(), &pod()).expect("the workload is announced")
}

fn connection() -> Connection {
    Connection {
        source: "10.0.0.2:4711".parse().expect("an address"),
        identity: None,
        target: "10.0.0.1:80".parse().expect("an address"),
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_policy_attached_while_a_connection_comes_in_is_not_missed() {
    let live = live();
    live.apply(vec![naming(&[]), deny()]);
    let stale = known(&live);
    live.apply(vec![naming(&["ns/p"])]);
    let denied = Watched::new(&live, &pod(), &stale, &connection()).expect_err("the policy is attached");
    assert_eq!(denied.policy.as_deref(), Some("ns/p"));
}

#[tokio::test]
async fn a_policy_attached_to_an_open_connection_s_workload_refuses_it() {
    let live = live();
    live.apply(vec![naming(&[]), deny()]);
    let watched = Watched::new(&live, &pod(), &known(&live), &connection()).expect("nothing denies yet");
    live.apply(vec![naming(&["ns/p"])]);
    assert_eq!(watched.refused(&live, &pod()).await.why, DenyCause::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_workload_left_while_a_policy_was_awaited_stands_still_until_it_is_back() {
    let live = live();
    live.apply(vec![naming(&[])]);
    let watched = Watched::new(&live, &pod(), &known(&live), &connection()).expect("nothing denies yet");
    live.apply(vec![naming(&["ns/p"])]);
    let info = pod();
    let mut refused = std::pin::pin!(watched.refused(&live, &info));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut poll = || refused.as_mut().poll(&mut Context::from_waker(&waker)).map(|deny| deny.why);
    assert_eq!(poll(), Poll::Pending, "an open connection waits for the policy");
    live.apply(vec![Change::RemoveAddress(UID.into())]);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(poll(), Poll::Pending);
    let before = woken.0.load(Ordering::SeqCst);
    assert_eq!(poll(), Poll::Pending);
    assert_eq!(woken.0.load(Ordering::SeqCst), before, "it has nothing to do");
    live.apply(vec![naming(&["ns/p"]), deny()]);
    assert_eq!(poll(), Poll::Ready(DenyCause::Denied));
}
