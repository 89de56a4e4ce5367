//! Policies as they reach the wire, and which workloads name them.

use xds_proto::istio::security::string_match::MatchType;
use xds_proto::istio::security::{
    Action, Address as Block, Clause, Match, Rule, Scope, ServiceAccountMatch, StringMatch,
};

use super::*;

#[test]
fn scope_follows_namespace_and_selector() {
    for (namespace, spec, want) in [
        ("shop", "{}", Scope::Namespace),
        ("istio-system", "{}", Scope::Global),
        ("shop", "{selector: {matchLabels: {app: a}}}", Scope::WorkloadSelector),
        ("istio-system", "{selector: {matchLabels: {app: a}}}", Scope::WorkloadSelector),
    ] {
        let world = world(&authz(namespace, "p", spec));
        assert_eq!(policy(&world, &format!("{namespace}/p")).scope, i32::from(want), "{namespace} {spec}");
    }
}

#[test]
fn a_policy_without_rules_allows_nothing() {
    let got = policy(&world(&authz("shop", "p", "{}")), "shop/p");
    assert_eq!((got.action, got.rules), (Action::Allow.into(), vec![]));
}

#[test]
fn an_empty_rule_matches_everything() {
    let got = policy(&world(&authz("shop", "p", "{rules: [{}]}")), "shop/p");
    assert_eq!(got.rules, [Rule { clauses: vec![] }]);
}

#[test]
fn the_tutorials_deny_is_one_rule_of_two_clauses() {
    let spec = "{selector: {matchLabels: {app: handson}}, action: DENY, rules: [
        {from: [{source: {principals: [cluster.local/ns/default/sa/curl-deny]}}], to: [{operation: {ports: ['8080']}}]}]}";
    let got = policy(&world(&authz("default", "layer4-authz", spec)), "default/layer4-authz");
    assert_eq!(got.action, i32::from(Action::Deny));
    let to = Match { destination_ports: vec![8080], ..Match::default() };
    let principals = vec![exact("cluster.local/ns/default/sa/curl-deny")];
    let from = Match { principals, ..Match::default() };
    assert_eq!(got.rules, [rule(vec![vec![to], vec![from]])]);
}

#[test]
fn every_source_field_reaches_the_wire() {
    let some = |kind| StringMatch { match_type: Some(kind) };
    let block = |octets: &[u8], length| Block { address: octets.to_vec(), length };
    let account = |namespace: &str, name: &str| ServiceAccountMatch {
        namespace: namespace.into(),
        service_account: name.into(),
    };
    for (source, want) in [
        ("principals: ['*']", Match { principals: vec![some(MatchType::Presence(()))], ..Match::default() }),
        (
            "principals: ['*/sa/x']",
            Match { principals: vec![some(MatchType::Suffix("/sa/x".into()))], ..Match::default() },
        ),
        (
            "principals: ['td/ns/*']",
            Match { principals: vec![some(MatchType::Prefix("td/ns/".into()))], ..Match::default() },
        ),
        ("notPrincipals: [a]", Match { not_principals: vec![exact("a")], ..Match::default() }),
        ("namespaces: [a, b]", Match { namespaces: vec![exact("a"), exact("b")], ..Match::default() }),
        ("notNamespaces: [a]", Match { not_namespaces: vec![exact("a")], ..Match::default() }),
        (
            "serviceAccounts: [a, n/b]",
            Match { service_accounts: vec![account("shop", "a"), account("n", "b")], ..Match::default() },
        ),
        (
            "notServiceAccounts: [a]",
            Match { not_service_accounts: vec![account("shop", "a")], ..Match::default() },
        ),
        ("ipBlocks: [10.1.2.3]", Match { source_ips: vec![block(&[10, 1, 2, 3], 32)], ..Match::default() }),
        (
            "notIpBlocks: [10.1.2.3/8]",
            Match { not_source_ips: vec![block(&[10, 1, 2, 3], 8)], ..Match::default() },
        ),
    ] {
        let spec = format!("{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}");
        assert_eq!(rules(&spec), [rule(vec![vec![want]])], "{source}");
    }
}

