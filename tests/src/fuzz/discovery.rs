//! What a control plane pushes: resources, and the responses that carry them.

use std::net::SocketAddr;

use prost::Message;
use proxy_core::decide::guard::OwnPorts;
use proxy_core::decide::{self, Flow};
use proxy_core::model::Workload;
use proxy_core::world::{Change, NodeContext, Strictness, World};
use proxy_core::{Moment, Pick, decode};
use xds_client::session::{Limits, Received, Session};
use xds_client::{Node, Refusal};
use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use xds_proto::istio::workload as wire;

/// A resource that reads is applied, found, asked about, replaced by itself without effect, and removed without a trace.
pub(super) fn address(bytes: &[u8]) {
    let mut world = some_world();
    let change = match decode::address("the/name", bytes) {
        Ok(change) => change,
        Err(error) => {
            assert!(error.to_string().contains("the/name"), "{error}");
            return;
        }
    };
    let (name, at): (String, Option<SocketAddr>) = match &change {
        Change::Workload(workload) => {
            assert!(!workload.trust_domain.is_empty() && !workload.service_account.is_empty());
            let at = workload.addresses.first().map(|ip| SocketAddr::new(*ip, 80));
            (workload.uid.to_string(), at)
        }
        Change::Service(service) => (service.key.to_string(), None),
        Change::RemoveAddress(_)
        | Change::Policy(_)
        | Change::UnreadablePolicy(_)
        | Change::RemovePolicy(_) => panic!("an address became {change:?}"),
    };
    world.apply(vec![change.clone()], Moment::default());
    let flow = Flow::new(CLIENT, at.unwrap_or(SERVER));
    let source = some_workload();
    for pick in 0..3 {
        let first = decide::route(&world, &source, flow, Pick(pick));
        assert_eq!(first, decide::route(&world, &source, flow, Pick(pick)), "one question, two answers");
    }
    let again = world.apply(vec![change], Moment::default());
    assert!(again.wanted.is_empty() && again.forgotten.is_empty(), "the same resource twice: {again:?}");
    world.apply(vec![Change::RemoveAddress(name.as_str().into())], Moment::default());
    let left = world.workloads().len() + world.services().len();
    assert!(left <= 1, "{name:?} left something behind");
}

/// A response is settled by one answer with its nonce; what is held stays within the limits.
pub(super) fn response(bytes: &[u8]) {
    let Ok(response) = DeltaDiscoveryResponse::decode(bytes) else { return };
    let limits = Limits { resources: 4, name: 64, resume: 256, nack: 512 };
    let mut session = Session::with_limits(&Node::default(), limits);
    session.open();
    for _ in 0..2 {
        let nonce = response.nonce.clone();
        match session.receive(response.clone()) {
            Received::Unknown { reply, .. } => assert_eq!(reply.response_nonce, nonce),
            Received::Push { update, pending } => {
                assert!(update.resources.iter().all(|r| !r.name.is_empty() && r.name.len() <= 64));
                let refused = update.resources.iter().take(1);
                let refused =
                    refused.map(|r| Refusal { name: r.name.clone(), why: "on purpose".to_owned() }).collect();
                let answer = session.settle(pending, refused);
                assert_eq!(answer.response_nonce, nonce);
                let said = answer.error_detail.map_or(0, |status| status.message.len());
                assert!(said <= 512 + 64, "a refusal of {said} bytes");
            }
        }
    }
    for request in session.open() {
        assert!(request.initial_resource_versions.len() <= 4, "{request:?}");
        assert!(request.encoded_len() < 4_096, "{} bytes to resume", request.encoded_len());
    }
}

/// A world of one workload.
pub(super) fn some_world() -> World {
    let mut world = World::new(NodeContext {
        node_name: "node".into(),
        network: "".into(),
        cluster_domain: "cluster.local".into(),
        own_ports: OwnPorts::default(),
        loopback_tunnels: false,
        on_demand: false,
        unknown_policy: Strictness::default(),
        mesh_addresses: proxy_core::world::MeshAddresses::default(),
    });
    world.apply(vec![Change::Workload(Box::new(some_workload()))], Moment::default());
    world
}

/// A workload as istiod would describe one.
pub(super) fn some_workload() -> Workload {
    let workload = wire::Workload {
        uid: "Kubernetes//Pod/ns/web".to_owned(),
        name: "web".to_owned(),
        namespace: "ns".to_owned(),
        addresses: vec![vec![10, 0, 0, 2]],
        tunnel_protocol: 1,
        node: "node".to_owned(),
        ..wire::Workload::default()
    };
    let bytes = wire::Address { r#type: Some(wire::address::Type::Workload(workload)) }.encode_to_vec();
    match decode::address("web", &bytes) {
        Ok(Change::Workload(workload)) => *workload,
        other => panic!("a workload reads as {other:?}"),
    }
}

/// Somebody.
pub(super) const CLIENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 4711);
/// Where somebody wants to go.
pub(super) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 80);
