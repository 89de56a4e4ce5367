//! What is found in a world, what follows from a change, and that no order of arrival loses anything.

mod model;

use std::net::IpAddr;

use super::{Change, Effects, Found, World};
use crate::{
    Moment,
    fixtures::{node, policy, service, workload, world},
    model::{Action, Identity, NetworkMode, Policy, Workload},
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The name of what an address stands for.
fn at(world: &World, address: &str) -> Option<String> {
    world.workload_at("", ip(address)).map(|workload| workload.uid.to_string())
}

/// The namespace of the service that a client of a namespace means by an address.
fn meant<'w>(world: &'w World, address: &str, client: &str) -> Option<&'w str> {
    world.service_at("", ip(address), Some(client)).map(|service| &**service.namespace())
}

fn apply<const N: usize>(world: &mut World, changes: [Change; N]) -> Effects {
    world.apply(changes.into(), Moment::default())
}

fn remove(uid: &str) -> Change {
    Change::RemoveAddress(uid.into())
}

#[test]
fn a_pod_that_takes_tunnels_wins_a_shared_address() {
    let with_uid = |uid: &str| {
        let mut workload = workload("x").at("10.0.0.2");
        workload.uid = uid.into();
        workload
    };
    let entry = || with_uid("c/networking.istio.io/WorkloadEntry/ns/x");
    let pod = || with_uid("c//Pod/ns/x");
    let newer = || with_uid("c//Pod/ns/y");
    let table: [(Vec<Workload>, &str); 6] = [
        (vec![entry(), pod()], "c//Pod/ns/x"),
        (vec![pod(), entry()], "c//Pod/ns/x"),
        (vec![pod(), entry().hbone()], "c//Pod/ns/x"),
        (vec![pod(), newer()], "c//Pod/ns/y"),
        (vec![newer(), pod()], "c//Pod/ns/x"),
        (vec![pod().hbone(), newer()], "c//Pod/ns/x"),
    ];
    for (workloads, want) in table {
        let world = world(workloads.into_iter().map(Change::from));
        assert_eq!(at(&world, "10.0.0.2").as_deref(), Some(want));
    }
}

#[test]
fn an_address_is_known_in_its_network_only() {
    let world = world([workload("web").at("10.0.0.2").on_network("far", None).into()]);
    assert_eq!(at(&world, "10.0.0.2"), None);
    assert_eq!(world.workload_at("far", ip("10.0.0.2")).map(|web| &*web.name), Some("web"));
}

#[test]
fn a_workload_that_moves_leaves_its_old_address() {
    let mut world = world([workload("web").at("10.0.0.2").into()]);
    apply(&mut world, [workload("web").at("10.0.0.3").into()]);
    assert_eq!((at(&world, "10.0.0.2"), at(&world, "10.0.0.3").is_some()), (None, true));
    let mut on_host = workload("web").at("10.0.0.3");
    on_host.network_mode = NetworkMode::HostNetwork;
    apply(&mut world, [on_host.into()]);
    assert_eq!(at(&world, "10.0.0.3"), None);
}

#[test]
fn a_local_workload_is_found_by_its_three_names() {
    let world = world([
        workload("web").into(),
        workload("web").in_namespace("other").into(),
        workload("far").on_node("node-b").into(),
    ]);
    let find = |name, namespace, account| {
        world.local_workload(name, namespace, account).map(|workload| workload.uid.to_string())
    };
    assert_eq!(find("web", "ns", "web").as_deref(), Some("Kubernetes//Pod/ns/web"));
    assert_eq!(find("web", "other", "web").as_deref(), Some("Kubernetes//Pod/other/web"));
    assert_eq!(find("web", "ns", "default"), None);
    assert_eq!(find("far", "ns", "far"), None);

    let mut everywhere = World::new(super::NodeContext { node_name: "".into(), ..node() });
    apply(&mut everywhere, [workload("far").on_node("node-b").into()]);
    assert!(everywhere.local_workload("far", "ns", "far").is_some(), "without a node name all are local");
}

#[test]
fn a_service_of_the_client_s_namespace_wins_then_the_canonical_one() {
    let svc = |namespace| service("svc").at("9.9.9.9").in_namespace(namespace);
    let world =
        world([svc("b").into(), svc("a").into(), svc("c").canonical().into(), svc("d").private().into()]);
    assert_eq!(meant(&world, "9.9.9.9", "b"), Some("b"));
    assert_eq!(meant(&world, "9.9.9.9", "d"), Some("d"));
    assert_eq!(meant(&world, "9.9.9.9", "x"), Some("c"));
    let named = |client| world.service_named("svc", client).map(|service| &**service.namespace());
    assert_eq!((named(Some("a")), named(Some("x")), named(None)), (Some("a"), Some("c"), Some("c")));
}

