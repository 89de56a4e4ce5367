mod demand;

use std::collections::HashMap;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use prost_types::Any;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use xds_proto::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

use super::{Limits, Pending, Received, Refusal, Session, TypeUrl, Update};
use crate::node::Node;

#[test]
fn the_first_requests_subscribe_to_everything_addresses_first() {
    let requests = session().open();
    let types: Vec<&str> = requests.iter().map(|request| request.type_url.as_str()).collect();
    assert_eq!(types, [ADDRESS_TYPE, AUTHORIZATION_TYPE]);
    for request in requests {
        assert_eq!(
            request.node.as_ref().unwrap().id,
            "ztunnel~1.1.1.1~~.svc.cluster.local".replace("~~", "~.~")
        );
        let type_url = request.type_url.clone();
        assert_eq!(
            request,
            DeltaDiscoveryRequest { node: request.node.clone(), type_url, ..Default::default() }
        );
    }
}

#[test]
fn a_push_is_handed_on_in_order_and_acknowledged_by_nonce_alone() {
    let mut session = session();
    let response = push(ADDRESS_TYPE, "n1").with("b", "2").with("a", "1").without("gone");
    let (update, pending) = receive(&mut session, response);
    assert_eq!(update.type_url, TypeUrl::Address);
    let names: Vec<&str> = update.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(update.resources[0].value, b"body of b");
    assert_eq!(update.removed, ["gone"]);
    assert_eq!(pending.bytes(), 18);
    let answer = session.settle(pending, Vec::new());
    assert_eq!(answer, ack(ADDRESS_TYPE, "n1"));
}

#[test]
fn refused_resources_are_named_in_the_answer() {
    let mut session = session();
    let response = push(ADDRESS_TYPE, "n1").with("a", "1").with("b", "1").with("c", "1");
    let (_, pending) = receive(&mut session, response);
    let answer = session.settle(pending, vec![refusal("a", "no uid"), refusal("c", "bad port")]);
    assert_eq!(nack(&answer), "a: no uid; c: bad port");
    assert_eq!(answer.error_detail.as_ref().unwrap().code, 0);
    assert_eq!(DeltaDiscoveryRequest { error_detail: None, ..answer }, ack(ADDRESS_TYPE, "n1"));
}

#[test]
fn a_reconnect_reports_what_is_held_per_type() {
    let mut session = session();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1").with("b", "1"), &[]);
    settle(&mut session, push(ADDRESS_TYPE, "2").with("b", "2").without("a"), &[]);
    settle(&mut session, push(AUTHORIZATION_TYPE, "3").with("ns/p", ""), &[]);
    assert_eq!(resumed(&mut session), [held(&[("b", "2")]), held(&[("ns/p", "")])]);
}

#[test]
fn a_refused_resource_keeps_the_version_it_had() {
    let mut session = session();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1"), &[]);
    settle(&mut session, push(ADDRESS_TYPE, "2").with("a", "2").with("b", "1"), &["a", "b"]);
    assert_eq!(resumed(&mut session), [held(&[("a", "1"), ("b", "")]), held(&[])]);
}

/// Else a policy that could not be read, and is deleted while no stream is open, would deny for ever.
#[test]
fn a_refused_resource_is_named_until_it_is_taken_or_removed() {
    let mut session = session();
    settle(&mut session, push(AUTHORIZATION_TYPE, "1").with("ns/p", "").with("ns/q", ""), &["ns/p", "ns/q"]);
    assert_eq!(resumed(&mut session)[1], held(&[("ns/p", ""), ("ns/q", "")]));
    settle(&mut session, push(AUTHORIZATION_TYPE, "2").with("ns/q", "2").without("ns/p"), &[]);
    assert_eq!(resumed(&mut session)[1], held(&[("ns/q", "2")]));
}

#[test]
fn a_name_both_sent_and_removed_is_removed() {
    let mut session = session();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1").without("a"), &[]);
    assert_eq!(resumed(&mut session), [held(&[]), held(&[])]);
}

#[test]
fn a_push_that_was_not_settled_is_asked_for_again() {
    let mut session = session();
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1"), &[]);
    receive(&mut session, push(ADDRESS_TYPE, "2").with("a", "2"));
    assert_eq!(resumed(&mut session), [held(&[("a", "1")]), held(&[])]);
}

