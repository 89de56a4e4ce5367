//! What is read, and what is refused by name.

use proptest::prelude::*;
use prost::Message;
use xds_proto::istio::{
    security::{
        Address as PolicyAddress, Authorization, Clause, Match as WireMatch, Rule, StringMatch as WireString,
        string_match::MatchType,
    },
    workload::{
        Address, ApplicationTunnel, Extension, GatewayAddress, LoadBalancing, NamespacedHostname,
        NetworkAddress, Port, PortList, Service, WeightedWaypoint, Workload, address::Type,
        gateway_address::Destination,
    },
};

use super::{Malformed, address, authorization};
use crate::{
    model::{self, Action, Protocol, Scope},
    world::{Change, UnreadablePolicy},
};

fn pod() -> Workload {
    Workload {
        uid: "Kubernetes//Pod/ns/web".into(),
        name: "web".into(),
        namespace: "ns".into(),
        addresses: vec![vec![10, 0, 0, 2]],
        tunnel_protocol: 1,
        ..Workload::default()
    }
}

fn svc() -> Service {
    Service {
        name: "svc".into(),
        namespace: "ns".into(),
        hostname: "svc.ns.svc.cluster.local".into(),
        ports: vec![Port { service_port: 80, target_port: 8080, app_protocol: 0 }],
        ..Service::default()
    }
}

fn by_hostname() -> GatewayAddress {
    GatewayAddress {
        hbone_mtls_port: 15008,
        destination: Some(Destination::Hostname(NamespacedHostname {
            namespace: "ns".into(),
            hostname: "wp".into(),
        })),
    }
}