#[test]
fn a_private_service_does_not_exist_elsewhere() {
    let mut world = world([service("svc").at("9.9.9.9").private().into()]);
    assert_eq!((meant(&world, "9.9.9.9", "ns"), meant(&world, "9.9.9.9", "x")), (Some("ns"), None));
    apply(&mut world, [service("all").over("9.0.0.0/8").in_namespace("z").into()]);
    assert_eq!(meant(&world, "9.9.9.9", "x"), Some("z"), "a prefix stands in for a service one may not see");
}

#[test]
fn a_prefix_is_asked_after_the_addresses_and_the_longest_wins() {
    let mut world = world([
        service("wide").over("9.0.0.0/8").in_namespace("wide").into(),
        service("long").over("9.9.0.0/16").in_namespace("long").into(),
        service("exact").at("9.9.9.9").in_namespace("exact").into(),
        service("six").over("2001:db8::/32").in_namespace("six").into(),
    ]);
    assert_eq!(meant(&world, "9.9.9.9", "x"), Some("exact"));
    assert_eq!(meant(&world, "9.9.9.8", "x"), Some("long"));
    assert_eq!(meant(&world, "9.8.0.1", "x"), Some("wide"));
    assert_eq!(meant(&world, "9.9.9.8", "wide"), Some("wide"), "the own namespace wins over a longer prefix");
    assert_eq!(meant(&world, "2001:db8::1", "x"), Some("six"));
    assert_eq!(meant(&world, "8.8.8.8", "x"), None);
    apply(&mut world, [remove("long/long")]);
    assert_eq!(meant(&world, "9.9.9.8", "x"), Some("wide"));
    apply(&mut world, [service("wide").in_namespace("wide").into()]);
    assert_eq!(meant(&world, "9.9.9.8", "x"), None);
}

#[test]
fn an_address_is_a_workload_first_and_its_upstream_a_service_first() {
    let world = world([workload("web").at("9.9.9.9").into(), service("svc").at("9.9.9.9").into()]);
    assert!(matches!(world.find_address("", ip("9.9.9.9"), None), Some(Found::Workload(_))));
    assert!(matches!(world.find_upstream("", ip("9.9.9.9"), None), Some(Found::Service(_))));
}

#[test]
fn a_full_name_is_a_service_first_then_a_workload_in_dns() {
    let mut world = world([workload("web").named_in_dns("svc").into(), service("svc").into()]);
    let key = "ns/svc".parse().unwrap();
    assert!(matches!(world.find_hostname(&key), Some(Found::Service(_))));
    apply(&mut world, [remove("ns/svc")]);
    assert!(matches!(world.find_hostname(&key), Some(Found::Workload(_))));
    apply(&mut world, [remove("Kubernetes//Pod/ns/web")]);
    assert!(world.find_hostname(&key).is_none());
}

/// The uids of a service's endpoints.
fn endpoints(world: &World, key: &str) -> Vec<String> {
    let key = key.parse().unwrap();
    let mut uids: Vec<_> = world.endpoints(&key).map(|endpoint| endpoint.workload.uid.to_string()).collect();
    uids.sort_unstable();
    uids
}

#[test]
fn no_order_of_arrival_loses_an_endpoint() {
    let pod = || Change::from(workload("web").serving("ns/svc", [(80, 8080)]));
    let svc = || Change::from(service("svc"));
    let want = ["Kubernetes//Pod/ns/web"];
    for changes in [vec![pod(), svc()], vec![svc(), pod()], vec![svc(), pod(), remove("ns/svc"), svc()]] {
        assert_eq!(endpoints(&world(changes), "ns/svc"), want);
    }
    let staged = world([pod()]);
    assert_eq!(staged.staged_services().map(ToString::to_string).collect::<Vec<_>>(), ["ns/svc"]);
    assert_eq!(world([pod(), svc()]).staged_services().count(), 0);
}

#[test]
fn an_endpoint_goes_with_its_workload_or_when_the_workload_no_longer_serves() {
    let mut world =
        world([service("svc").into(), workload("web").serving("ns/svc", []).serving("ns/two", []).into()]);
    apply(&mut world, [workload("web").serving("ns/two", [(1, 2)]).into()]);
    assert_eq!(endpoints(&world, "ns/svc"), [""; 0]);
    let two = "ns/two".parse().unwrap();
    let port = world.endpoint(&two, "Kubernetes//Pod/ns/web").and_then(|endpoint| endpoint.ports.get(&1));
    assert_eq!(port, Some(&2));
    apply(&mut world, [remove("Kubernetes//Pod/ns/web")]);
    assert_eq!(endpoints(&world, "ns/two"), [""; 0]);
    assert_eq!(world.staged_services().count(), 0);
}

