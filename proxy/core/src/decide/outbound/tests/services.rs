//! Which service an address means, and which endpoint and port then take the connection.

use super::{ask, check, none_at, source};
use crate::{
    decide::{RouteError, Step},
    fixtures::{service, workload, world},
    model::{LoadBalancerMode, Locale, Service, Workload},
    world::Change,
};

/// An endpoint of `<namespace>/<host>`.
fn endpoint(name: &str, address: &str, of: &str) -> Workload {
    workload(name).at(address).serving(of, [])
}

#[test]
fn a_prefix_stands_for_its_service_where_no_address_does() {
    let wide = || service("wide").over("9.9.0.0/16");
    let changes = || {
        [
            Change::from(wide()),
            service("exact").at("9.9.9.9").into(),
            endpoint("in-wide", "127.0.0.2", "ns/wide").into(),
            endpoint("in-exact", "127.0.0.3", "ns/exact").into(),
        ]
    };
    check(changes(), "9.9.1.1:80", Ok("plain 127.0.0.2:8080"));
    check(changes(), "9.9.9.9:80", Ok("plain 127.0.0.3:8080"));
    check(changes(), "9.8.9.9:80", Ok("through 9.8.9.9:80"));
}

#[test]
fn the_longer_prefix_wins_but_for_one_of_the_client_s_namespace() {
    let far = |name: &str, cidr: &str| service(name).over(cidr).in_namespace("other");
    check(
        [
            far("wide", "9.9.0.0/16").into(),
            far("long", "9.9.9.0/24").into(),
            endpoint("in-wide", "127.0.0.2", "other/wide").into(),
            endpoint("in-long", "127.0.0.3", "other/long").into(),
        ],
        "9.9.9.9:80",
        Ok("plain 127.0.0.3:8080"),
    );
    check(
        [
            service("wide").over("9.9.0.0/16").into(),
            far("long", "9.9.9.0/24").into(),
            endpoint("in-wide", "127.0.0.2", "ns/wide").into(),
            endpoint("in-long", "127.0.0.3", "other/long").into(),
        ],
        "9.9.9.9:80",
        Ok("plain 127.0.0.2:8080"),
    );
}

#[test]
fn ipv6_prefixes_stand_for_services_too() {
    check(
        [service("svc").over("2001:db8::/32").into(), endpoint("web", "ff06::c3", "ns/svc").into()],
        "[2001:db8:1::9]:80",
        Ok("plain [ff06::c3]:8080"),
    );
}

#[test]
fn one_address_in_many_namespaces_means_the_client_s_own_service_then_the_canonical_one() {
    let in_namespace = |namespace: &str| service("svc").at("9.9.9.9").in_namespace(namespace);
    let behind = |address: &str, namespace: &str| {
        workload(namespace).at(address).serving(&format!("{namespace}/svc"), []).into()
    };
    check(
        [
            in_namespace("a").canonical().into(),
            in_namespace("ns").into(),
            behind("127.0.0.2", "a"),
            behind("127.0.0.3", "ns"),
        ],
        "9.9.9.9:80",
        Ok("plain 127.0.0.3:8080"),
    );
    check(
        [
            in_namespace("a").into(),
            in_namespace("b").canonical().into(),
            behind("127.0.0.2", "a"),
            behind("127.0.0.3", "b"),
        ],
        "9.9.9.9:80",
        Ok("plain 127.0.0.3:8080"),
    );
    check(
        [
            in_namespace("a").canonical().private().into(),
            in_namespace("b").into(),
            behind("127.0.0.2", "a"),
            behind("127.0.0.3", "b"),
        ],
        "9.9.9.9:80",
        Ok("plain 127.0.0.3:8080"),
    );
}

#[test]
fn a_private_service_serves_its_own_namespace() {
    let svc = service("svc").at("9.9.9.9").over("9.9.0.0/16").private();
    check(
        [svc.into(), endpoint("web", "127.0.0.2", "ns/svc").into()],
        "9.9.9.9:80",
        Ok("plain 127.0.0.2:8080"),
    );
    check(
        [service("svc").over("9.9.0.0/16").in_namespace("other").private().into()],
        "9.9.1.1:80",
        Ok("through 9.9.1.1:80"),
    );
}

