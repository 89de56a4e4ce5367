//! Mistakes that people make in policies, seeded one by one, and what a reader of the log learns of each.

use std::time::Duration;

use super::SHOWN;
use crate::{
    Moment,
    decide::{Connection, Deny, authorize},
    fixtures::{connection, is, is_not, policy, rule, service, workload, world},
    model::{
        Action, Attribute, Clause, Identity, Match, Policy, Rule, Scope, ServiceAccountMatch, StringMatch,
        Workload,
    },
    world::{Change, UnreadablePolicy},
};

/// Of the client `cluster.local/ns/ns/sa/client` at 10.0.0.1.
fn client() -> Connection {
    connection("10.0.0.1", Some("client"), "10.0.0.2:8080")
}

/// Of a client outside the mesh at the same address.
fn stranger() -> Connection {
    connection("10.0.0.1", None, "10.0.0.2:8080")
}

/// The application that both want, behind the service `web` at 10.96.0.1, whose port 80 is its 8080 and 81 its own 8080.
fn local() -> Workload {
    workload("web").at("10.0.0.2").serving("ns/web", [(81, 8080)])
}

fn ask(changes: Vec<Change>, local: &Workload, connection: &Connection) -> Deny {
    let known = [service("web").at("10.96.0.1").into(), local.clone().into()];
    let world = world(known.into_iter().chain(changes));
    authorize(&world, local, connection, Moment(Duration::ZERO)).expect_err("the connection is refused")
}

