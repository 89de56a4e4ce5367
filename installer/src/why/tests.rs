//! What people may type, whom the second question goes to, and the story that the answers make.

use serde_json::{Value, json};

use super::ends::{Destination, Source, selector};
use super::story::Story;
use super::{Error, Next, Question, next};
use crate::Exit;

fn pod(namespace: &str, name: &str) -> Source {
    Source::Pod { name: name.to_owned(), namespace: namespace.to_owned() }
}

#[test]
fn a_source_is_a_pod_what_has_pods_or_an_address() {
    for (typed, want) in [
        ("curl", pod("here", "curl")),
        ("curl.there", pod("there", "curl")),
        ("pod/curl.there", pod("there", "curl")),
        ("10.0.0.1", Source::Address("10.0.0.1".parse().unwrap())),
        ("[fd00::1]", Source::Address("fd00::1".parse().unwrap())),
        (
            "deploy/curl.there",
            Source::Owner {
                api: "apps/v1",
                kind: "Deployment",
                name: "curl".to_owned(),
                namespace: "there".to_owned(),
            },
        ),
    ] {
        assert_eq!(Source::parse(typed, "here").unwrap(), want, "{typed}");
    }
    for typed in ["", "a b", "svc/web", "pod/", "pod/a/b"] {
        let error = Source::parse(typed, "here").expect_err(typed);
        assert_eq!(error.exit(), Exit::Usage, "{typed}");
        assert!(error.to_string().starts_with("SOURCE "), "{error}");
    }
}

#[test]
fn a_destination_is_a_service_a_pod_or_an_address() {
    for (typed, host, port) in [
        ("web", "web", None),
        ("web.default:80", "web.default", Some(80)),
        ("svc/web.default:80", "web.default", Some(80)),
        ("pod/web-1.default:8080", "default/web-1", Some(8080)),
        ("10.0.0.1:80", "10.0.0.1", Some(80)),
        ("[fd00::1]:80", "[fd00::1]", Some(80)),
        ("fd00::1", "[fd00::1]", None),
    ] {
        let want = Destination { host: host.to_owned(), port };
        assert_eq!(Destination::parse(typed).unwrap(), want, "{typed}");
    }
    for typed in ["", "web:", "web:0", "web:http", "web:70000", "deploy/web:80", "a&b:80"] {
        let error = Destination::parse(typed).expect_err(typed);
        assert!(error.to_string().starts_with("DESTINATION "), "{error}");
        assert_eq!(error.exit(), Exit::Usage, "{typed}");
    }
}

#[test]
fn pods_are_found_by_their_owner_s_labels() {
    let owner = json!({"spec": {"selector": {"matchLabels": {"app": "web", "tier": "front"}}}});
    assert_eq!(selector(&owner), "app=web,tier=front");
    let error = Source::parse("deploy/web", "here").unwrap().for_proxy().expect_err("no cluster");
    assert!(matches!(error, Error::Nobody(_)), "{error}");
}

/// What the proxy of node `a` says of a connection to a pod on node `b`.
fn told() -> Value {
    json!({
        "node": "a", "verdict": "allowed", "reason": null,
        "source": {"address": "10.0.0.1", "workload": {"name": "curl", "namespace": "default", "node": "a", "proxy": "Up"}},
        "destination": "10.96.0.1:80",
        "route": {
            "kind": "direct", "protocol": "HBONE", "nextHop": "10.0.1.2:15008", "authority": "10.0.1.2:8080",
            "expectedIdentities": ["spiffe://cluster.local/ns/default/sa/web"],
            "service": "default/web.default.svc.cluster.local",
            "workload": {"name": "web-1", "namespace": "default", "node": "b", "proxy": "Elsewhere"},
            "turns": [
                {"service": "default/web.default.svc.cluster.local"},
                {"choice": "default/web.default.svc.cluster.local", "port": 80, "for": "traffic", "of": 2, "endpoints": [
                    {"workload": "Kubernetes//Pod/default/web-1", "address": "10.0.1.2", "port": 8080, "fit": "chosen"},
                    {"workload": "Kubernetes//Pod/default/web-2", "address": "10.0.1.3", "port": null, "fit": "unhealthy"},
                ]},
            ],
        },
        "end": {
            "guard": "proxy", "arrives": "tunnel",
            "workload": {"name": "web-1", "namespace": "default", "node": "b", "proxy": "Elsewhere"},
            "connection": {"identity": "spiffe://cluster.local/ns/default/sa/curl", "source": "10.0.0.1", "target": "10.0.1.2:8080"},
            "allowed": true, "decidedBy": null, "error": null, "peerAuthentication": "PERMISSIVE",
            "plaintext": {"allowed": true, "refusedBy": null}, "policies": [], "of": 0, "missing": [],
        },
        "change": [],
    })
}