#[test]
fn several_sources_are_alternatives_and_conditions_are_not() {
    let spec = "{rules: [{from: [{source: {namespaces: [a]}}, {source: {namespaces: [b]}}], when: [
        {key: source.namespace, values: [c], notValues: [d]}, {key: destination.port, values: ['80', '81']}]}]}";
    let namespaces = |name: &str| Match { namespaces: vec![exact(name)], ..Match::default() };
    let first = Match { not_namespaces: vec![exact("d")], ..namespaces("c") };
    let second = Match { destination_ports: vec![80, 81], ..Match::default() };
    assert_eq!(rules(spec), [rule(vec![vec![namespaces("a"), namespaces("b")], vec![first], vec![second]])]);
}

#[test]
fn every_condition_of_layer_4_reaches_the_wire() {
    for (key, value, want) in [
        ("source.ip", "10.0.0.1", Match { source_ips: vec![host()], ..none() }),
        ("source.namespace", "n", Match { namespaces: vec![exact("n")], ..none() }),
        ("source.principal", "p", Match { principals: vec![exact("p")], ..none() }),
        ("source.serviceAccount", "a", Match { service_accounts: vec![account()], ..none() }),
        ("destination.ip", "10.0.0.1", Match { destination_ips: vec![host()], ..none() }),
        ("destination.port", "80", Match { destination_ports: vec![80], ..none() }),
    ] {
        let spec = format!("{{rules: [{{when: [{{key: {key}, values: ['{value}']}}]}}]}}");
        assert_eq!(rules(&spec), [rule(vec![vec![want]])], "{key}");
    }
}

#[test]
fn every_condition_of_layer_4_can_be_turned_around() {
    for (key, value, want) in [
        ("source.ip", "10.0.0.1", Match { not_source_ips: vec![host()], ..none() }),
        ("source.namespace", "n", Match { not_namespaces: vec![exact("n")], ..none() }),
        ("source.principal", "p", Match { not_principals: vec![exact("p")], ..none() }),
        ("source.serviceAccount", "a", Match { not_service_accounts: vec![account()], ..none() }),
        ("destination.ip", "10.0.0.1", Match { not_destination_ips: vec![host()], ..none() }),
        ("destination.port", "80", Match { not_destination_ports: vec![80], ..none() }),
    ] {
        let spec = format!("{{rules: [{{when: [{{key: {key}, notValues: ['{value}']}}]}}]}}");
        assert_eq!(rules(&spec), [rule(vec![vec![want]])], "{key}");
    }
}

#[test]
fn an_allow_rule_that_needs_http_is_left_out_and_remarked() {
    for http in [
        "to: [{operation: {methods: [GET]}}]",
        "to: [{operation: {ports: ['80'], notPaths: [/x]}}]",
        "from: [{source: {requestPrincipals: ['*']}}]",
        "from: [{source: {remoteIpBlocks: [10.0.0.1]}}]",
        "when: [{key: 'request.headers[x]', values: [y]}]",
    ] {
        let spec = format!("{{rules: [{{{http}}}, {{from: [{{source: {{namespaces: [a]}}}}]}}]}}");
        let world = world(&authz("shop", "p", &spec));
        assert_eq!(policy(&world, "shop/p").rules.len(), 1, "{http}");
        assert!(matches!(world.remarks.as_slice(), [Remark { why: Why::HttpInAllow(_), .. }]), "{http}");
    }
}

#[test]
fn a_deny_rule_keeps_what_is_left_without_http() {
    let spec = "{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['80']}}], when: [{key: connection.sni, values: [x]}]}]}";
    let world = world(&authz("shop", "p", spec));
    let ports = Match { destination_ports: vec![80], ..none() };
    assert_eq!(policy(&world, "shop/p").rules, [rule(vec![vec![ports], vec![none()]])]);
    assert_eq!(world.remarks[0].why, Why::HttpInDeny("connection.sni, methods".into()));
}

#[test]
fn what_is_for_a_waypoint_is_not_sent() {
    for (spec, why) in [
        ("{targetRefs: [{kind: Service, name: web}], action: DENY}", None),
        ("{targetRef: {kind: Gateway, name: w}}", None),
        ("{action: AUDIT}", Some(Why::Action("AUDIT"))),
        ("{action: CUSTOM, provider: {name: ext}}", Some(Why::Action("CUSTOM"))),
    ] {
        let world = world(&authz("shop", "p", spec));
        assert_eq!(names(&world, ResourceType::Authorization), [""; 0], "{spec}");
        assert_eq!(world.remarks.into_iter().map(|remark| remark.why).next(), why, "{spec}");
    }
}