/// What a program that reads the log makes of a refusal: the words behind `cause=`, `policy=`, `at=` and `field=`.
fn read(text: &str) -> [String; 4] {
    let (_, evidence) = text.split_once("; ").expect("evidence behind the verdict");
    ["cause=", "policy=", "at=", "field="].map(|key| {
        let word = evidence.split(' ').find_map(|word| word.strip_prefix(key));
        word.unwrap_or_default().to_owned()
    })
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

fn account(namespace: &str, name: &str) -> ServiceAccountMatch {
    ServiceAccountMatch { namespace: namespace.into(), service_account: name.into() }
}

fn principal(pattern: StringMatch) -> Match {
    Match { principals: is(pattern), ..Match::default() }
}

fn namespace(text: &str) -> Match {
    Match { namespaces: is(exact(text)), ..Match::default() }
}

fn accounts(accounts: Attribute<ServiceAccountMatch>) -> Match {
    Match { service_accounts: accounts, ..Match::default() }
}

fn from(net: &str) -> Match {
    Match { source_ips: is(net.parse().expect("a prefix")), ..Match::default() }
}

fn to(net: &str) -> Match {
    Match { destination_ips: is(net.parse().expect("a prefix")), ..Match::default() }
}

fn port(port: u16) -> Match {
    Match { destination_ports: is(port), ..Match::default() }
}

fn allow(wanted: Match) -> Vec<Change> {
    vec![policy("ns/p", Action::Allow, vec![rule(wanted)]).into()]
}

fn deny(wanted: Match) -> Vec<Change> {
    vec![policy("ns/p", Action::Deny, vec![rule(wanted)]).into()]
}

fn unreadable(action: Action) -> Vec<Change> {
    let (key, namespace) = ("ns/p".into(), "ns".into());
    vec![Change::UnreadablePolicy(UnreadablePolicy {
        key,
        namespace,
        scope: Scope::Namespace,
        action,
        dry_run: false,
    })]
}

/// Principals that do not mean the client, and why.
fn of_principals() -> Vec<(Match, &'static str)> {
    let prefix = |text: &str| StringMatch::Prefix(text.into());
    let suffix = |text: &str| StringMatch::Suffix(text.into());
    vec![
        (principal(exact("cluster.local/ns/ns/sa/cleint")), "service-account"),
        (principal(exact("cluster.local/ns/default/sa/client")), "namespace"),
        (principal(exact("mesh.example/ns/ns/sa/client")), "trust-domain"),
        (principal(exact("spiffe://cluster.local/ns/ns/sa/client")), "spiffe-scheme"),
        (principal(prefix("spiffe://cluster.local/")), "spiffe-scheme"),
        (principal(exact("cluster.local/ns/ns/sa/Client")), "letter-case"),
        (principal(suffix("/sa/CLIENT")), "letter-case"),
        (principal(exact("ns/ns/sa/client")), "form"),
        (principal(exact("cluster.local/ns/client")), "form"),
        (principal(exact("client")), "form"),
        (principal(prefix("cluster.local/ns/default/")), "mismatch"),
        (principal(suffix("/sa/other")), "mismatch"),
        (principal(exact("mesh.example/ns/default/sa/other")), "mismatch"),
    ]
}

/// Other matches that do not mean the client, why, and by which list.
fn of_others() -> Vec<(Match, &'static str, &'static str)> {
    let net = |text: &str| text.parse().expect("a prefix");
    vec![
        (namespace("default"), "mismatch", "namespaces"),
        (namespace("NS"), "letter-case", "namespaces"),
        (namespace("cluster.local/ns/ns"), "form", "namespaces"),
        (accounts(is(account("default", "client"))), "namespace", "serviceAccounts"),
        (accounts(is(account("ns", "other"))), "service-account", "serviceAccounts"),
        (accounts(is(account("default", "other"))), "mismatch", "serviceAccounts"),
        (from("10.1.0.0/16"), "mismatch", "sourceIps"),
        (from("fd00::/8"), "address-family", "sourceIps"),
        (to("10.0.0.3/32"), "mismatch", "destinationIps"),
        (to("10.96.0.1/32"), "service-address", "destinationIps"),
        (to("fd00::2/128"), "address-family", "destinationIps"),
        (port(80), "service-port", "destinationPorts"),
        (port(81), "service-port", "destinationPorts"),
        (port(9090), "mismatch", "destinationPorts"),
        (not(|m| m.principals = is_not(exact("cluster.local/ns/ns/sa/client"))), "excluded", "notPrincipals"),
        (accounts(is_not(account("ns", "client"))), "excluded", "notServiceAccounts"),
        (not(|m| m.namespaces = is_not(exact("ns"))), "excluded", "notNamespaces"),
        (Match { source_ips: is_not(net("10.0.0.0/8")), ..Match::default() }, "excluded", "notSourceIps"),
        (
            Match { destination_ips: is_not(net("10.0.0.2/32")), ..Match::default() },
            "excluded",
            "notDestinationIps",
        ),
        (not(|m| m.destination_ports = is_not(8080)), "excluded", "notDestinationPorts"),
        (Match::default(), "empty-match", ""),
    ]
}

fn not(ask: fn(&mut Match)) -> Match {
    let mut excluding = Match::default();
    ask(&mut excluding);
    excluding
}

#[test]
fn every_seeded_mistake_is_told_by_its_cause_and_field() {
    let of_strangers = [
        (principal(exact("cluster.local/ns/ns/sa/client")), "principals"),
        (principal(StringMatch::Presence), "principals"),
        (namespace("ns"), "namespaces"),
        (accounts(is(account("ns", "client"))), "serviceAccounts"),
        // A gateway on the host's network: the port is right, and it has no identity to show.
        (Match { namespaces: is(exact("ingress")), ..port(8080) }, "namespaces"),
    ];
    let of_denials = [
        (client(), principal(StringMatch::Prefix("cluster.local/ns/ns/".into())), "principals"),
        (client(), port(8080), "destinationPorts"),
        (stranger(), not(|m| m.principals = is_not(StringMatch::Presence)), "notPrincipals"),
        (stranger(), not(|m| m.namespaces = is_not(exact("ns"))), "notNamespaces"),
    ];
    let waiting = local().naming("ns/late");
    let whole = [
        (local(), vec![policy("ns/p", Action::Allow, vec![]).into()], "no-rules"),
        (local(), vec![policy("ns/p", Action::Deny, vec![Rule::default()]).into()], "meant"),
        (local(), unreadable(Action::Allow), "unreadable"),
        (local(), unreadable(Action::Deny), "unreadable"),
        (waiting, vec![], "unknown-policy"),
    ];

    let mut seeds: Vec<(Workload, Connection, Vec<Change>, &str, &str)> = Vec::new();
    seeds.extend(
        of_principals()
            .into_iter()
            .map(|(wanted, cause)| (local(), client(), allow(wanted), cause, "principals")),
    );
    seeds.extend(
        of_others()
            .into_iter()
            .map(|(wanted, cause, field)| (local(), client(), allow(wanted), cause, field)),
    );
    seeds.extend(
        of_strangers.map(|(wanted, field)| (local(), stranger(), allow(wanted), "no-identity", field)),
    );
    seeds.extend(of_denials.map(|(who, wanted, field)| (local(), who, deny(wanted), "meant", field)));
    seeds.extend(whole.map(|(local, changes, cause)| (local, client(), changes, cause, "")));
    assert!(seeds.len() >= 40, "{} seeds", seeds.len());
    for (local, who, changes, cause, field) in seeds {
        let said = ask(changes.clone(), &local, &who).to_string();
        let [got, _, _, of] = read(&said);
        assert_eq!((&*got, &*of), (cause, field), "{said} of {changes:?}");
    }
}

#[test]
fn the_verdict_comes_first_in_ztunnel_s_words() {
    let refused = ask(allow(port(80)), &local(), &client()).to_string();
    assert_eq!(
        refused,
        "allow policies exist, but none allowed; cause=service-port policy=ns/p at=0/0/0 field=destinationPorts \
         seen='8080' wanted='80'"
    );
    let denied =
        ask(deny(principal(exact("cluster.local/ns/ns/sa/client"))), &local(), &client()).to_string();
    assert_eq!(
        denied,
        "explicitly denied by: ns/p; cause=meant policy=ns/p at=0/0/0 field=principals \
         seen='cluster.local/ns/ns/sa/client' wanted='cluster.local/ns/ns/sa/client'"
    );
}

/// A rule of one clause per list, as istiod writes them: where to, then from whom.
fn clauses<const N: usize>(all: [&[Match]; N]) -> Rule {
    Rule { clauses: all.map(|matches| Clause { matches: matches.into() }).into() }
}

#[track_caller]
fn nearest(policies: Vec<Policy>, who: &Connection, want: [&str; 4]) {
    let said = ask(policies.into_iter().map(Change::from).collect(), &local(), who).to_string();
    assert_eq!(read(&said), want, "{said}");
}

#[test]
fn the_closest_rule_is_the_one_with_the_least_to_change() {
    let wrong = || principal(exact("cluster.local/ns/default/sa/other"));
    let nearly = || principal(exact("cluster.local/ns/ns/sa/other"));
    let allow = |key, rules| policy(key, Action::Allow, rules);
    // Fewer attributes fail.
    nearest(
        vec![
            allow("ns/far", vec![clauses([&[port(1)], &[nearly()]])]),
            allow("ns/near", vec![clauses([&[port(1), port(8080)], &[wrong(), nearly()]])]),
        ],
        &client(),
        ["service-account", "ns/near", "0/1/1", "principals"],
    );
    // As many fail, and more agree.
    nearest(
        vec![allow("ns/p", vec![rule(nearly()), clauses([&[port(8080)], &[nearly()]])])],
        &client(),
        ["service-account", "ns/p", "1/1/0", "principals"],
    );
    // All the same, and more of the text agrees.
    nearest(
        vec![allow("ns/a", vec![rule(wrong())]), allow("ns/b", vec![rule(nearly())])],
        &client(),
        ["service-account", "ns/b", "0/0/0", "principals"],
    );
    // A policy without rules is close to nothing, and one that cannot be read is told before all.
    nearest(
        vec![allow("ns/none", vec![]), allow("ns/p", vec![rule(wrong())])],
        &client(),
        ["mismatch", "ns/p", "0/0/0", "principals"],
    );
    let all = allow("ns/q", vec![rule(nearly())]);
    let said = ask(unreadable(Action::Allow).into_iter().chain([all.into()]).collect(), &local(), &client());
    assert_eq!(read(&said.to_string()), ["unreadable", "ns/p", "", ""]);
}

#[test]
fn of_several_attributes_that_fail_the_identity_is_told_and_the_others_named() {
    let two = clauses([
        &[port(1)],
        &[Match { principals: is(exact("cluster.local/ns/ns/sa/a")), ..from("10.9.0.0/16") }],
    ]);
    let refused = ask(vec![policy("ns/p", Action::Allow, vec![two]).into()], &local(), &client());
    let said = refused.to_string();
    assert!(said.ends_with("wanted='cluster.local/ns/ns/sa/a' also=sourceIps,destinationPorts"), "{said}");
    assert_eq!(read(&said)[2], "0/1/0");
}

#[test]
fn of_many_patterns_the_closest_is_shown_and_all_are_counted() {
    let all = ["other.domain/ns/ns/sa/x", "cluster.local/ns/ns/sa/clients", "cluster.local/ns/n/sa/client"];
    let wanted =
        Match { principals: Attribute { is: all.map(exact).into(), is_not: Vec::new() }, ..Match::default() };
    let said = ask(allow(wanted), &local(), &client()).to_string();
    assert!(said.ends_with("wanted='cluster.local/ns/ns/sa/clients' (of 3)"), "{said}");
}

#[test]
fn what_is_told_is_bounded() {
    let mut long = client();
    long.identity = Some(Identity::new("ü".repeat(5_000), "ns", "client"));
    let wanted = principal(exact(&"ä".repeat(5_000)));
    let rules: Vec<Rule> = (0..1_000).map(|_| clauses([&[port(1)], std::slice::from_ref(&wanted)])).collect();
    let said = ask(vec![policy("ns/p", Action::Allow, rules).into()], &local(), &long).to_string();
    assert!(said.len() < 3 * SHOWN, "{} bytes", said.len());
}

#[test]
fn a_denial_names_the_match_of_every_clause_by_its_most_telling_attribute() {
    let who =
        [principal(exact("cluster.local/ns/ns/sa/other")), principal(exact("cluster.local/ns/ns/sa/client"))];
    let rules = vec![rule(port(1)), clauses([&[port(1), port(8080)], &who])];
    let said = ask(vec![policy("ns/p", Action::Deny, rules).into()], &local(), &client()).to_string();
    assert_eq!(read(&said), ["meant", "ns/p", "1/1/1", "principals"]);
    assert!(said.ends_with(" also=destinationPorts"), "{said}");
}