#[test]
fn a_removed_name_is_a_uid_first_then_a_service() {
    let mut odd = workload("odd");
    odd.uid = "ns/svc".into();
    let mut world = world([odd.into(), service("svc").into()]);
    apply(&mut world, [remove("ns/svc")]);
    assert_eq!((world.workloads().len(), world.services().len()), (0, 1));
    apply(&mut world, [remove("ns/svc"), remove("Kubernetes//Pod/ns/never"), remove("nonsense")]);
    assert_eq!(world.services().len(), 0);
}

#[test]
fn certificates_are_wanted_for_local_tunnels_and_forgotten_with_the_last_workload() {
    let identity = || vec![Identity::new("cluster.local", "ns", "shared")];
    let pod = |name| {
        let mut pod = workload(name).hbone();
        pod.service_account = "shared".into();
        pod
    };
    let mut world = World::new(node());
    assert_eq!(apply(&mut world, [pod("far").on_node("node-b").into()]).wanted, []);
    assert_eq!(apply(&mut world, [pod("a").into()]).wanted, identity());
    assert_eq!(apply(&mut world, [pod("b").into()]).wanted, []);
    assert_eq!(apply(&mut world, [remove("Kubernetes//Pod/ns/a")]).forgotten, []);
    assert_eq!(apply(&mut world, [remove("Kubernetes//Pod/ns/b")]).forgotten, identity());

    let replaced = apply(&mut world, [pod("a").into(), remove("Kubernetes//Pod/ns/a"), pod("b").into()]);
    assert_eq!(
        (replaced.wanted, replaced.forgotten),
        (identity(), vec![]),
        "only the outcome of a batch counts"
    );

    let mut plain = pod("c");
    plain.protocol = crate::model::Protocol::Tcp;
    plain.service_account = "plain".into();
    assert_eq!(apply(&mut world, [plain.clone().into()]).wanted, [], "nobody tunnels to it");
    plain.native_tunnel = true;
    assert_eq!(apply(&mut world, [plain.into()]).wanted, [Identity::new("cluster.local", "ns", "plain")]);
}

#[test]
fn what_changes_nothing_has_no_effect() {
    let changes =
        || [workload("web").into(), service("svc").into(), policy("ns/p", Action::Allow, vec![]).into()];
    let mut world = world(changes());
    assert_eq!(apply(&mut world, changes()), Effects::default());
    assert_eq!(
        apply(&mut world, [remove("ns/none"), Change::RemovePolicy("ns/none".into())]),
        Effects::default()
    );
}

#[test]
fn an_effect_tells_what_has_to_look_again() {
    let mut world = World::new(node());
    let far = apply(&mut world, [workload("far").on_node("node-b").naming("ns/p").into()]);
    assert!(far.workloads_changed && !far.policies_changed, "the policies of a remote workload are not ours");
    let gone = apply(&mut world, [remove("Kubernetes//Pod/ns/far")]);
    assert!(gone.workloads_changed);
    assert!(apply(&mut world, [workload("web").into()]).workloads_changed);
    let touched = apply(&mut world, [workload("web").at("10.0.0.2").into()]);
    assert!(touched.workloads_changed && !touched.policies_changed);
    assert!(apply(&mut world, [policy("ns/p", Action::Allow, vec![]).into()]).policies_changed);
    assert!(apply(&mut world, [Change::RemovePolicy("ns/p".into())]).policies_changed);
}

#[test]
fn a_reader_s_world_never_changes() {
    let mut world = world([workload("web").at("10.0.0.2").into(), service("svc").at("9.9.9.9").into()]);
    let view = world.clone();
    apply(&mut world, [remove("Kubernetes//Pod/ns/web"), remove("ns/svc")]);
    assert!(at(&view, "10.0.0.2").is_some());
    assert_eq!(meant(&view, "9.9.9.9", "ns"), Some("ns"));
    assert_eq!(at(&world, "10.0.0.2"), None);
}

#[test]
fn a_policy_covers_the_namespace_it_has_now() {
    let mut world = world([policy("ns/p", Action::Deny, vec![]).into()]);
    let covering = |world: &World, namespace: &str| world.policies_covering(namespace).count();
    assert_eq!((covering(&world, "ns"), covering(&world, "other")), (1, 0));
    let moved = Policy { namespace: "other".into(), ..policy("ns/p", Action::Deny, vec![]) };
    apply(&mut world, [moved.into()]);
    assert_eq!((covering(&world, "ns"), covering(&world, "other")), (0, 1));
    apply(&mut world, [Change::RemovePolicy("ns/p".into())]);
    assert_eq!(covering(&world, "other"), 0);
}
