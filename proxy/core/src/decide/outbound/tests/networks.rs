//! Connections into another network: through its gateway, and never in the clear.

use super::{ask, check, none_at, source};
use crate::{
    Reason,
    decide::{Lookup, RouteError, Step},
    fixtures::{by_address, by_hostname, service, workload, world},
    model::{Destination, GatewayAddress, LoadBalancerMode, Locale, NetworkAddress, Service, Workload},
    world::{Answer, Change},
};

/// A gateway named by its address in the network that it leads to.
fn at_remote(address: &str, port: u16) -> GatewayAddress {
    let address = NetworkAddress { network: "remote".into(), address: address.parse().unwrap() };
    GatewayAddress { destination: Destination::Address(address), hbone_mtls_port: port }
}

fn gateway() -> Workload {
    workload("gateway").at("10.22.1.1").hbone().on_network("remote", None)
}

/// What stands for all workloads of service `ns/<host>` on the remote network.
fn far(name: &str, host: &str) -> Workload {
    workload(name)
        .hbone()
        .on_network("remote", Some(at_remote("10.22.1.1", 15009)))
        .serving(&format!("ns/{host}"), [])
}

/// The service that is dialed, with the identity of its remote workloads.
fn example() -> Service {
    service("example.com").at("9.9.9.9").also_known_as("spiffe://cluster.local/ns/ns/sa/web")
}

#[test]
fn another_network_is_reached_by_a_tunnel_inside_a_tunnel() {
    check(
        [example().into(), far("far", "example.com").into(), gateway().into()],
        "9.9.9.9:80",
        Ok("double example.com:80 by 10.22.1.1:15009 as gateway, then web"),
    );
}

#[test]
fn the_service_port_is_asked_for_and_not_its_target() {
    check(
        [example().mapping(81, 9999).into(), far("far", "example.com").into(), gateway().into()],
        "9.9.9.9:81",
        Ok("double example.com:81 by 10.22.1.1:15009 as gateway, then web"),
    );
    check(
        [example().into(), far("far", "example.com").into(), gateway().into()],
        "9.9.9.9:82",
        Err(none_at("9.9.9.9:82")),
    );
}

#[test]
fn a_gateway_named_by_hostname_is_reached_at_its_own_port_and_by_all_its_names() {
    let mut behind = far("far", "example.com");
    behind.network_gateway =
        Some(GatewayAddress { hbone_mtls_port: 15009, ..by_hostname("ns/gateway.example") });
    check(
        [
            example().into(),
            behind.into(),
            service("gateway.example")
                .mapping(15009, 15008)
                .also_known_as("spiffe://cluster.local/ns/ns/sa/twin")
                .into(),
            workload("gateway")
                .at("127.0.0.5")
                .hbone()
                .on_network("remote", None)
                .serving("ns/gateway.example", [])
                .into(),
        ],
        "9.9.9.9:80",
        Ok("double example.com:80 by 127.0.0.5:15008 as twin|gateway, then web"),
    );
}

#[test]
fn a_gateway_that_only_dns_knows_is_looked_up() {
    let mut behind = far("far", "example.com");
    behind.network_gateway = Some(by_hostname("ns/gateway.example"));
    let world = world([
        example().into(),
        behind.into(),
        workload("gateway").named_in_dns("gateway.example").on_network("remote", None).into(),
    ]);
    let need = Step::Need(Lookup::Hostname("gateway.example".into()));
    assert_eq!(ask(&world, &source(), "9.9.9.9:80", 0), need);
    let told =
        world.with_answer(Answer::Hostname("gateway.example".into(), vec!["5.5.5.5".parse().unwrap()]));
    let want = "double example.com:80 by 5.5.5.5:15008 as gateway, then web";
    assert_eq!(ask(&told, &source(), "9.9.9.9:80", 0), Step::Done(Ok(want.into())));
}

#[test]
fn a_waypoint_of_another_network_is_reached_under_the_name_of_what_it_stands_for() {
    let front = service("waypoint").also_known_as("spiffe://cluster.local/ns/ns/sa/waypoint");
    check(
        [
            example().behind(by_hostname("ns/waypoint")).into(),
            front.mapping(15008, 15008).into(),
            far("waypoint", "waypoint").into(),
            gateway().into(),
        ],
        "9.9.9.9:80",
        // Whoever ends the inner tunnel is the waypoint.
        Ok("double example.com:80 by 10.22.1.1:15009 as gateway, then waypoint"),
    );
}

#[test]
fn only_the_names_of_the_service_are_accepted_behind_a_gateway() {
    check(
        [service("example.com").at("9.9.9.9").into(), far("far", "example.com").into(), gateway().into()],
        "9.9.9.9:80",
        // Nobody will do, least of all the identity that the stand-in would have.
        Ok("double example.com:80 by 10.22.1.1:15009 as gateway, then "),
    );
}

