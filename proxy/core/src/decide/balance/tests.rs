//! Which endpoint is chosen, how often, and which never.

use std::{collections::BTreeMap, sync::Arc};

use super::{Purpose, Wanted, choose};
use crate::{
    Pick,
    fixtures::{by_address, service, workload, world},
    model::{LoadBalancerMode, Locale, Service, TunnelProtocol, Workload},
};

/// How often each endpoint is chosen in a thousand picks.
fn shares<const N: usize>(
    service: &Service,
    endpoints: [Workload; N],
    purpose: Purpose,
) -> BTreeMap<String, u32> {
    shares_of(service, endpoints.into(), purpose)
}

fn shares_of(service: &Service, endpoints: Vec<Workload>, purpose: Purpose) -> BTreeMap<String, u32> {
    let key = service.key.to_string();
    let world = world([service.clone().into()].into_iter().chain(endpoints.into_iter().map(|endpoint| {
        let ports: Vec<_> = endpoint.services.values().flat_map(|ports| ports.iter()).collect();
        if ports.is_empty() { endpoint.serving(&key, []) } else { endpoint }.into()
    })));
    let source = workload("client").at("10.0.0.1").in_region("r1", "z1");
    let service = &Arc::new(service.clone());
    let mut shares = BTreeMap::new();
    for pick in 0..1000 {
        let wanted = Wanted { service, port: 80, purpose };
        if let Some(chosen) = choose(&world, &source, wanted, Pick(pick)) {
            *shares.entry(format!("{}:{}", chosen.workload.name, chosen.port)).or_default() += 1;
        }
    }
    shares
}

#[track_caller]
fn only<const N: usize>(service: &Service, endpoints: [Workload; N], want: &[&str]) {
    let got = shares(service, endpoints, Purpose::Traffic);
    assert_eq!(got.keys().map(String::as_str).collect::<Vec<_>>(), want);
}

fn pod(name: &str) -> Workload {
    workload(name).at("10.0.0.9")
}

#[test]
fn connections_go_by_capacity() {
    let got =
        shares(&service("svc"), [pod("a"), pod("b").weighing(3), pod("c").weighing(0)], Purpose::Traffic);
    let (a, b) = (got["a:8080"], got["b:8080"]);
    assert_eq!(a + b, 1000, "c takes none");
    assert!((200..300).contains(&a), "a takes about a quarter, not {a}");
}

#[test]
fn no_capacity_at_all_is_no_endpoint() {
    only(&service("svc"), [pod("a").weighing(0)], &[]);
}

#[test]
fn an_unhealthy_endpoint_is_used_only_where_all_are() {
    only(&service("svc"), [pod("a"), pod("b").unhealthy()], &["a:8080"]);
    only(&service("svc").taking_unhealthy(), [pod("a"), pod("b").unhealthy()], &["a:8080", "b:8080"]);
}

#[test]
fn failover_takes_the_closest_there_is() {
    let svc = service("svc").balanced(LoadBalancerMode::Failover, &[Locale::Region, Locale::Zone]);
    let here = || pod("here").in_region("r1", "z1");
    let near = || pod("near").in_region("r1", "z2");
    let far = || pod("far").in_region("r2", "z1");
    only(&svc, [here(), near(), far()], &["here:8080"]);
    only(&svc, [near(), far()], &["near:8080"]);
    only(&svc, [far()], &["far:8080"]);
    only(&svc, [here().weighing(0), near(), far()], &["near:8080"]);
    only(&svc, [here().unhealthy(), near(), far()], &["near:8080"]);
}

#[test]
fn strict_takes_nothing_but_a_full_match() {
    let svc = service("svc").balanced(LoadBalancerMode::Strict, &[Locale::Node]);
    only(&svc, [pod("here"), pod("there").on_node("node-b")], &["here:8080"]);
    only(&svc, [pod("there").on_node("node-b")], &[]);
}