#[test]
fn a_dry_run_policy_is_sent_only_where_that_is_enabled() {
    let text = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
        metadata: {name: p, annotations: {istio.io/dry-run: 'true'}}}";
    assert_eq!(names(&world(text), ResourceType::Authorization), [""; 0]);
    let mesh = MeshConfig { dry_run_policies: true, ..MeshConfig::default() };
    assert!(policy(&mesh_world(text, &mesh), "default/p").dry_run);
    let off = text.replace("'true'", "'false'");
    assert!(!policy(&world(&off), "default/p").dry_run);
}

#[test]
fn a_workload_names_the_selector_policies_that_select_it() {
    let select = |app: &str| format!("{{selector: {{matchLabels: {{app: {app}}}}}}}");
    let text = [
        pod("shop", "app: a"),
        authz("shop", "z", &select("a")),
        authz("istio-system", "root", &select("a")),
        authz("shop", "other", &select("b")),
        authz("elsewhere", "p", &select("a")),
        authz("shop", "whole", "{}"),
        authz("shop", "all", "{selector: {matchLabels: {}}}"),
        authz("shop", "nothing", "{selector: {}}"),
    ]
    .join("\n---\n");
    assert_eq!(named(&world(&text)), ["istio-system/root", "shop/all", "shop/z"]);
}

#[test]
fn a_strict_mesh_namespace_or_workload_names_the_static_policy() {
    const STATIC: &[&str] = &["istio-system/istio_converted_static_strict"];
    const NONE: &[&str] = &[];
    let mesh = |mode: &str| peer("istio-system", "m", &format!("{{mtls: {{mode: {mode}}}}}"));
    let space = |mode: &str| peer("shop", "n", &format!("{{mtls: {{mode: {mode}}}}}"));
    let own = |mode: &str| {
        peer("shop", "w", &format!("{{selector: {{matchLabels: {{app: a}}}}, mtls: {{mode: {mode}}}}}"))
    };
    let foreign = peer("other", "n", "{mtls: {mode: STRICT}}");
    let unselected = peer("shop", "w", "{selector: {matchLabels: {app: b}}, mtls: {mode: STRICT}}");
    let selected_in_root =
        peer("istio-system", "w", "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}");
    for (peers, want) in [
        (vec![mesh("STRICT")], STATIC),
        (vec![mesh("PERMISSIVE")], NONE),
        (vec![space("STRICT")], STATIC),
        (vec![mesh("STRICT"), space("PERMISSIVE")], NONE),
        (vec![mesh("STRICT"), space("UNSET")], STATIC),
        (vec![mesh("STRICT"), space("DISABLE"), own("STRICT")], STATIC),
        (vec![own("STRICT")], STATIC),
        (vec![mesh("STRICT"), own("PERMISSIVE")], NONE),
        (vec![mesh("STRICT"), own("UNSET")], STATIC),
        (vec![foreign], NONE),
        (vec![unselected], NONE),
        (vec![selected_in_root], NONE),
    ] {
        let text =
            [pod("shop", "app: a")].into_iter().chain(peers.clone()).collect::<Vec<_>>().join("\n---\n");
        assert_eq!(named(&world(&text)), want, "{peers:?}");
    }
}

#[test]
fn the_static_policy_denies_every_source_without_an_identity() {
    let world = world(&peer("shop", "n", "{}"));
    let got = policy(&world, "istio-system/istio_converted_static_strict");
    assert_eq!((got.scope, got.action), (Scope::WorkloadSelector.into(), Action::Deny.into()));
    assert_eq!(got.rules, [rule(vec![vec![anonymous()]])]);
    assert_eq!(names(&world, ResourceType::Authorization), ["istio-system/istio_converted_static_strict"]);
}

#[test]
fn of_two_objects_at_one_level_the_oldest_counts() {
    let aged = |name: &str, mode: &str, at: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, spec: {{mtls: {{mode: {mode}}}}},
              metadata: {{name: {name}, namespace: shop, creationTimestamp: '{at}'}}}}"
        )
    };
    let text = [
        pod("shop", "app: a"),
        aged("a", "STRICT", "2026-01-02T00:00:00Z"),
        aged("b", "PERMISSIVE", "2026-01-01T00:00:00Z"),
    ];
    assert_eq!(named(&world(&text.join("\n---\n"))), [""; 0]);
}

