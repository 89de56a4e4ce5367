//! Where connections go, as a table: what the world holds, what is dialed, what comes of it.

mod networks;
mod services;
mod waypoints;

use std::net::IpAddr;

use super::route;
use crate::{
    Moment, Pick, Reason,
    decide::{Flow, Lookup, RouteError, RouteKind, Step},
    fixtures::{by_address, node, service, workload, world},
    model::{Identity, IpFamilies, LoadBalancerMode, NetworkMode, Workload},
    world::{Answer, Change, MeshAddresses, NodeContext, Strictness, World},
};

const SOURCE: &str = "10.0.0.1";

/// The source of every connection here: a pod of namespace `ns`.
fn source() -> Workload {
    workload("client").at(SOURCE)
}

fn ask(world: &World, source: &Workload, dialed: &str, pick: u64) -> Step<Result<String, RouteError>> {
    let from: IpAddr = source.addresses.first().copied().unwrap();
    let flow = Flow::new((from, 40000).into(), dialed.parse().unwrap());
    match route(world, source, flow, Pick(pick)) {
        Step::Done(Ok(route)) => Step::Done(Ok(match &route.kind {
            RouteKind::Passthrough => format!("through {}", route.next_hop),
            RouteKind::Plain => format!("plain {}", route.next_hop),
            RouteKind::Tunnel { authority, expected } => {
                format!("tunnel {authority} by {} as {}", route.next_hop, accounts(expected))
            }
            RouteKind::DoubleTunnel { authority, gateway, expected } => {
                let (gateway, expected) = (accounts(gateway), accounts(expected));
                format!("double {authority} by {} as {gateway}, then {expected}", route.next_hop)
            }
        })),
        Step::Done(Err(error)) => Step::Done(Err(error)),
        Step::Need(lookup) => Step::Need(lookup),
    }
}

fn accounts(identities: &[Identity]) -> String {
    let accounts: Vec<_> = identities.iter().map(|identity| &*identity.service_account).collect();
    accounts.join("|")
}

#[track_caller]
fn check<const N: usize>(changes: [Change; N], dialed: &str, want: Result<&str, RouteError>) {
    let world = world([source().into()].into_iter().chain(changes));
    assert_eq!(ask(&world, &source(), dialed, 7), Step::Done(want.map(Into::into)));
}

fn waypoint() -> Change {
    workload("waypoint").at("127.0.0.10").into()
}

fn none_at(dialed: &str) -> RouteError {
    RouteError::NoHealthyUpstream(dialed.parse().unwrap())
}

#[test]
fn an_unknown_destination_passes_through() {
    check([], "1.2.3.4:80", Ok("through 1.2.3.4:80"));
}

#[test]
fn an_unknown_destination_that_is_the_mesh_s_is_refused_where_that_is_asked_for() {
    let prefixes = vec!["10.96.0.0/12".parse().unwrap(), "fd00::/64".parse().unwrap()];
    let asked = |unknown, dialed: &str| {
        let mesh_addresses = MeshAddresses { prefixes: prefixes.clone(), unknown };
        let mut world = World::new(NodeContext { mesh_addresses, ..node() });
        world.apply(vec![service("svc").at("10.96.0.9").private().into()], Moment::default());
        ask(&world, &source(), dialed, 0)
    };
    for dialed in ["10.96.0.1:80", "[fd00::1]:80"] {
        let through = Step::Done(Ok(format!("through {dialed}")));
        let refused = Step::Done(Err(RouteError::UnknownInMesh(dialed.parse().unwrap())));
        assert_eq!(asked(Strictness::Compat, dialed), through);
        assert_eq!(asked(Strictness::Report, dialed), through);
        assert_eq!(asked(Strictness::Enforce, dialed), refused);
    }
    let outside = Step::Done(Ok("through 1.2.3.4:80".to_owned()));
    assert_eq!(asked(Strictness::Enforce, "1.2.3.4:80"), outside);
}

