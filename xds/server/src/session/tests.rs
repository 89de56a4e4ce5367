use std::collections::HashMap;

use proptest::strategy::{Just, Strategy};
use prost_types::{Struct, Value};
use xds_proto::google::rpc::Status;

use super::*;
use crate::objects::Objects;
use crate::translate::{MeshConfig, translate};

const A: &str = "Kubernetes//Pod/default/a";
const B: &str = "Kubernetes//Pod/default/b";
const WEB: &str = "default/web.default.svc.cluster.local";

#[test]
fn a_wildcard_is_answered_with_everything_even_when_that_is_nothing() {
    let mut session = Session::default();
    assert_eq!(
        session.on_request(subscribe(ResourceType::Address)),
        Heard::Subscribed(ResourceType::Address)
    );
    let response = session.next(&Translation::default()).unwrap();
    assert_eq!((response.resources.len(), response.removed_resources.len()), (0, 0));
    assert_eq!(session.next(&Translation::default()), None);
}

#[test]
fn only_what_changed_is_pushed() {
    let (mut session, _) = watching(&world(&[("a", 1), ("b", 2)]));
    let response = session.next(&world(&[("a", 1), ("b", 3)])).unwrap();
    assert_eq!(got(&response), [B]);
    let response = session.next(&world(&[("a", 1)])).unwrap();
    assert_eq!(got(&response), [""; 0]);
    assert_eq!(response.removed_resources, [B]);
    assert_eq!(session.next(&world(&[("a", 1)])), None);
}

#[test]
fn changes_that_cancel_out_before_they_are_sent_are_never_sent() {
    let (mut session, _) = watching(&world(&[("a", 1)]));
    for n in 2..100 {
        let _not_sent = world(&[("a", n), ("b", n)]);
    }
    assert_eq!(session.next(&world(&[("a", 1)])), None);
}

#[test]
fn a_client_that_comes_back_is_spared_what_it_holds() {
    let old = world(&[("a", 1), ("b", 2)]);
    let (_, first) = watching(&old);
    let versions = first.resources.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
    let mut session = Session::default();
    session.on_request(DeltaDiscoveryRequest {
        initial_resource_versions: versions,
        ..subscribe(ResourceType::Address)
    });
    let response = session.next(&world(&[("a", 1), ("c", 3)])).unwrap();
    assert_eq!(got(&response), ["Kubernetes//Pod/default/c"]);
    assert_eq!(response.removed_resources, [B]);
}

#[test]
fn a_client_that_comes_back_and_lacks_nothing_is_still_answered() {
    let world = world(&[("a", 1)]);
    let (_, first) = watching(&world);
    let versions = first.resources.iter().map(|r| (r.name.clone(), r.version.clone())).collect();
    let mut session = Session::default();
    session.on_request(DeltaDiscoveryRequest {
        initial_resource_versions: versions,
        ..subscribe(ResourceType::Address)
    });
    let response = session.next(&world).unwrap();
    assert_eq!((response.resources.len(), response.removed_resources.len()), (0, 0));
}

#[test]
fn a_kept_version_of_other_content_is_replaced() {
    let mut session = Session::default();
    let initial_resource_versions = HashMap::from([(A.to_owned(), "beef".to_owned())]);
    session
        .on_request(DeltaDiscoveryRequest { initial_resource_versions, ..subscribe(ResourceType::Address) });
    assert_eq!(got(&session.next(&world(&[("a", 1)])).unwrap()), [A]);
}

#[test]
fn policies_have_no_version_and_are_sent_again_to_who_comes_back() {
    let world = policies(&["p"]);
    let mut session = Session::default();
    let kept = |name: &str| (name.to_owned(), String::new());
    let initial_resource_versions = HashMap::from([kept("default/p"), kept("default/gone")]);
    session.on_request(DeltaDiscoveryRequest {
        initial_resource_versions,
        ..subscribe(ResourceType::Authorization)
    });
    let response = session.next(&world).unwrap();
    assert_eq!(
        (got(&response), response.removed_resources.as_slice()),
        (vec!["default/p"], &["default/gone".to_owned()][..])
    );
    assert_eq!(response.resources[0].version, "");
    assert_eq!(session.next(&world), None);
}