#[test]
fn an_endpoint_s_own_port_beats_the_service_s() {
    check(
        [
            service("svc").at("9.9.9.9").into(),
            workload("web").at("127.0.0.2").hbone().serving("ns/svc", [(80, 1234)]).into(),
        ],
        "9.9.9.9:80",
        Ok("tunnel 127.0.0.2:1234 by 127.0.0.2:15008 as web"),
    );
}

#[test]
fn endpoints_that_arrive_before_their_service_are_used_once_it_is_there() {
    check(
        [endpoint("web", "127.0.0.2", "ns/svc").into(), service("svc").at("9.9.9.9").into()],
        "9.9.9.9:80",
        Ok("plain 127.0.0.2:8080"),
    );
    // And a service that comes back finds them again.
    check(
        [
            service("svc").at("9.9.9.9").into(),
            endpoint("web", "127.0.0.2", "ns/svc").into(),
            Change::RemoveAddress("ns/svc".into()),
            service("svc").at("9.9.9.8").into(),
        ],
        "9.9.9.8:80",
        Ok("plain 127.0.0.2:8080"),
    );
}

#[test]
fn every_scope_is_one_that_strict_insists_on() {
    for scope in [Locale::Region, Locale::Zone, Locale::Subzone, Locale::Node, Locale::Cluster] {
        let svc = |mode| service("svc").at("9.9.9.9").balanced(mode, &[scope]);
        let mut other = endpoint("other", "127.0.0.2", "ns/svc");
        move_away(&mut other, scope);
        let got = |mode| ask_with(svc(mode), other.clone());
        assert_eq!(got(LoadBalancerMode::Strict), Step::Done(Err(none_at("9.9.9.9:80"))), "{scope:?}");
        let failed_over = Step::Done(Ok("plain 127.0.0.2:8080".into()));
        assert_eq!(got(LoadBalancerMode::Failover), failed_over, "{scope:?}");
        let near = endpoint("near", "127.0.0.3", "ns/svc");
        let world =
            world([source().into(), svc(LoadBalancerMode::Failover).into(), other.into(), near.into()]);
        for pick in 0..20 {
            let got = ask(&world, &source(), "9.9.9.9:80", pick);
            assert_eq!(got, Step::Done(Ok("plain 127.0.0.3:8080".into())), "{scope:?}");
        }
    }
}

fn ask_with(svc: Service, other: Workload) -> Step<Result<String, RouteError>> {
    ask(&world([source().into(), svc.into(), other.into()]), &source(), "9.9.9.9:80", 7)
}

/// Makes one thing of a workload different from the source's.
fn move_away(workload: &mut Workload, scope: Locale) {
    match scope {
        Locale::Region => workload.locality.region = "elsewhere".into(),
        Locale::Zone => workload.locality.zone = "elsewhere".into(),
        Locale::Subzone => workload.locality.subzone = "elsewhere".into(),
        Locale::Node => workload.node = "node-b".into(),
        Locale::Cluster => workload.cluster_id = "elsewhere".into(),
        Locale::Network => workload.network = "elsewhere".into(),
    }
}

#[test]
fn unready_endpoints_serve_where_all_do_and_whoever_dials_them_itself() {
    let web = || endpoint("web", "127.0.0.2", "ns/svc").unhealthy();
    let svc = || service("svc").at("9.9.9.9");
    check([svc().into(), web().into()], "9.9.9.9:80", Err(none_at("9.9.9.9:80")));
    check([svc().taking_unhealthy().into(), web().into()], "9.9.9.9:80", Ok("plain 127.0.0.2:8080"));
    check([svc().into(), web().into()], "127.0.0.2:80", Ok("plain 127.0.0.2:80"));
    // The policy counts as it is now, not as it was when the endpoint came.
    check(
        [svc().into(), web().into(), svc().taking_unhealthy().into()],
        "9.9.9.9:80",
        Ok("plain 127.0.0.2:8080"),
    );
}