#[test]
fn a_workload_is_reached_as_it_wants() {
    check([workload("web").at("127.0.0.2").into()], "127.0.0.2:80", Ok("plain 127.0.0.2:80"));
    for node in ["node-a", "node-b"] {
        check(
            [workload("web").at("127.0.0.2").hbone().on_node(node).into()],
            "127.0.0.2:80",
            Ok("tunnel 127.0.0.2:80 by 127.0.0.2:15008 as web"),
        );
    }
}

#[test]
fn an_address_of_the_node_is_not_the_workload_s() {
    let mut on_host = workload("web").at("127.0.0.2").hbone();
    on_host.network_mode = NetworkMode::HostNetwork;
    check([on_host.clone().into()], "127.0.0.2:80", Ok("through 127.0.0.2:80"));
    check(
        [on_host.serving("ns/svc", []).into(), service("svc").at("9.9.9.9").into()],
        "9.9.9.9:80",
        Ok("tunnel 127.0.0.2:8080 by 127.0.0.2:15008 as web"),
    );
}

#[test]
fn our_own_ports_are_not_a_destination() {
    for dialed in
        ["127.0.0.1:15001", "[::1]:15006", "127.0.0.1:15008", "10.0.0.1:15001", "[::ffff:10.0.0.1]:15006"]
    {
        let world = world([source().into()]);
        let got = ask(&world, &source(), dialed, 0);
        assert!(matches!(got, Step::Done(Err(RouteError::SelfCall(_)))), "{dialed} gives {got:?}");
    }
    check([], "1.2.3.4:15001", Ok("through 1.2.3.4:15001"));
    check([], "127.0.0.1:80", Ok("through 127.0.0.1:80"));
}

#[test]
fn a_service_is_translated_to_an_endpoint_and_its_port() {
    let svc = || service("svc").at("9.9.9.9");
    check(
        [svc().into(), workload("web").at("127.0.0.2").serving("ns/svc", []).into()],
        "9.9.9.9:80",
        Ok("plain 127.0.0.2:8080"),
    );
    check(
        [svc().into(), workload("web").at("127.0.0.2").hbone().serving("ns/svc", []).into()],
        "9.9.9.9:80",
        Ok("tunnel 127.0.0.2:8080 by 127.0.0.2:15008 as web"),
    );
    check(
        [
            svc().mapping(80, 0).into(),
            workload("web").at("127.0.0.2").serving("ns/svc", [(80, 1234)]).into(),
            workload("other").at("127.0.0.3").serving("ns/svc", [(8000, 9999)]).into(),
        ],
        "9.9.9.9:80",
        Ok("plain 127.0.0.2:1234"),
    );
}

#[test]
fn a_service_without_endpoints_is_refused() {
    check([service("svc").at("9.9.9.9").into()], "9.9.9.9:80", Err(none_at("9.9.9.9:80")));
    check(
        [service("svc").at("9.9.9.9").into(), workload("web").at("127.0.0.2").serving("ns/svc", []).into()],
        "9.9.9.9:81",
        Err(none_at("9.9.9.9:81")),
    );
    check([service("svc").over("9.0.0.0/8").into()], "9.9.9.9:80", Err(none_at("9.9.9.9:80")));
    assert_eq!(none_at("9.9.9.9:80").to_string(), "no healthy upstream: 9.9.9.9:80");
    assert_eq!(none_at("9.9.9.9:80").reason(), Reason::NoEndpoint);
}

#[test]
fn a_passthrough_service_is_left_alone_but_for_its_waypoint() {
    let svc = || service("svc").at("9.9.9.9").balanced(LoadBalancerMode::Passthrough, &[]);
    let endpoint = || workload("web").at("127.0.0.2").serving("ns/svc", []);
    check([svc().into(), endpoint().into()], "9.9.9.9:80", Ok("through 9.9.9.9:80"));
    check(
        [svc().behind(by_address("127.0.0.10")).into(), endpoint().into(), waypoint()],
        "9.9.9.9:80",
        Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"),
    );
}