#[test]
fn nonces_are_per_type_and_stale_ones_are_ignored() {
    let mut session = Session::default();
    let world = world(&[("a", 1)]);
    session.on_request(subscribe(ResourceType::Address));
    session.on_request(subscribe(ResourceType::Authorization));
    let address = session.next(&world).unwrap();
    let policy = session.next(&world).unwrap();
    assert_eq!(
        (address.type_url.as_str(), policy.type_url.as_str()),
        (ResourceType::Address.url(), ResourceType::Authorization.url())
    );
    assert_ne!(address.nonce, policy.nonce);
    // Another type's nonce, then an old one of its own.
    assert_eq!(
        session.on_request(answer(ResourceType::Address, &policy.nonce)),
        Heard::Stale(ResourceType::Address)
    );
    let newer = session.next(&self::world(&[("a", 2)])).unwrap();
    assert_eq!(
        session.on_request(answer(ResourceType::Address, &address.nonce)),
        Heard::Stale(ResourceType::Address)
    );
    assert!(!session.answered());
    assert_eq!(
        session.on_request(answer(ResourceType::Address, &newer.nonce)),
        Heard::Acked(ResourceType::Address)
    );
    assert!(!session.answered(), "the policies are not answered yet");
    assert_eq!(
        session.on_request(answer(ResourceType::Authorization, &policy.nonce)),
        Heard::Acked(ResourceType::Authorization)
    );
    assert!(session.answered());
}

#[test]
fn a_stale_subscription_changes_nothing() {
    let (mut session, _) = watching(&world(&[("a", 1)]));
    let stale = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec!["*".into()],
        ..answer(ResourceType::Address, "former")
    };
    assert_eq!(session.on_request(stale), Heard::Stale(ResourceType::Address));
    assert_eq!(got(&session.next(&world(&[("a", 2)])).unwrap()), [A]);
}

#[test]
fn a_refusal_is_told_and_nothing_is_sent_again() {
    let world = world(&[("a", 1)]);
    let (mut session, first) = watching(&world);
    let error_detail = Some(Status { message: "a: bad".into(), ..Status::default() });
    let nack = DeltaDiscoveryRequest { error_detail, ..answer(ResourceType::Address, &first.nonce) };
    let heard = Heard::Nacked { kind: ResourceType::Address, message: "a: bad".into() };
    assert_eq!(session.on_request(nack), heard);
    assert_eq!(session.next(&world), None);
}

#[test]
fn a_type_that_is_not_served_is_not_answered() {
    let mut session = Session::default();
    let request = DeltaDiscoveryRequest { type_url: "type/other".into(), ..DeltaDiscoveryRequest::default() };
    assert_eq!(session.on_request(request), Heard::UnknownType("type/other".into()));
    assert_eq!(session.next(&world(&[("a", 1)])), None);
}

#[test]
fn asking_for_nothing_is_not_asking_for_everything() {
    let mut session = on_demand();
    let world = world(&[("a", 1)]);
    let response = session.next(&world).unwrap();
    assert_eq!((response.resources.len(), response.removed_resources.len()), (0, 0));
    assert_eq!(session.next(&self::world(&[("a", 2)])), None);
}

#[test]
fn a_name_asked_for_is_answered_by_name_or_alias_and_then_followed() {
    for key in [A, "/10.0.0.1"] {
        let mut session = on_demand();
        session.next(&Translation::default());
        assert_eq!(session.on_request(ask(key)), Heard::Subscribed(ResourceType::Address));
        let response = session.next(&world(&[("a", 1), ("b", 2)])).unwrap();
        assert_eq!((got(&response), response.removed_resources.len()), (vec![A], 0), "{key}");
        assert_eq!(response.resources[0].aliases, ["/10.0.0.1"]);
    }
    let mut session = on_demand();
    session.next(&Translation::default());
    session.on_request(ask(A));
    session.next(&world(&[("a", 1)]));
    assert_eq!(got(&session.next(&world(&[("a", 7)])).unwrap()), [A]);
    assert_eq!(session.next(&Translation::default()).unwrap().removed_resources, [A]);
}