fn read(kind: Type) -> Result<Change, (String, Malformed)> {
    let bytes = Address { r#type: Some(kind) }.encode_to_vec();
    address("the-name", &bytes).map_err(|error| {
        assert_eq!(&*error.resource, "the-name");
        (error.field.into_owned(), error.why)
    })
}

#[track_caller]
fn workload(wire: Workload) -> model::Workload {
    match read(Type::Workload(wire)) {
        Ok(Change::Workload(workload)) => *workload,
        other => panic!("no workload: {other:?}"),
    }
}

#[track_caller]
fn service(wire: Service) -> model::Service {
    match read(Type::Service(wire)) {
        Ok(Change::Service(service)) => *service,
        other => panic!("no service: {other:?}"),
    }
}

#[test]
fn what_the_control_plane_leaves_out_has_a_meaning() {
    let read = workload(pod());
    assert_eq!(read.identity().to_string(), "spiffe://cluster.local/ns/ns/sa/default");
    assert_eq!((&*read.cluster_id, read.capacity, read.protocol), ("Kubernetes", 1, Protocol::Hbone));
    assert_eq!(read.addresses, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(workload(Workload { capacity: Some(0), ..pod() }).capacity, 0);
    assert_eq!(
        workload(Workload { workload_type: 77, ..pod() }).workload_type,
        model::WorkloadType::Deployment
    );
    let tunnel = Some(ApplicationTunnel { protocol: 1, port: 0 });
    let tunnel = workload(Workload { application_tunnel: tunnel, ..pod() }).application_tunnel.unwrap();
    assert_eq!((tunnel.protocol, tunnel.port), (model::TunnelProtocol::Proxy, None));
}

#[test]
fn a_workload_is_read_whole() {
    let ports = PortList { ports: vec![Port { service_port: 80, target_port: 8080, app_protocol: 3 }] };
    let read = workload(Workload {
        services: [("ns/svc".to_owned(), ports)].into(),
        waypoint: Some(by_hostname()),
        authorization_policies: vec!["ns/p".into()],
        addresses: vec!["::ffff:10.0.0.2".parse::<std::net::Ipv6Addr>().unwrap().octets().into()],
        ..pod()
    });
    assert_eq!(read.services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["ns/svc"]);
    assert_eq!(read.waypoint.map(|waypoint| waypoint.to_string()).as_deref(), Some("ns/wp:15008"));
    assert_eq!(read.addresses, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()], "never IPv4-mapped");
}

#[track_caller]
fn no_workload(damage: impl FnOnce(&mut Workload), field: &str, why: Malformed) {
    let mut wire = pod();
    damage(&mut wire);
    assert_eq!(read(Type::Workload(wire)), Err((field.into(), why)));
}

#[test]
fn a_workload_that_does_not_read_whole_is_refused() {
    let serving = |key: &str, port| {
        let ports = PortList { ports: vec![Port { service_port: 80, target_port: port, app_protocol: 0 }] };
        [(key.to_owned(), ports)].into()
    };
    no_workload(|pod| pod.uid = String::new(), "uid", Malformed::Missing);
    no_workload(|pod| pod.namespace = "a/b".into(), "namespace", Malformed::Slash("a/b".into()));
    let slash = || Malformed::Slash("a/b".into());
    no_service(|svc| svc.hostname = "a/b".into(), "hostname", slash());
    no_service(|svc| svc.namespace = "a/b".into(), "namespace", slash());
    no_workload(|pod| pod.service_account = "a/b".into(), "service_account", Malformed::Slash("a/b".into()));
    no_workload(|pod| pod.addresses = vec![vec![1; 5]], "addresses", Malformed::AddressLength(5));
    let legacy = Malformed::Unsupported("LEGACY_ISTIO_MTLS");
    no_workload(|pod| pod.tunnel_protocol = 2, "tunnel_protocol", legacy);
    no_workload(|pod| pod.tunnel_protocol = 9, "tunnel_protocol", Malformed::Enum(9));
    no_workload(|pod| pod.network_mode = 9, "network_mode", Malformed::Enum(9));
    no_workload(|pod| pod.status = 9, "status", Malformed::Enum(9));
    no_workload(|pod| pod.services = serving("svc", 80), "services", Malformed::Key("svc".into()));
    no_workload(|pod| pod.services = serving("ns/svc", 65_616), "services", Malformed::Port(65_616));
    let mut gateway = by_hostname();
    gateway.hbone_mtls_port = 70_000;
    no_workload(|pod| pod.network_gateway = Some(gateway), "network_gateway", Malformed::Port(70_000));
    let mut gateway = by_hostname();
    gateway.destination = None;
    no_workload(|pod| pod.waypoint = Some(gateway), "waypoint", Malformed::Missing);
    let tunnel = ApplicationTunnel { protocol: 5, port: 0 };
    let field = "application_tunnel.protocol";
    no_workload(|pod| pod.application_tunnel = Some(tunnel), field, Malformed::Enum(5));
}

#[test]
fn a_prefix_is_a_virtual_address_unless_it_is_a_whole_one() {
    let vip = |length| NetworkAddress { network: "n".into(), address: vec![10, 1, 2, 3], length };
    let read = service(Service { addresses: vec![vip(None), vip(Some(32)), vip(Some(16))], ..svc() });
    assert_eq!(read.vips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["n/10.1.2.3", "n/10.1.2.3"]);
    assert_eq!(read.cidr_vips.iter().map(|vip| vip.cidr.to_string()).collect::<Vec<_>>(), ["10.1.0.0/16"]);
}

#[test]
fn names_that_are_not_of_our_form_are_left_out() {
    let names = vec!["spiffe://td/ns/a/sa/b".into(), "dns.example".into(), "spiffe://td/ns/a/sa/b/c".into()];
    let read = service(Service { subject_alt_names: names, ..svc() });
    assert_eq!(
        read.subject_alt_names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["spiffe://td/ns/a/sa/b"]
    );
}

#[track_caller]
fn no_service(damage: impl FnOnce(&mut Service), field: &str, why: Malformed) {
    let mut wire = svc();
    damage(&mut wire);
    assert_eq!(read(Type::Service(wire)), Err((field.into(), why)));
}

#[track_caller]
fn no_balance(damage: impl FnOnce(&mut LoadBalancing), field: &str, number: i32) {
    let mut wire = LoadBalancing::default();
    damage(&mut wire);
    let field = format!("load_balancing.{field}");
    no_service(|svc| svc.load_balancing = Some(wire), &field, Malformed::Enum(number));
}

#[test]
fn a_service_that_does_not_read_whole_is_refused() {
    no_service(|svc| svc.hostname = String::new(), "hostname", Malformed::Missing);
    no_service(|svc| svc.ip_families = 9, "ip_families", Malformed::Enum(9));
    no_balance(|lb| lb.mode = 9, "mode", 9);
    no_balance(|lb| lb.health_policy = 9, "health_policy", 9);
    for scope in [0, 9] {
        no_balance(|lb| lb.routing_preference = vec![1, scope], "routing_preference", scope);
    }
    let port = Port { service_port: 65_536, target_port: 0, app_protocol: 0 };
    no_service(|svc| svc.ports = vec![port], "ports", Malformed::Port(65_536));
    let weighted = WeightedWaypoint { destination: None, weight: 1 };
    no_service(|svc| svc.weighted_waypoints = vec![weighted], "weighted_waypoints", Malformed::Missing);
    let vip = NetworkAddress { network: "n".into(), address: vec![10, 1, 2, 3], length: Some(33) };
    no_service(|svc| svc.addresses = vec![vip], "addresses", Malformed::PrefixLength(33));
    assert_eq!(service(Service { visibility: 9, ..svc() }).visibility, model::Visibility::Public);
}

#[test]
fn an_address_of_neither_kind_is_refused() {
    let error = address("x", &[]).unwrap_err();
    assert_eq!(error.to_string(), "x: type: missing");
    assert!(matches!(address("x", &[0xff]).unwrap_err().why, Malformed::Bytes(_)));
}

fn allowing(wanted: WireMatch) -> Authorization {
    Authorization {
        name: "p".into(),
        namespace: "ns".into(),
        scope: 1,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![wanted] }] }],
        ..Authorization::default()
    }
}