#[test]
fn a_service_that_a_client_may_not_see_is_unknown_to_it() {
    let svc = || service("svc").at("9.9.9.9").in_namespace("other");
    check([svc().private().into()], "9.9.9.9:80", Ok("through 9.9.9.9:80"));
    check([svc().into()], "9.9.9.9:80", Err(none_at("9.9.9.9:80")));
}

#[test]
fn the_names_of_a_service_are_accepted_beside_the_workload_s() {
    check(
        [
            service("svc").at("9.9.9.9").also_known_as("spiffe://td/ns/far/sa/twin").into(),
            workload("web").at("127.0.0.2").hbone().serving("ns/svc", []).into(),
        ],
        "9.9.9.9:80",
        Ok("tunnel 127.0.0.2:8080 by 127.0.0.2:15008 as twin|web"),
    );
}

#[test]
fn the_address_follows_the_client_s_family_where_the_service_allows() {
    let dual = || workload("web").at("127.0.0.2").at("ff06::c3").serving("ns/svc", []);
    let svc = || service("svc").at("9.9.9.9").at("ff06::99");
    check([dual().into(), svc().into()], "9.9.9.9:80", Ok("plain 127.0.0.2:8080"));
    check([dual().into(), svc().into()], "[ff06::99]:80", Ok("plain [ff06::c3]:8080"));
    check(
        [dual().into(), svc().families(IpFamilies::Ipv4).into()],
        "[ff06::99]:80",
        Ok("plain 127.0.0.2:8080"),
    );
    check(
        [dual().into(), svc().families(IpFamilies::Ipv6).into()],
        "9.9.9.9:80",
        Ok("plain [ff06::c3]:8080"),
    );
}

#[test]
fn a_hostname_is_looked_up_once_and_its_family_follows_the_client() {
    let world = world([
        service("svc").at("9.9.9.9").into(),
        workload("web").named_in_dns("web.example").serving("ns/svc", []).into(),
    ]);
    let need = Step::Need(Lookup::Hostname("web.example".into()));
    assert_eq!(ask(&world, &source(), "9.9.9.9:80", 0), need);

    let told = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        world.with_answer(Answer::Hostname("web.example".into(), addresses))
    };
    let of = |addresses: &[&str]| ask(&told(addresses), &source(), "9.9.9.9:80", 0);
    assert_eq!(of(&["2001:db8::1", "5.5.5.5"]), Step::Done(Ok("plain 5.5.5.5:8080".into())));
    assert_eq!(of(&["2001:db8::1"]), Step::Done(Ok("plain [2001:db8::1]:8080".into())));
    let unresolved = RouteError::Unresolved("Kubernetes//Pod/ns/web".into(), "web.example".into());
    assert_eq!(of(&[]), Step::Done(Err(unresolved)));
    assert_eq!(ask(&world, &source(), "9.9.9.9:80", 0), need, "an answer is for one question");
}

#[test]
fn a_route_carries_what_the_records_need() {
    let world = world([
        source().into(),
        service("svc").at("9.9.9.9").into(),
        workload("web").at("127.0.0.2").hbone().serving("ns/svc", []).into(),
    ]);
    let flow = Flow::new("10.0.0.1:1".parse().unwrap(), "9.9.9.9:80".parse().unwrap());
    let Step::Done(Ok(route)) = route(&world, &source(), flow, Pick(1)) else { panic!("no route") };
    assert_eq!(route.destination.as_ref().map(|web| &*web.name), Some("web"));
    assert_eq!(route.service.as_ref().map(|svc| &**svc.hostname()), Some("svc"));
    assert_eq!(route.hbone_target().map(ToString::to_string).as_deref(), Some("127.0.0.2:8080"));
}