#[test]
fn synced_means_one_answer_of_each_type_refused_or_not() {
    let mut session = session();
    assert!(!session.synced());
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1"), &["a"]);
    assert!(!session.synced());
    let (_, pending) = receive(&mut session, push(AUTHORIZATION_TYPE, "2"));
    assert!(!session.synced());
    session.settle(pending, Vec::new());
    assert!(session.synced());
    session.open();
    assert!(session.synced());
}

#[test]
fn an_unknown_type_is_acknowledged_and_changes_nothing() {
    let mut session = session();
    let long = "type.googleapis.com/".to_owned() + &"x".repeat(10_000);
    for type_url in ["", "type.googleapis.com/istio.workload.Workload", &long] {
        let Received::Unknown { type_url: shown, reply } =
            session.receive(push(type_url, "n").with("a", "1"))
        else {
            panic!("{type_url} is known")
        };
        assert_eq!(reply, ack(type_url, "n"));
        assert!(type_url.starts_with(&shown) && shown.len() <= 200, "{shown}");
    }
    assert!(!session.synced());
    assert_eq!(resumed(&mut session), [held(&[]), held(&[])]);
}

#[test]
fn damaged_resources_are_refused_and_the_rest_is_taken() {
    let limits = Limits { name: 10, ..Limits::default() };
    let mut session = Session::with_limits(&node(), limits);
    let mut response = push(ADDRESS_TYPE, "n").with("", "1").with("a", &"v".repeat(11)).with("bodyless", "1");
    response.resources.last_mut().unwrap().resource = None;
    let response = response.with("name-too-long", "1").with("fine", "1");
    let (update, pending) = receive(&mut session, response);
    assert_eq!(update.resources.len(), 1);
    let answer = session.settle(pending, Vec::new());
    let want = [
        ": the resource has no name",
        "a: the version has 11 bytes, at most 10 are taken",
        "bodyless: the resource has no body",
        "name-too-long: the name has 13 bytes, at most 10 are taken",
    ];
    assert_eq!(nack(&answer), want.join("; "));
    assert_eq!(resumed(&mut session), [held(&[("fine", "1")]), held(&[])]);
}

#[test]
fn more_resources_than_are_kept_are_refused_but_held_ones_still_change() {
    let limits = Limits { resources: 2, ..Limits::default() };
    let mut session = Session::with_limits(&node(), limits);
    settle(&mut session, push(ADDRESS_TYPE, "1").with("a", "1").with("b", "1"), &[]);
    let answer = settle(&mut session, push(ADDRESS_TYPE, "2").with("c", "1").with("a", "2"), &[]);
    assert_eq!(nack(&answer), "c: more than 2 resources of this type");
    assert_eq!(resumed(&mut session)[0], held(&[("a", "2"), ("b", "1")]));
}

#[test]
fn an_answer_with_many_refusals_says_how_many() {
    let limits = Limits { nack: 30, ..Limits::default() };
    let mut session = Session::with_limits(&node(), limits);
    let (_, pending) = receive(&mut session, push(ADDRESS_TYPE, "1"));
    let refusals = (0..100).map(|index| refusal(&format!("name-{index}"), "é bad")).collect();
    let answer = session.settle(pending, refusals);
    assert_eq!(nack(&answer), "name-0: é bad; name-1: é bad; 100 in all");
}

/// istiod refuses messages over 4 MiB, so a node that holds much could never come back by naming it all.
#[test]
fn what_is_too_much_to_name_is_asked_for_afresh_and_what_is_missing_is_gone() {
    let limits = Limits { resume: 50, ..Limits::default() };
    let mut session = Session::with_limits(&node(), limits);
    let first =
        ["a", "b", "c", "d", "e"].iter().fold(push(ADDRESS_TYPE, "1"), |push, name| push.with(name, "1"));
    settle(&mut session, first, &[]);
    settle(&mut session, push(AUTHORIZATION_TYPE, "1").with("p", ""), &[]);

    assert_eq!(resumed(&mut session), [held(&[]), held(&[("p", "")])]);
    let (update, pending) =
        receive(&mut session, push(ADDRESS_TYPE, "2").with("b", "2").with("c", "1").without("e"));
    assert_eq!(update.removed, ["e", "a", "d"]);
    session.settle(pending, vec![refusal("b", "bad")]);
    let (update, _) = receive(&mut session, push(ADDRESS_TYPE, "3"));
    assert_eq!(update.removed, Vec::<String>::new());
    assert_eq!(resumed(&mut session)[0], held(&[("b", "1"), ("c", "1")]));
}

