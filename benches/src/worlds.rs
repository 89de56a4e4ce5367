//! Worlds of any size, made of what a control plane would send.

use std::net::Ipv4Addr;
use std::sync::Arc;

use prost::Message as _;
use proxy_core::Moment;
use proxy_core::decode;
use proxy_core::model::{Protocol, Workload};
use proxy_core::world::{Change, NodeContext, Strictness, World};
use xds_proto::istio::security::{
    Action, Authorization, Clause, Match, Rule, Scope, StringMatch, string_match::MatchType,
};
use xds_proto::istio::workload::{
    Address, LoadBalancing, Locality, NetworkAddress, Port, PortList, Service, TunnelProtocol,
    Workload as WireWorkload, address::Type, load_balancing,
};

/// The node of the world's first workload.
pub const NODE: &str = "node-0";

/// Endpoints of every service but those of [`with_service`].
const ENDPOINTS: u32 = 20;
/// Workloads on one node.
const PER_NODE: u32 = 50;

/// A world in which nothing is known.
pub fn empty() -> World {
    World::new(NodeContext {
        node_name: NODE.into(),
        network: "".into(),
        cluster_domain: "cluster.local".into(),
        own_ports: proxy_core::decide::guard::OwnPorts::default(),
        loopback_tunnels: true,
        on_demand: false,
        unknown_policy: Strictness::Report,
        mesh_addresses: proxy_core::world::MeshAddresses::default(),
    })
}

/// A world of `workloads` pods, each an endpoint of a service of twenty.
pub fn of(workloads: u32) -> World {
    let mut world = empty();
    let services = (0..workloads.div_ceil(ENDPOINTS)).map(|n| address(Type::Service(service(n))));
    let pods = (0..workloads).map(|n| address(Type::Workload(workload(n, n / ENDPOINTS, 0))));
    world.apply(services.chain(pods).collect(), Moment::default());
    world
}

/// A world of one service with so many endpoints, which prefers those near its clients when it is `local`.
pub fn with_service(endpoints: u32, local: bool) -> World {
    let mut service = service(0);
    service.load_balancing = local.then(|| LoadBalancing {
        routing_preference: vec![load_balancing::Scope::Region.into(), load_balancing::Scope::Zone.into()],
        mode: load_balancing::Mode::Failover.into(),
        ..LoadBalancing::default()
    });
    let pods = (0..endpoints).map(|n| address(Type::Workload(workload(n, 0, 0))));
    let mut world = empty();
    world.apply([address(Type::Service(service))].into_iter().chain(pods).collect(), Moment::default());
    world
}

/// Adds policies to the namespace of every workload, of which the last alone allows `client`.
pub fn add_policies(world: &mut World, policies: u32, client: &str) {
    let named = (0..policies).map(|n| {
        let last = n + 1 == policies;
        let who = if last { client.to_owned() } else { format!("cluster.local/ns/shop/sa/other-{n}") };
        let bytes = policy(n, &who).encode_to_vec();
        decode::authorization(&format!("shop/policy-{n}"), &bytes).expect("a policy of ours")
    });
    let named = named.collect();
    world.apply(named, Moment::default());
}

/// The workload number `n` of a world.
pub fn known(world: &World, n: u32) -> Arc<Workload> {
    let found = world.workload_at("", pod_ip(n).into()).expect("a workload of the world");
    assert_eq!(found.protocol, Protocol::Hbone);
    Arc::clone(found)
}

/// A batch that changes `size` workloads, spread over a world of `workloads`.
pub fn batch(workloads: u32, size: u32) -> Vec<Change> {
    let stride = (workloads / size).max(1);
    let changed = (0..size).map(|n| n * stride % workloads);
    changed.map(|n| address(Type::Workload(workload(n, n / ENDPOINTS, 1)))).collect()
}

/// The wire form of workload number `n`, an endpoint of service number `service`.
pub fn workload(n: u32, service: u32, revision: u32) -> WireWorkload {
    let name = format!("web-{n}");
    let ports = PortList { ports: vec![Port { service_port: 80, target_port: 8080, app_protocol: 0 }] };
    WireWorkload {
        uid: format!("Kubernetes//Pod/shop/{name}"),
        namespace: "shop".into(),
        service_account: "web".into(),
        trust_domain: "cluster.local".into(),
        addresses: vec![pod_ip(n).octets().to_vec()],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        node: format!("node-{}", n / PER_NODE),
        cluster_id: "Kubernetes".into(),
        canonical_name: "web".into(),
        canonical_revision: format!("v{revision}"),
        workload_name: "web".into(),
        services: [(format!("shop/{}", hostname(service)), ports)].into(),
        locality: Some(Locality {
            region: "region".into(),
            zone: format!("zone-{}", n % 3),
            subzone: String::new(),
        }),
        name,
        ..WireWorkload::default()
    }
}

/// The wire form of service number `n`.
pub fn service(n: u32) -> Service {
    Service {
        name: format!("web-{n}"),
        namespace: "shop".into(),
        hostname: hostname(n),
        addresses: vec![NetworkAddress {
            network: String::new(),
            address: service_ip(n).octets().to_vec(),
            length: None,
        }],
        ports: vec![Port { service_port: 80, target_port: 8080, app_protocol: 0 }],
        ..Service::default()
    }
}

/// The wire form of a policy that allows one principal.
pub fn policy(n: u32, principal: &str) -> Authorization {
    let principal = StringMatch { match_type: Some(MatchType::Exact(principal.to_owned())) };
    let wanted = Match { principals: vec![principal], ..Match::default() };
    Authorization {
        name: format!("policy-{n}"),
        namespace: "shop".into(),
        scope: Scope::Namespace.into(),
        action: Action::Allow.into(),
        rules: vec![Rule { clauses: vec![Clause { matches: vec![wanted] }] }],
        ..Authorization::default()
    }
}

/// The bytes of a resource of the Address type.
pub fn encode(kind: Type) -> Vec<u8> {
    Address { r#type: Some(kind) }.encode_to_vec()
}

/// Decodes as the node does.
fn address(kind: Type) -> Change {
    decode::address("benchmark", &encode(kind)).expect("a resource of ours")
}

fn hostname(service: u32) -> String {
    format!("web-{service}.shop.svc.cluster.local")
}

/// The address of workload number `n`.
pub fn pod_ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(PODS + n)
}

/// The virtual address of service number `n`.
pub fn service_ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(SERVICES + n)
}

/// 10.0.0.1, the first of a network that no service reaches into.
const PODS: u32 = 0x0a00_0001;
/// 172.16.0.1.
const SERVICES: u32 = 0xac10_0001;