#[test]
fn a_name_that_does_not_exist_is_answered_as_removed() {
    let mut session = on_demand();
    session.next(&Translation::default());
    session.on_request(ask("/10.9.9.9"));
    assert_eq!(session.next(&world(&[("a", 1)])).unwrap().removed_resources, ["/10.9.9.9"]);
    assert_eq!(session.next(&world(&[("a", 1)])), None);
}

#[test]
fn a_service_asked_for_brings_its_endpoints() {
    let text =
        "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: web}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}, status: {podIP: 10.0.0.2}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1, selector: {app: web}}}";
    let world = from_yaml(text);
    let mut session = on_demand();
    session.next(&world);
    session.on_request(ask("/10.96.0.1"));
    assert_eq!(got(&session.next(&world).unwrap()), [A, WEB]);
}

/// Whoever asks waits for the answer, whatever it was sent before.
#[test]
fn what_is_asked_for_again_is_sent_again() {
    let world = world(&[("a", 1)]);
    let mut session = on_demand();
    session.on_request(ask(A));
    session.next(&world);
    session.on_request(ask("/10.0.0.1"));
    assert_eq!(got(&session.next(&world).unwrap()), [A]);
    assert_eq!(session.next(&world), None);
}

#[test]
fn what_came_by_an_alias_is_followed_after_the_alias_is_no_longer_asked_for() {
    let mut session = on_demand();
    session.on_request(ask("/10.0.0.1"));
    session.next(&world(&[("a", 1)]));
    let request = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec!["/10.0.0.1".into()],
        ..subscribe(ResourceType::Address)
    };
    session.on_request(request);
    session.next(&world(&[("a", 1)]));
    assert_eq!(got(&session.next(&world(&[("a", 2)])).unwrap()), [A]);
    assert_eq!(session.next(&world(&[])).unwrap().removed_resources, [A]);
}

#[test]
fn an_address_within_a_prefix_is_answered_with_the_service_that_has_it() {
    let world = from_yaml(
        "{apiVersion: adit.dev/v1alpha1, kind: MeshResources, metadata: {name: x},
          services: [{namespace: ns, hostname: h, cidrVips: [{cidr: 10.8.0.0/16}]}]}",
    );
    let mut session = on_demand();
    session.next(&world);
    session.on_request(ask("/10.8.1.2"));
    let response = session.next(&world).unwrap();
    assert_eq!((got(&response), response.removed_resources.len()), (vec!["ns/h"], 0));
    session.on_request(ask("/10.9.1.2"));
    assert_eq!(session.next(&world).unwrap().removed_resources, ["/10.9.1.2"]);
}

#[test]
fn the_workloads_of_a_clients_own_node_come_unasked() {
    let world = from_yaml(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeName: n1}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {nodeName: n2}, status: {podIP: 10.0.0.2}}",
    );
    let name = Value { kind: Some(Kind::StringValue("n1".into())) };
    let metadata = Some(Struct { fields: [("NODE_NAME".to_owned(), name)].into() });
    let mut session = Session::default();
    session.on_request(DeltaDiscoveryRequest {
        node: Some(Node { metadata, ..Node::default() }),
        resource_names_subscribe: vec!["*".into()],
        resource_names_unsubscribe: vec!["*".into()],
        ..subscribe(ResourceType::Address)
    });
    assert_eq!(got(&session.next(&world).unwrap()), [A]);
}