#[test]
fn an_unknown_gateway_is_told() {
    let unknown = |gateway: &GatewayAddress| RouteError::UnknownGateway(gateway.clone());
    check(
        [example().into(), far("far", "example.com").into()],
        "9.9.9.9:80",
        Err(unknown(&at_remote("10.22.1.1", 15009))),
    );
    let by_name = by_hostname("ns/gateway.example");
    let mut behind = far("far", "example.com");
    behind.network_gateway = Some(by_name.clone());
    check([example().into(), behind.clone().into()], "9.9.9.9:80", Err(unknown(&by_name)));
    // Its service is known, and nobody is behind it or takes tunnels.
    let without_port: [Change; 4] = [
        example().into(),
        behind.into(),
        service("gateway.example").into(),
        gateway().serving("ns/gateway.example", []).into(),
    ];
    check(without_port, "9.9.9.9:80", Err(unknown(&by_name)));
    assert_eq!(unknown(&by_name).to_string(), "unknown network gateway: ns/gateway.example:15008");
    assert_eq!(unknown(&by_name).reason(), Reason::NoRoute);
}

#[test]
fn without_a_gateway_another_network_is_out_of_reach() {
    let alone = workload("far").at("10.9.9.9").on_network("remote", None).serving("ns/example.com", []);
    check([example().into(), alone.into()], "9.9.9.9:80", Err(none_at("9.9.9.9:80")));
}

#[test]
fn an_address_of_another_network_is_unknown_here() {
    check(
        [workload("far").at("10.9.9.9").hbone().on_network("remote", None).into(), gateway().into()],
        "10.9.9.9:80",
        Ok("through 10.9.9.9:80"),
    );
    let mut elsewhere = service("svc");
    elsewhere.vips.push(NetworkAddress { network: "remote".into(), address: "9.9.9.9".parse().unwrap() });
    check([elsewhere.into()], "9.9.9.9:80", Ok("through 9.9.9.9:80"));
}

#[test]
fn workloads_here_and_there_compete_by_capacity_unless_told_otherwise() {
    let near = || workload("near").at("127.0.0.2").hbone().serving("ns/example.com", []);
    let there = || far("far", "example.com").weighing(3);
    let taken = |svc: Service| {
        let world = world([svc.into(), near().into(), there().into(), gateway().into()]);
        (0..400)
            .filter(|pick| match ask(&world, &source(), "9.9.9.9:80", *pick) {
                Step::Done(Ok(route)) => route.starts_with("double"),
                other @ (Step::Done(Err(_)) | Step::Need(_)) => panic!("{other:?}"),
            })
            .count()
    };
    let remote = taken(example());
    assert!((250..350).contains(&remote), "{remote} of 400 go to three quarters of the capacity");
    assert_eq!(taken(example().balanced(LoadBalancerMode::Failover, &[Locale::Network])), 0);
}

#[test]
fn who_insists_on_this_network_never_leaves_it() {
    for preferences in [&[Locale::Network][..], &[Locale::Network, Locale::Region]] {
        check(
            [
                example().balanced(LoadBalancerMode::Strict, preferences).into(),
                far("far", "example.com").into(),
                gateway().into(),
            ],
            "9.9.9.9:80",
            Err(none_at("9.9.9.9:80")),
        );
    }
}

#[test]
fn traffic_fails_over_to_another_network_when_nobody_here_is_ready() {
    let preferences = [Locale::Network, Locale::Region, Locale::Zone];
    check(
        [
            example().balanced(LoadBalancerMode::Failover, &preferences).into(),
            workload("near").at("127.0.0.2").hbone().unhealthy().serving("ns/example.com", []).into(),
            far("far", "example.com").into(),
            gateway().into(),
        ],
        "9.9.9.9:80",
        Ok("double example.com:80 by 10.22.1.1:15009 as gateway, then web"),
    );
}

#[test]
fn a_gateway_by_ipv4_serves_ipv6_clients_and_one_by_hostname_follows_them() {
    let svc = || example().at("ff06::99");
    check(
        [svc().into(), far("far", "example.com").into(), gateway().at("ff06::1").into()],
        "[ff06::99]:80",
        Ok("double example.com:80 by 10.22.1.1:15009 as gateway, then web"),
    );
    let mut behind = far("far", "example.com");
    behind.network_gateway = Some(by_hostname("ns/gateway.example"));
    check(
        [
            svc().into(),
            behind.into(),
            service("gateway.example").mapping(15008, 15008).into(),
            gateway().at("ff06::1").serving("ns/gateway.example", []).into(),
        ],
        "[ff06::99]:80",
        Ok("double example.com:80 by [ff06::1]:15008 as gateway, then web"),
    );
}

#[test]
fn a_gateway_may_be_a_workload_of_this_network() {
    let mut behind = far("far", "example.com");
    behind.network_gateway = Some(by_address("10.22.1.9"));
    check(
        [example().into(), behind.into(), workload("gateway").at("10.22.1.9").into()],
        "9.9.9.9:80",
        Ok("double example.com:80 by 10.22.1.9:15008 as gateway, then web"),
    );
}