#[derive(Debug, Clone)]
enum Act {
    Open,
    Push { address: bool, names: Vec<u8>, removed: Vec<u8>, refused: Vec<u8> },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let names = || prop::collection::vec(0_u8..12, 0..8);
    let push = (any::<bool>(), names(), names(), names())
        .prop_map(|(address, names, removed, refused)| Act::Push { address, names, removed, refused });
    prop::collection::vec(prop_oneof![1 => prop::strategy::Just(Act::Open), 4 => push], 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_session_never_holds_more_than_its_bound_nor_what_was_removed(acts in acts()) {
        let limits = Limits { resources: 5, resume: 40, ..Limits::default() };
        let mut session = Session::with_limits(&node(), limits);
        session.open();
        for (turn, act) in acts.into_iter().enumerate() {
            let Act::Push { address, names, removed, refused } = act else {
                session.open();
                continue;
            };
            let type_url = if address { TypeUrl::Address } else { TypeUrl::Authorization };
            let mut response = push(type_url.as_str(), "n");
            for name in names {
                response = response.with(&name.to_string(), &turn.to_string());
            }
            for name in &removed {
                response = response.without(&name.to_string());
            }
            let (update, pending) = receive(&mut session, response);
            let refused = refused.into_iter().map(|name| refusal(&name.to_string(), "why")).collect();
            session.settle(pending, refused);
            let versions = &session.held(type_url).versions;
            assert!(versions.len() <= limits.resources, "{versions:?}");
            assert!(update.removed.iter().all(|name| !versions.contains_key(name)), "{versions:?}");
        }
    }
}

fn node() -> Node {
    Node { instance_ip: "1.1.1.1".to_owned(), ..Node::default() }
}

fn session() -> Session {
    Session::new(&node())
}

trait Build {
    fn with(self, name: &str, version: &str) -> Self;
    fn without(self, name: &str) -> Self;
}

impl Build for DeltaDiscoveryResponse {
    fn with(mut self, name: &str, version: &str) -> Self {
        let any = Any { type_url: String::new(), value: format!("body of {name}").into_bytes() };
        let (name, version) = (name.to_owned(), version.to_owned());
        self.resources.push(Resource { name, version, resource: Some(any), ..Default::default() });
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.removed_resources.push(name.to_owned());
        self
    }
}

fn push(type_url: &str, nonce: &str) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse { type_url: type_url.to_owned(), nonce: nonce.to_owned(), ..Default::default() }
}

fn ack(type_url: &str, nonce: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        response_nonce: nonce.to_owned(),
        ..Default::default()
    }
}

fn refusal(name: &str, why: &str) -> Refusal {
    Refusal { name: name.to_owned(), why: why.to_owned() }
}

#[track_caller]
fn nack(answer: &DeltaDiscoveryRequest) -> &str {
    &answer.error_detail.as_ref().unwrap().message
}

#[track_caller]
fn receive(session: &mut Session, response: DeltaDiscoveryResponse) -> (Update, Pending) {
    match session.receive(response) {
        Received::Push { update, pending } => (update, pending),
        Received::Unknown { type_url, .. } => panic!("{type_url} is unknown"),
    }
}

fn settle(
    session: &mut Session,
    response: DeltaDiscoveryResponse,
    refused: &[&str],
) -> DeltaDiscoveryRequest {
    let (_, pending) = receive(session, response);
    session.settle(pending, refused.iter().map(|name| refusal(name, "why")).collect())
}

/// What each type's first request on a new stream says we hold.
fn resumed(session: &mut Session) -> Vec<HashMap<String, String>> {
    session.open().into_iter().map(|request| request.initial_resource_versions).collect()
}

fn held(entries: &[(&str, &str)]) -> HashMap<String, String> {
    entries.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
}
