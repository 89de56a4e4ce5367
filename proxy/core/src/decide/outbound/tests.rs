//! Where connections go, as a table: what the world holds, what is dialed, what comes of it.

use std::net::IpAddr;

use super::route;
use crate::{
    Pick, Reason,
    decide::{Flow, Lookup, RouteError, RouteKind, Step},
    fixtures::{by_address, by_hostname, service, workload, world},
    model::{GatewayAddress, IpFamilies, LoadBalancerMode, NetworkMode, Workload},
    world::{Answer, Change, World},
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
                let accounts: Vec<_> = expected.iter().map(|identity| &*identity.service_account).collect();
                format!("tunnel {authority} by {} as {}", route.next_hop, accounts.join("|"))
            }
        })),
        Step::Done(Err(error)) => Step::Done(Err(error)),
        Step::Need(lookup) => Step::Need(lookup),
    }
}

#[track_caller]
fn check<const N: usize>(changes: [Change; N], dialed: &str, want: Result<&str, RouteError>) {
    let world = world([source().into()].into_iter().chain(changes));
    assert_eq!(ask(&world, &source(), dialed, 7), Step::Done(want.map(Into::into)));
}

fn none_at(dialed: &str) -> RouteError {
    RouteError::NoHealthyUpstream(dialed.parse().unwrap())
}