#[track_caller]
fn unreadable(wire: &Authorization, field: &str, why: Malformed) -> UnreadablePolicy {
    let refused = authorization("ns/p", &wire.encode_to_vec()).unwrap_err();
    assert_eq!((refused.error.field.as_ref(), refused.error.why), (field, why));
    let Change::UnreadablePolicy(policy) = refused.instead else {
        panic!("not an unreadable policy: {:?}", refused.instead)
    };
    policy
}

#[test]
fn a_policy_is_known_by_the_name_of_its_resource() {
    let wire = Authorization { action: 1, dry_run: true, ..allowing(WireMatch::default()) };
    let Ok(Change::Policy(policy)) = authorization("ns/key", &wire.encode_to_vec()) else {
        panic!("refused")
    };
    assert_eq!((&*policy.key, &*policy.name, &*policy.namespace), ("ns/key", "p", "ns"));
    assert_eq!((policy.scope, policy.action, policy.dry_run), (Scope::Namespace, Action::Deny, true));
}

#[test]
fn an_unreadable_matcher_denies_the_policy() {
    let short = PolicyAddress { address: vec![1, 2, 3], length: 24 };
    let long = PolicyAddress { address: vec![10, 0, 0, 0], length: 33 };
    let no_type = WireString { match_type: None };
    let table = [
        (
            WireMatch { source_ips: vec![short.clone()], ..Default::default() },
            "source_ips",
            Malformed::AddressLength(3),
        ),
        (
            WireMatch { not_source_ips: vec![long.clone()], ..Default::default() },
            "source_ips",
            Malformed::PrefixLength(33),
        ),
        (
            WireMatch { destination_ips: vec![long], ..Default::default() },
            "destination_ips",
            Malformed::PrefixLength(33),
        ),
        (
            WireMatch { not_destination_ips: vec![short], ..Default::default() },
            "destination_ips",
            Malformed::AddressLength(3),
        ),
        (
            WireMatch { namespaces: vec![no_type.clone()], ..Default::default() },
            "namespaces",
            Malformed::Missing,
        ),
        (WireMatch { not_principals: vec![no_type], ..Default::default() }, "principals", Malformed::Missing),
        (
            WireMatch { destination_ports: vec![65_616], ..Default::default() },
            "destination_ports",
            Malformed::Port(65_616),
        ),
    ];
    for (wanted, field, why) in table {
        let policy = unreadable(&allowing(wanted), field, why);
        assert_eq!(
            (policy.scope, policy.action, &*policy.namespace),
            (Scope::Namespace, Action::Allow, "ns")
        );
    }
}