#[test]
fn a_name_no_longer_asked_for_is_forgotten_without_a_word() {
    let mut session = on_demand();
    session.on_request(ask(A));
    session.next(&world(&[("a", 1)]));
    let request = DeltaDiscoveryRequest {
        type_url: ResourceType::Address.url().into(),
        resource_names_unsubscribe: vec![A.into()],
        ..DeltaDiscoveryRequest::default()
    };
    session.on_request(request);
    let response = session.next(&world(&[("a", 2)])).unwrap();
    assert_eq!((response.resources.len(), response.removed_resources.len()), (0, 0));
    assert_eq!(session.next(&world(&[("a", 3)])), None);
}

proptest::proptest! {
    /// Whatever happens to the world and to the connection, a client that reads to the end holds the world.
    #[test]
    fn a_client_that_reads_to_the_end_holds_the_world(steps in proptest::collection::vec(step(), 1..40)) {
        let mut held = BTreeMap::new();
        let mut session = come_back(&held);
        let mut now = Translation::default();
        for step in steps {
            match step {
                Step::World(pods) => {
                    now = world(&pods.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>());
                }
                Step::Read => take_in(&mut held, session.next(&now)),
                Step::Cut => {
                    let _lost_on_its_way = session.next(&now);
                    session = come_back(&held);
                }
            }
        }
        take_in(&mut held, session.next(&now));
        proptest::prop_assert_eq!(session.next(&now), None);
        let want: BTreeMap<_, _> = now.resources.values().map(|r| (r.name.clone(), r.version.clone())).collect();
        proptest::prop_assert_eq!(held, want);
    }
}

#[derive(Clone, Debug)]
enum Step {
    World(BTreeMap<String, u8>),
    Read,
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    let pods = proptest::collection::btree_map("[a-d]", 1..4_u8, 0..4);
    proptest::prop_oneof![pods.prop_map(Step::World), Just(Step::Read), Just(Step::Cut)]
}

fn take_in(held: &mut BTreeMap<String, String>, response: Option<DeltaDiscoveryResponse>) {
    let Some(response) = response else { return };
    held.extend(response.resources.into_iter().map(|resource| (resource.name, resource.version)));
    held.retain(|name, _| !response.removed_resources.contains(name));
}

fn come_back(held: &BTreeMap<String, String>) -> Session {
    let mut session = Session::default();
    let initial_resource_versions = held.clone().into_iter().collect();
    session
        .on_request(DeltaDiscoveryRequest { initial_resource_versions, ..subscribe(ResourceType::Address) });
    session
}

/// A wildcard session of addresses that is up to date, and the response that made it so.
fn watching(world: &Translation) -> (Session, DeltaDiscoveryResponse) {
    let mut session = Session::default();
    session.on_request(subscribe(ResourceType::Address));
    let first = session.next(world).unwrap();
    session.on_request(answer(ResourceType::Address, &first.nonce));
    (session, first)
}

fn on_demand() -> Session {
    let mut session = Session::default();
    session.on_request(DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["*".into()],
        resource_names_unsubscribe: vec!["*".into()],
        ..subscribe(ResourceType::Address)
    });
    session
}

fn subscribe(kind: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.url().into(), ..DeltaDiscoveryRequest::default() }
}

fn ask(name: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { resource_names_subscribe: vec![name.into()], ..subscribe(ResourceType::Address) }
}

fn answer(kind: ResourceType, nonce: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: nonce.into(), ..subscribe(kind) }
}

fn got(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

/// Pods by name and last byte of their address.
fn world(pods: &[(&str, u8)]) -> Translation {
    let pod = |(name, n): &(&str, u8)| {
        format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, status: {{podIP: 10.0.0.{n}}}}}")
    };
    from_yaml(&pods.iter().map(pod).collect::<Vec<_>>().join("\n---\n"))
}

fn policies(names: &[&str]) -> Translation {
    let policy = |name: &&str| {
        format!("{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}}}}}")
    };
    from_yaml(&names.iter().map(policy).collect::<Vec<_>>().join("\n---\n"))
}

fn from_yaml(text: &str) -> Translation {
    let mut objects = Objects::default();
    objects.upsert_yaml("test", text).unwrap();
    translate(&objects, &MeshConfig::default())
}