#[test]
fn an_unknown_destination_passes_through() {
    check([], "1.2.3.4:80", Ok("through 1.2.3.4:80"));
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

fn waypoint() -> Change {
    workload("waypoint").at("127.0.0.10").into()
}

#[test]
fn a_workload_s_waypoint_is_the_next_hop_and_gets_the_address_wanted() {
    check(
        [workload("web").at("127.0.0.2").hbone().behind(by_address("127.0.0.10")).into(), waypoint()],
        "127.0.0.2:80",
        Ok("tunnel 127.0.0.2:80 by 127.0.0.10:15008 as waypoint"),
    );
    check(
        [workload("web").at("127.0.0.2").at("ff06::c3").behind(by_address("127.0.0.10")).into(), waypoint()],
        "[ff06::c3]:80",
        Ok("tunnel [ff06::c3]:80 by 127.0.0.10:15008 as waypoint"),
    );
}

#[test]
fn a_source_s_own_waypoint_is_never_used() {
    let world = world([waypoint(), workload("web").at("127.0.0.1").into()]);
    let behind = source().behind(by_address("127.0.0.10"));
    assert_eq!(ask(&world, &behind, "127.0.0.1:80", 0), Step::Done(Ok("plain 127.0.0.1:80".into())));
}

#[test]
fn a_waypoint_does_not_pass_through_itself() {
    for by in [by_address("127.0.0.10"), by_address("9.9.9.1"), by_hostname("ns/waypoint")] {
        let world = world([
            workload("web").at("127.0.0.2").behind(by.clone()).serving("ns/svc", []).into(),
            service("svc").at("9.9.9.9").behind(by).into(),
            service("waypoint").at("9.9.9.1").mapping(15008, 15008).into(),
            workload("waypoint").at("127.0.0.10").serving("ns/waypoint", []).into(),
        ]);
        let me = workload("waypoint").at("127.0.0.10");
        assert_eq!(ask(&world, &me, "127.0.0.2:80", 0), Step::Done(Ok("plain 127.0.0.2:80".into())));
        assert_eq!(ask(&world, &me, "9.9.9.9:80", 0), Step::Done(Ok("plain 127.0.0.2:8080".into())));
        let same_identity_elsewhere = workload("waypoint").at("127.0.0.77");
        for dialed in ["127.0.0.2:80", "9.9.9.9:80"] {
            let want = format!("tunnel {dialed} by 127.0.0.10:15008 as waypoint");
            assert_eq!(ask(&world, &same_identity_elsewhere, dialed, 0), Step::Done(Ok(want)));
        }
    }
}

#[test]
fn a_service_waypoint_is_the_next_hop() {
    for by in [by_address("127.0.0.10"), by_address("9.9.9.1"), by_hostname("ns/waypoint")] {
        check(
            [
                service("svc").at("9.9.9.9").behind(by).into(),
                workload("web").at("127.0.0.2").hbone().serving("ns/svc", []).into(),
                service("waypoint").at("9.9.9.1").mapping(15008, 15008).into(),
                workload("waypoint").at("127.0.0.10").serving("ns/waypoint", []).into(),
            ],
            "9.9.9.9:80",
            Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"),
        );
    }
}

#[test]
fn a_waypoint_behind_a_service_is_reached_at_its_own_port_and_by_all_its_names() {
    check(
        [
            service("svc").at("9.9.9.9").behind(by_hostname("ns/waypoint")).into(),
            service("waypoint")
                .at("9.9.9.1")
                .mapping(15008, 16000)
                .also_known_as("spiffe://td/ns/x/sa/other")
                .into(),
            workload("waypoint").at("127.0.0.10").serving("ns/waypoint", []).into(),
        ],
        "9.9.9.9:80",
        Ok("tunnel 9.9.9.9:80 by 127.0.0.10:16000 as other|waypoint"),
    );
}

#[test]
fn a_waypoint_can_be_a_workload_that_dns_knows() {
    let mut known = workload("waypoint").at("127.0.0.10");
    known.hostname = "waypoint.example".into();
    check(
        [service("svc").at("9.9.9.9").behind(by_hostname("ns/waypoint.example")).into(), known.into()],
        "9.9.9.9:80",
        Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"),
    );
}

#[test]
fn a_missing_waypoint_is_never_passed_by() {
    for by in [by_address("127.0.0.10"), by_hostname("ns/waypoint")] {
        check(
            [
                service("svc").at("9.9.9.9").behind(by.clone()).into(),
                workload("web").at("127.0.0.2").serving("ns/svc", []).into(),
            ],
            "9.9.9.9:80",
            Err(RouteError::UnknownWaypoint(by.clone())),
        );
        check(
            [workload("web").at("127.0.0.2").behind(by.clone()).into()],
            "127.0.0.2:80",
            Err(RouteError::UnknownWaypoint(by)),
        );
    }
}

#[test]
fn weighted_waypoints_take_their_share_and_replace_the_single_one() {
    let first = || by_address("127.0.0.11");
    let second = || by_address("127.0.0.12");
    let shares = |changes: Vec<(GatewayAddress, u32)>| {
        let svc = changes
            .into_iter()
            .fold(service("svc").at("9.9.9.9").behind(by_address("127.0.0.10")), |svc, (by, weight)| {
                svc.sharing(by, weight)
            });
        let world = world([
            svc.into(),
            waypoint(),
            workload("first").at("127.0.0.11").into(),
            workload("second").at("127.0.0.12").into(),
        ]);
        let mut taken = [0; 3];
        for pick in 0..1000 {
            let Step::Done(Ok(route)) = ask(&world, &source(), "9.9.9.9:80", pick) else {
                panic!("no route")
            };
            let which =
                ["127.0.0.10:", "127.0.0.11:", "127.0.0.12:"].iter().position(|at| route.contains(at));
            taken[which.unwrap()] += 1;
        }
        taken
    };
    let [single, some, most] = shares(vec![(first(), 1), (second(), 9)]);
    assert_eq!(single, 0);
    assert!((50..200).contains(&some) && most > 800, "{some} and {most} of 1000");
    assert_eq!(shares(vec![(first(), 0), (second(), 0)]), [1000, 0, 0], "no weight at all");
    assert_eq!(shares(vec![(first(), 0), (second(), 5)]), [0, 0, 1000]);
}

#[test]
fn another_network_is_not_reached_yet_and_never_in_the_clear() {
    let remote = || workload("far").on_network("remote", Some(by_address("10.22.1.1"))).serving("ns/svc", []);
    let unsupported = || RouteError::GatewayUnsupported {
        workload: "Kubernetes//Pod/ns/far".into(),
        network: "remote".into(),
    };
    check([service("svc").at("9.9.9.9").into(), remote().into()], "9.9.9.9:80", Err(unsupported()));
    check(
        [
            service("front").at("9.9.9.9").behind(by_hostname("ns/svc")).into(),
            service("svc").mapping(15008, 15008).into(),
            remote().into(),
        ],
        "9.9.9.9:80",
        Err(unsupported()),
    );
    let no_gateway = workload("far").at("10.9.9.9").on_network("remote", None).serving("ns/svc", []);
    check([service("svc").at("9.9.9.9").into(), no_gateway.into()], "9.9.9.9:80", Err(none_at("9.9.9.9:80")));
    assert_eq!(unsupported().reason(), Reason::NoRoute);
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