#[test]
fn the_own_network_comes_before_every_place_in_another() {
    let svc =
        service("svc").balanced(LoadBalancerMode::Failover, &[Locale::Network, Locale::Region, Locale::Zone]);
    let remote = || pod("remote").on_network("remote", Some(by_address("10.22.1.1"))).in_region("r1", "z1");
    only(&svc, [pod("local").in_region("r9", "z9"), remote()], &["local:8080"]);
    only(
        &svc,
        [remote(), pod("other").on_network("remote", Some(by_address("10.22.1.1")))],
        &["remote:8080"],
    );
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_not_chosen() {
    only(&service("svc"), [workload("nowhere")], &[]);
    only(&service("svc"), [pod("far").on_network("remote", None)], &[]);
    only(&service("svc"), [workload("named").named_in_dns("x.example")], &["named:8080"]);
}

#[test]
fn a_port_comes_from_the_endpoint_then_from_the_service() {
    only(&service("svc"), [pod("a").serving("ns/svc", [(80, 1234)])], &["a:1234"]);
    only(&service("svc"), [pod("a").serving("ns/svc", [(80, 0)])], &["a:8080"]);
    only(&service("svc").mapping(80, 0), [pod("a").serving("ns/svc", [(81, 1)])], &[]);
    let mut without = service("svc");
    without.ports.clear();
    only(&without, [pod("a").serving("ns/svc", [(80, 1234)])], &[]);
}

#[test]
fn a_waypoint_may_take_tunnels_on_a_port_that_its_service_does_not_name() {
    let mut front = service("front");
    front.ports.clear();
    let of = |pod: Workload| shares(&front, [pod], Purpose::Waypoint).into_keys().collect::<Vec<_>>();
    assert_eq!(of(pod("a").tunneled(TunnelProtocol::Proxy, Some(15088))), ["a:80"]);
    assert_eq!(of(pod("a").tunneled(TunnelProtocol::Proxy, None)), [""; 0]);
    assert_eq!(of(pod("a")), [""; 0]);
    assert_eq!(of(pod("a").serving("ns/front", [(80, 99)])), ["a:99"]);
}

#[test]
fn among_many_the_shares_are_those_of_a_few() {
    let many = |place: &'static str, capacity| {
        (0..200).map(move |turn| pod(&format!("{place}-{turn}")).in_region("r1", place).weighing(capacity))
    };
    let endpoints: Vec<_> = many("z1", 1).chain(many("z2", 3)).collect();
    let of_zone = |shares: &BTreeMap<String, u32>, zone: &str| -> u32 {
        shares.iter().filter(|(name, _)| name.starts_with(zone)).map(|(_, share)| share).sum()
    };
    let by_capacity = shares_of(&service("svc"), endpoints.clone(), Purpose::Traffic);
    let light = of_zone(&by_capacity, "z1");
    assert_eq!(light + of_zone(&by_capacity, "z2"), 1000);
    assert!((200..300).contains(&light), "a quarter of the capacity takes about a quarter, not {light}");
    assert!(by_capacity.len() > 300, "only {} of 400 are ever chosen", by_capacity.len());

    let close = service("svc").balanced(LoadBalancerMode::Failover, &[Locale::Region, Locale::Zone]);
    let here = shares_of(&close, endpoints, Purpose::Traffic);
    assert_eq!(of_zone(&here, "z1"), 1000, "the own zone comes first, however little it can take");
}

#[test]
fn one_that_is_hard_to_find_among_many_is_found() {
    let unready = (0..500).map(|turn| pod(&format!("unready-{turn}")).unhealthy());
    let heavy = pod("heavy").weighing(4_000_000).unhealthy();
    let endpoints: Vec<_> = unready.chain([heavy, pod("only")]).collect();
    let shares = shares_of(&service("svc"), endpoints, Purpose::Traffic);
    assert_eq!(shares.into_iter().collect::<Vec<_>>(), [("only:8080".to_owned(), 1000)]);
}
