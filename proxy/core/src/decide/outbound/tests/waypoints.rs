//! Connections that take a waypoint, and those that must not.

use super::{ask, check, source, waypoint};
use crate::{
    decide::{RouteError, Step},
    fixtures::{by_address, by_hostname, service, workload, world},
    model::{GatewayAddress, LoadBalancerMode, TunnelProtocol},
};

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
fn weighted_waypoints_stand_alone_too() {
    check(
        [
            service("svc").at("9.9.9.9").sharing(by_hostname("ns/waypoint"), 1).into(),
            service("waypoint").mapping(15008, 15008).into(),
            workload("waypoint").at("127.0.0.10").serving("ns/waypoint", []).into(),
        ],
        "9.9.9.9:80",
        Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"),
    );
}

#[test]
fn a_workload_s_waypoint_is_not_for_those_who_dial_its_service() {
    check(
        [
            service("svc").at("9.9.9.9").into(),
            workload("web")
                .at("127.0.0.2")
                .hbone()
                .behind(by_address("127.0.0.10"))
                .serving("ns/svc", [])
                .into(),
            waypoint(),
        ],
        "9.9.9.9:80",
        Ok("tunnel 127.0.0.2:8080 by 127.0.0.2:15008 as web"),
    );
}

#[test]
fn what_is_both_a_workload_and_a_service_takes_no_waypoint_of_the_service() {
    // Its address is the workload's for the first question and the service's for the second, as for ztunnel.
    check(
        [
            service("svc").at("127.0.0.2").behind(by_address("127.0.0.10")).into(),
            workload("web").at("127.0.0.2").serving("ns/svc", []).into(),
            waypoint(),
        ],
        "127.0.0.2:80",
        Ok("plain 127.0.0.2:8080"),
    );
}

#[test]
fn a_waypoint_that_has_no_port_for_tunnels_is_as_good_as_none() {
    let front = || service("waypoint").at("9.9.9.1");
    let svc = || service("svc").at("9.9.9.9").behind(by_hostname("ns/waypoint"));
    let pod = || workload("waypoint").at("127.0.0.10").serving("ns/waypoint", []);
    check(
        [svc().into(), front().into(), pod().into()],
        "9.9.9.9:80",
        Err(RouteError::UnknownWaypoint(by_hostname("ns/waypoint"))),
    );
    // A sandwiched one says what its tunnels become, and takes them on the port that is asked for.
    check(
        [svc().into(), front().into(), pod().tunneled(TunnelProtocol::Proxy, Some(15088)).into()],
        "9.9.9.9:80",
        Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"),
    );
}

#[test]
fn a_waypoint_that_is_not_ready_is_as_good_as_none() {
    check(
        [
            service("svc").at("9.9.9.9").behind(by_hostname("ns/waypoint")).into(),
            service("waypoint").mapping(15008, 15008).into(),
            workload("waypoint").at("127.0.0.10").unhealthy().serving("ns/waypoint", []).into(),
        ],
        "9.9.9.9:80",
        Err(RouteError::UnknownWaypoint(by_hostname("ns/waypoint"))),
    );
}

#[test]
fn a_waypoint_named_by_hostname_follows_the_client_s_family() {
    let changes = || {
        [
            service("svc").at("9.9.9.9").at("ff06::99").behind(by_hostname("ns/waypoint")).into(),
            service("waypoint").mapping(15008, 15008).into(),
            workload("waypoint").at("127.0.0.10").at("ff06::10").serving("ns/waypoint", []).into(),
        ]
    };
    check(changes(), "9.9.9.9:80", Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"));
    check(changes(), "[ff06::99]:80", Ok("tunnel [ff06::99]:80 by [ff06::10]:15008 as waypoint"));
}

#[test]
fn a_waypoint_that_only_dns_knows_is_looked_up() {
    let world = world([
        service("svc").at("9.9.9.9").behind(by_hostname("ns/waypoint.example")).into(),
        workload("waypoint").named_in_dns("waypoint.example").into(),
    ]);
    let need = Step::Need(crate::decide::Lookup::Hostname("waypoint.example".into()));
    assert_eq!(ask(&world, &source(), "9.9.9.9:80", 0), need);
}

#[test]
fn a_waypoint_s_own_balancing_is_respected() {
    check(
        [
            service("svc").at("9.9.9.9").behind(by_hostname("ns/waypoint")).into(),
            service("waypoint")
                .mapping(15008, 15008)
                .balanced(LoadBalancerMode::Failover, &[crate::model::Locale::Node])
                .into(),
            workload("waypoint").at("127.0.0.10").serving("ns/waypoint", []).into(),
            workload("other").at("127.0.0.11").on_node("node-b").serving("ns/waypoint", []).into(),
        ],
        "9.9.9.9:80",
        Ok("tunnel 9.9.9.9:80 by 127.0.0.10:15008 as waypoint"),
    );
}
