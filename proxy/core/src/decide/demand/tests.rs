use std::net::IpAddr;

use super::*;
use crate::{
    Str,
    fixtures::{by_address, by_hostname, node, service, workload},
    world::{Answer, Change, NodeContext},
};

fn on_demand(changes: impl IntoIterator<Item = Change>) -> World {
    let mut world = World::new(NodeContext { on_demand: true, ..node() });
    world.apply(changes.into_iter().collect(), crate::Moment::default());
    world
}

fn source() -> Workload {
    workload("client").at("10.0.0.1")
}

fn asks(world: &World, destination: &str) -> Option<Str> {
    let destination: IpAddr = destination.parse().unwrap();
    match outbound(world, &source(), destination)? {
        Lookup::Address(key) => Some(key),
        other @ Lookup::Hostname(_) => panic!("{other:?}"),
    }
}

#[test]
fn nothing_counts_as_unknown_that_was_not_asked_for() {
    let world = on_demand([]);
    let key = asks(&world, "10.0.0.9").unwrap();
    assert!(key.ends_with("/10.0.0.9"), "{key}");
    assert_eq!(asks(&world.with_answer(Answer::Address(key)), "10.0.0.9"), None, "it was");
    let all = World::new(node());
    assert_eq!(asks(&all, "10.0.0.9"), None, "where everything comes, what is unknown is unknown");
}

#[test]
fn the_way_to_what_is_known_is_asked_for_too() {
    let hop = |change: Change| on_demand([change]);
    let at_address = hop(workload("web").at("10.0.0.2").behind(by_address("10.0.0.8")).into());
    assert!(asks(&at_address, "10.0.0.2").unwrap().ends_with("/10.0.0.8"));
    let named = hop(service("web").at("10.1.0.1").behind(by_hostname("ns/wp")).into());
    assert!(asks(&named, "10.1.0.1").unwrap().ends_with("/wp"));
    let known = on_demand([
        service("web").at("10.1.0.1").behind(by_hostname("ns/wp")).into(),
        service("wp").at("10.1.0.2").into(),
    ]);
    assert_eq!(asks(&known, "10.1.0.1"), None);
}

#[test]
fn the_gateway_of_an_endpoint_in_another_network_is_asked_for() {
    let far = workload("far").on_network("far", Some(by_hostname("ns/gw"))).serving("ns/web", [(80, 80)]);
    let world = on_demand([service("web").at("10.1.0.1").into(), far.into()]);
    assert!(asks(&world, "10.1.0.1").unwrap().ends_with("/gw"));
}

#[test]
fn what_a_tunnel_asks_for_is_asked_for() {
    let asked: IpAddr = "10.0.0.9".parse().unwrap();
    assert!(inbound(&on_demand([]), asked).is_some());
    assert_eq!(inbound(&on_demand([workload("web").at("10.0.0.9").into()]), asked), None);
    assert_eq!(inbound(&World::new(node()), asked), None);
}