#[test]
fn ports_with_modes_of_their_own_become_a_policy() {
    const STATIC: &str = "istio-system/istio_converted_static_strict";
    const OWN: &str = "shop/converted_peer_authentication_w";
    let strict_mesh = peer("istio-system", "m", "{mtls: {mode: STRICT}}");
    let unset_space = peer("shop", "n", "{mtls: {mode: UNSET}}");
    let only = |port| rule(vec![vec![Match { destination_ports: vec![port], ..anonymous() }]]);
    let except = |port| vec![Match { not_destination_ports: vec![port], ..none() }];
    let both = rule(vec![vec![anonymous()], except(80)]);
    let merged = rule(vec![except(80), vec![anonymous()]]);
    let own = |mode: &str, ports: &str| {
        peer(
            "shop",
            "w",
            &format!(
                "{{selector: {{matchLabels: {{app: a}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {{{ports}}}}}"
            ),
        )
    };
    type Case = (Vec<String>, Option<Vec<Rule>>, &'static [&'static str]);
    let cases: [Case; 9] = [
        // A strict workload with an exempt port.
        (vec![own("STRICT", "80: {mode: DISABLE}")], Some(vec![both]), &[OWN]),
        // Strict in every port is strict.
        (vec![own("STRICT", "80: {mode: STRICT}")], None, &[STATIC]),
        // A strict port of a permissive workload.
        (vec![own("PERMISSIVE", "80: {mode: STRICT}, 81: {mode: DISABLE}")], Some(vec![only(80)]), &[OWN]),
        (
            vec![own("UNSET", "80: {mode: STRICT}, 81: {mode: STRICT}")],
            Some(vec![only(80), only(81)]),
            &[OWN],
        ),
        (vec![own("PERMISSIVE", "80: {mode: PERMISSIVE}")], None, &[]),
        // Strict from above: a strict port adds nothing, an exempt one takes the strictness over.
        (vec![strict_mesh.clone(), own("UNSET", "80: {mode: STRICT}")], None, &[STATIC]),
        (
            vec![strict_mesh.clone(), own("UNSET", "80: {mode: PERMISSIVE}")],
            Some(vec![merged.clone()]),
            &[OWN],
        ),
        // As istiod: the label attaches the converted policy, yet a DISABLE port does not lift the static one.
        (vec![strict_mesh.clone(), own("UNSET", "80: {mode: DISABLE}")], Some(vec![merged]), &[OWN, STATIC]),
        // As istiod: a namespace object without a mode keeps the policy from being made, though it is named.
        (vec![strict_mesh, unset_space, own("UNSET", "80: {mode: PERMISSIVE}")], None, &[OWN]),
    ];
    for (peers, want, keys) in cases {
        let text =
            [pod("shop", "app: a")].into_iter().chain(peers.clone()).collect::<Vec<_>>().join("\n---\n");
        let world = world(&text);
        let sent = names(&world, ResourceType::Authorization).contains(&OWN);
        assert_eq!(sent.then(|| policy(&world, OWN).rules), want, "{peers:?}");
        assert_eq!(named(&world), keys, "{peers:?}");
    }
}

fn host() -> Block {
    Block { address: vec![10, 0, 0, 1], length: 32 }
}

fn account() -> ServiceAccountMatch {
    ServiceAccountMatch { namespace: "shop".into(), service_account: "a".into() }
}

fn none() -> Match {
    Match::default()
}

fn anonymous() -> Match {
    Match { not_principals: vec![StringMatch { match_type: Some(MatchType::Presence(())) }], ..none() }
}

fn exact(text: &str) -> StringMatch {
    StringMatch { match_type: Some(MatchType::Exact(text.to_owned())) }
}

fn rule(clauses: Vec<Vec<Match>>) -> Rule {
    Rule { clauses: clauses.into_iter().map(|matches| Clause { matches }).collect() }
}

#[track_caller]
fn rules(spec: &str) -> Vec<Rule> {
    policy(&world(&authz("shop", "p", spec)), "shop/p").rules
}

/// The policies that pod `x` names.
#[track_caller]
fn named(translation: &Translation) -> Vec<String> {
    workload(translation, "Kubernetes//Pod/shop/x").authorization_policies
}

fn pod(namespace: &str, labels: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: x, namespace: {namespace}, labels: {{{labels}}}}}, status: {{podIP: 10.0.0.1}}}}"
    )
}

fn authz(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
    )
}

fn peer(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
    )
}