#[test]
fn an_unknown_scope_or_action_is_taken_for_the_strictest() {
    let wire = Authorization { scope: 9, dry_run: true, ..allowing(WireMatch::default()) };
    let policy = unreadable(&wire, "scope", Malformed::Enum(9));
    assert_eq!((policy.scope, policy.action, policy.dry_run), (Scope::Namespace, Action::Allow, true));
    let wire = Authorization { action: 9, scope: 0, ..allowing(WireMatch::default()) };
    let policy = unreadable(&wire, "action", Malformed::Enum(9));
    assert_eq!((policy.scope, policy.action), (Scope::Global, Action::Deny));
}

#[test]
fn the_head_of_a_policy_is_read_even_where_its_rules_are_no_protobuf() {
    let mut bytes = Authorization { scope: 2, action: 0, ..allowing(WireMatch::default()) }.encode_to_vec();
    bytes.extend([0x2a, 0x02, 0xff, 0xff]);
    let refused = authorization("ns/p", &bytes).unwrap_err();
    assert!(matches!(refused.error.why, Malformed::Bytes(_)));
    let Change::UnreadablePolicy(policy) = refused.instead else { panic!("no stand-in") };
    assert_eq!((policy.scope, policy.action), (Scope::WorkloadSelector, Action::Allow));
}

#[test]
fn of_plain_garbage_only_the_name_is_known() {
    let refused = authorization("ns/p", &[0xff, 0xff]).unwrap_err();
    let want = UnreadablePolicy {
        key: "ns/p".into(),
        namespace: "ns".into(),
        scope: Scope::Namespace,
        action: Action::Deny,
        dry_run: false,
    };
    assert_eq!(refused.instead, Change::UnreadablePolicy(want));
}

#[test]
fn a_condition_that_we_do_not_understand_never_widens_an_allow() {
    let wanted = WireMatch {
        destination_ports: vec![80],
        principals: vec![WireString { match_type: Some(MatchType::Presence(())) }],
        extensions: vec![Extension { name: "new".into(), config: None }],
        ..WireMatch::default()
    };
    let bare = WireMatch { extensions: wanted.extensions.clone(), ..WireMatch::default() };
    let wire = Authorization { action: 1, ..allowing(bare) };
    let refused =
        authorization("ns/p", &wire.encode_to_vec()).expect_err("a denial of nothing we understand");
    assert_eq!(refused.error.why, Malformed::Unsupported("extension"));
    for (action, want_empty) in [(0, true), (1, false)] {
        let wire = Authorization { action, ..allowing(wanted.clone()) };
        let Ok(Change::Policy(policy)) = authorization("ns/p", &wire.encode_to_vec()) else {
            panic!("refused")
        };
        let model::Rules::Any(rules) = &policy.rules else { panic!("unreadable") };
        let empty = rules
            .iter()
            .flat_map(|rule| &rule.clauses)
            .flat_map(|clause| &clause.matches)
            .all(model::Match::is_empty);
        assert_eq!(empty, want_empty, "action {action}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = address("ns/p", &bytes);
        let _ = authorization("ns/p", &bytes);
    }

    #[test]
    fn damaged_resources_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let vip = NetworkAddress { network: "n".into(), address: vec![10, 1, 2, 3], length: Some(16) };
        let service = Service { addresses: vec![vip], waypoint: Some(by_hostname()), ..svc() };
        let pod = Workload { waypoint: Some(by_hostname()), authorization_policies: vec!["ns/p".into()], ..pod() };
        for kind in [Type::Service(service), Type::Workload(pod)] {
            let mut bytes = Address { r#type: Some(kind) }.encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = address("x", &bytes);
        }
        let net = PolicyAddress { address: vec![10, 0, 0, 0], length: 8 };
        let mut bytes = allowing(WireMatch { source_ips: vec![net], ..WireMatch::default() }).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = authorization("ns/p", &bytes);
    }
}