/// What the proxy of node `b` says of its end.
fn onward() -> Value {
    let mut onward = told();
    onward["node"] = "b".into();
    onward["verdict"] = "refused".into();
    onward["reason"] = "DENY".into();
    onward["route"] = Value::Null;
    onward["end"]["decidedBy"] = "default/no".into();
    onward["end"]["error"] = "explicitly denied by: default/no".into();
    onward["end"]["of"] = 1.into();
    onward["end"]["policies"] = json!([{
        "policy": "default/no", "scope": "WorkloadSelector", "action": "Deny", "dryRun": false, "matches": true,
        "evidence": {"cause": "meant", "at": [0, 0, 0], "also": [], "attribute": {
            "field": "principals", "seen": "cluster.local/ns/default/sa/curl",
            "wanted": "cluster.local/ns/default/sa/curl", "of": 1}},
    }]);
    onward["change"] = json!([{"kind": "remove", "policies": ["default/no"], "text": "without default/no"}]);
    onward
}

fn text(story: &Story) -> String {
    story.lines().into_iter().map(|line| line.text + "\n").collect()
}

#[test]
fn the_proxy_that_guards_the_end_is_asked_for_its_word() {
    let question = Question { source: "10.0.0.1".to_owned(), destination: "10.0.1.2".to_owned(), port: 8080 };
    let rest = "&identity=spiffe://cluster.local/ns/default/sa/curl".to_owned();
    assert_eq!(next(&told()), Some(Next { node: "b".to_owned(), question, rest }));
    let mut plain = told();
    plain["end"]["arrives"] = "plain".into();
    plain["end"]["connection"]["identity"] = Value::Null;
    assert_eq!(next(&plain).map(|next| next.rest), Some("&arrives=plain".to_owned()));
    let mut here = told();
    here["end"]["workload"]["proxy"] = "Up".into();
    assert_eq!(next(&here), None);
    let mut waypoint = told();
    waypoint["end"] =
        json!({"guard": "itself", "workload": {"name": "waypoint", "node": "b", "proxy": "Elsewhere"}});
    assert_eq!(next(&waypoint), None);
}

#[test]
fn the_destination_s_proxy_has_the_last_word_about_policies() {
    let story = Story { told: told(), onward: Some(onward()) };
    assert!(!story.is_allowed());
    let json = story.json();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["asked"], json!({"route": "a", "policies": "b"}));
    assert!(json["disagree"].as_str().is_some_and(|text| text.contains("has not been told everything")));
    assert_eq!(
        text(&story),
        "\
curl.default (10.0.0.1) -> 10.96.0.1:80: refused (DENY)
Route
  HBONE to web-1.default on b at 10.0.1.2:15008, for 10.0.1.2:8080
  the address is that of service default/web.default.svc.cluster.local
  endpoints of default/web.default.svc.cluster.local for port 80: 2
    Kubernetes//Pod/default/web-1 10.0.1.2: in the choice
    Kubernetes//Pod/default/web-2 10.0.1.3: left out: it is not ready
  the peer has to prove to be spiffe://cluster.local/ns/default/sa/web
Policy
  web-1.default on b says: explicitly denied by: default/no
  web-1.default on b sees spiffe://cluster.local/ns/default/sa/curl at 10.0.1.2:8080; PeerAuthentication PERMISSIVE
  Deny default/no (WorkloadSelector) matches, which decides
    meant at 0/0/0: principals is 'cluster.local/ns/default/sa/curl', wanted 'cluster.local/ns/default/sa/curl'
It would be allowed
  without default/no
the proxy on a would say allowed, that on b says refused: one of them has not been told everything
"
    );
}

#[test]
fn a_route_that_is_refused_is_the_end_of_the_story() {
    let mut told = told();
    told["verdict"] = "refused".into();
    told["reason"] = "NO_ROUTE".into();
    told["route"] = json!({"kind": "refused", "reason": "NO_ROUTE", "error": "unknown waypoint: /10.0.0.9:15008", "turns": []});
    told["end"] = Value::Null;
    told["change"] = json!([{"kind": "route", "text": "bring the waypoint up"}]);
    let story = Story { told, onward: None };
    assert!(!story.is_allowed());
    let text = text(&story);
    assert!(text.contains("refused (NO_ROUTE)") && text.contains("none: unknown waypoint"), "{text}");
    assert!(text.contains("It would be allowed\n  bring the waypoint up"), "{text}");
}

#[test]
fn what_is_not_for_a_proxy_to_say_is_not_said_to_be_allowed() {
    for (end, want) in [
        (
            json!({"guard": "itself", "workload": {"name": "waypoint", "namespace": "default"}}),
            "takes HBONE itself",
        ),
        (json!({"guard": "other-network"}), "in another network"),
        (
            json!({"guard": "endpoint", "of": 3, "endpoints": [{"name": "web-1", "namespace": "default"}]}),
            "pod/web-1.default",
        ),
    ] {
        let mut told = told();
        told["verdict"] = "open".into();
        told["end"] = end;
        let story = Story { told, onward: None };
        assert!(!story.is_allowed());
        assert!(text(&story).contains(want), "{}", text(&story));
    }
}
