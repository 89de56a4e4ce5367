//! Who may connect, as tables: what the policies say, who comes, what comes of it.

use std::time::Duration;

use super::{Deny, DenyCause, DryRun, Permit, Would, authorize};
use crate::{
    Moment, Reason,
    decide::{Connection, evidence::Cause},
    fixtures::{connection, is, is_not, node, policy, rule, workload},
    model::{
        Action, Clause, Identity, Match, Policy, Rule, Rules, Scope, ServiceAccountMatch, StringMatch,
        Workload,
    },
    world::{Change, NodeContext, Strictness, UnreadablePolicy, World},
};

const CLIENT: &str = "10.0.0.1";
const TARGET: &str = "10.0.0.2:8080";

fn local() -> Workload {
    workload("web").at("10.0.0.2")
}

fn seconds(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn ask_in(world: &World, connection: &Connection) -> Result<Permit, Deny> {
    authorize(world, &local(), connection, seconds(0))
}

fn ask(policies: Vec<Policy>, connection: &Connection) -> Result<Permit, Deny> {
    ask_in(&crate::fixtures::world(policies.into_iter().map(Change::from)), connection)
}

/// Whether a policy of this one rule means the connection, as an ALLOW and as a DENY.
#[track_caller]
fn means(rules: Vec<Rule>, connection: &Connection, want: bool) {
    let allow = ask(vec![policy("ns/p", Action::Allow, rules.clone())], connection);
    let deny = ask(vec![policy("ns/p", Action::Deny, rules.clone())], connection);
    let allowed = allow.map(|permit| permit.policy().map(str::to_owned)).map_err(|deny| deny.why);
    let denied = deny.map(|permit| permit.policy().map(str::to_owned)).map_err(|deny| deny.why);
    if want {
        assert_eq!((allowed, denied), (Ok(Some("ns/p".into())), Err(DenyCause::Denied)), "{rules:?}");
    } else {
        assert_eq!((allowed, denied), (Err(DenyCause::NotAllowed), Ok(None)), "{rules:?}");
    }
}

#[track_caller]
fn matches(wanted: Match, connection: &Connection, want: bool) {
    means(vec![rule(wanted)], connection, want);
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.into())
}

#[test]
fn empty_parts_mean_what_ztunnel_takes_them_for() {
    let client = connection(CLIENT, Some("client"), TARGET);
    means(vec![], &client, false);
    means(vec![Rule { clauses: vec![] }], &client, true);
    means(vec![Rule { clauses: vec![Clause { matches: vec![] }] }], &client, true);
    means(vec![rule(Match::default())], &client, false);
}

#[test]
fn rules_are_alternatives_clauses_conditions_and_matches_alternatives() {
    let client = connection(CLIENT, Some("client"), TARGET);
    let port = |port| Match { destination_ports: is(port), ..Match::default() };
    let clause = |ports: [u16; 2]| Clause { matches: ports.map(port).into() };
    means(vec![rule(port(1)), rule(port(8080))], &client, true);
    means(vec![Rule { clauses: vec![clause([1, 8080]), clause([8080, 2])] }], &client, true);
    means(vec![Rule { clauses: vec![clause([1, 8080]), clause([1, 2])] }], &client, false);
    let both = Match { namespaces: is(exact("ns")), ..port(8080) };
    matches(both.clone(), &client, true);
    matches(Match { namespaces: is(exact("other")), ..both }, &client, false);
}

/// A match that asks for one thing.
fn wants(ask: impl FnOnce(&mut Match)) -> Match {
    let mut wanted = Match::default();
    ask(&mut wanted);
    wanted
}

#[test]
fn every_attribute_is_compared() {
    let account = |namespace: &str, name: &str| ServiceAccountMatch {
        namespace: namespace.into(),
        service_account: name.into(),
    };
    let principal = |text: &str| wants(|m| m.principals = is(exact(text)));
    let from = |net: &str| wants(|m| m.source_ips = is(net.parse().unwrap()));
    let to = |net: &str| wants(|m| m.destination_ips = is(net.parse().unwrap()));
    let table = [
        (wants(|m| m.namespaces = is(exact("ns"))), true),
        (wants(|m| m.namespaces = is(exact("n"))), false),
        (principal("cluster.local/ns/ns/sa/client"), true),
        (principal("spiffe://cluster.local/ns/ns/sa/client"), false),
        (wants(|m| m.service_accounts = is(account("ns", "client"))), true),
        (wants(|m| m.service_accounts = is(account("other", "client"))), false),
        (from("10.0.0.0/24"), true),
        (from("::/0"), false),
        (to("10.0.0.2/32"), true),
        (to("10.0.0.1/32"), false),
        (wants(|m| m.destination_ports = is(8080)), true),
        (wants(|m| m.destination_ports = is(80)), false),
    ];
    let client = connection(CLIENT, Some("client"), TARGET);
    for (wanted, want) in table {
        matches(wanted.clone(), &client, want);
        matches(negated(wanted), &client, !want);
    }
}

#[test]
fn every_attribute_and_its_negation_meets_every_kind_of_client() {
    let account = ServiceAccountMatch { namespace: "ns".into(), service_account: "client".into() };
    // What it says of: no identity, the identity meant, another of another namespace; all at the same addresses.
    let table = [
        (wants(|m| m.namespaces = is(exact("ns"))), [false, true, false]),
        (wants(|m| m.principals = is(exact("cluster.local/ns/ns/sa/client"))), [false, true, false]),
        (wants(|m| m.service_accounts = is(account)), [false, true, false]),
        (wants(|m| m.source_ips = is("10.0.0.1/32".parse().unwrap())), [true; 3]),
        (wants(|m| m.destination_ips = is("10.0.0.2/32".parse().unwrap())), [true; 3]),
        (wants(|m| m.destination_ports = is(8080)), [true; 3]),
    ];
    let mut other = connection(CLIENT, None, TARGET);
    other.identity = Some(Identity::new("cluster.local", "elsewhere", "other"));
    let clients = [connection(CLIENT, None, TARGET), connection(CLIENT, Some("client"), TARGET), other];
    for (wanted, wants) in table {
        for (client, want) in clients.iter().zip(wants) {
            matches(wanted.clone(), client, want);
            matches(negated(wanted.clone()), client, !want);
        }
    }
}

#[test]
fn every_pattern_is_compared_with_every_text() {
    let (prefix, suffix) = (|t: &str| StringMatch::Prefix(t.into()), |t: &str| StringMatch::Suffix(t.into()));
    let client = connection(CLIENT, Some("client"), TARGET);
    for (pattern, want) in [
        (exact("ns"), true),
        (exact("NS"), false),
        (exact(""), false),
        (prefix("n"), true),
        (prefix("ns"), true),
        (prefix("nsx"), false),
        (prefix(""), true),
        (suffix("s"), true),
        (suffix("n"), false),
        (suffix(""), true),
        (StringMatch::Presence, true),
    ] {
        matches(Match { namespaces: is(pattern.clone()), ..Match::default() }, &client, want);
        matches(Match { namespaces: is_not(pattern), ..Match::default() }, &client, !want);
    }
}

#[test]
fn a_policy_that_changes_its_scope_moves() {
    let (here, there) = (local(), workload("db").in_namespace("other"));
    let selected = workload("chosen").in_namespace("third").naming("ns/p");
    let mut world = crate::fixtures::world([here.clone(), there.clone(), selected.clone()].map(Change::from));
    let client = connection(CLIENT, None, TARGET);
    for (at, scope, want) in [
        (1, Scope::Namespace, [true, false, true]),
        (2, Scope::Global, [true, true, true]),
        (3, Scope::WorkloadSelector, [false, false, true]),
        (4, Scope::Namespace, [true, false, true]),
    ] {
        let effects =
            world.apply(vec![policy("ns/p", Action::Deny, everyone()).scoped(scope).into()], seconds(at));
        assert!(effects.policies_changed, "{scope:?}");
        let denied = [&here, &there, &selected].map(|w| authorize(&world, w, &client, seconds(at)).is_err());
        assert_eq!(denied, want, "{scope:?}");
    }
}

/// The match that asks for the contrary of each thing.
fn negated(wanted: Match) -> Match {
    let Match { namespaces, principals, service_accounts, source_ips, destination_ips, destination_ports } =
        wanted;
    Match {
        namespaces: swap(namespaces),
        principals: swap(principals),
        service_accounts: swap(service_accounts),
        source_ips: swap(source_ips),
        destination_ips: swap(destination_ips),
        destination_ports: swap(destination_ports),
    }
}

fn swap<T>(attribute: crate::model::Attribute<T>) -> crate::model::Attribute<T> {
    crate::model::Attribute { is: attribute.is_not, is_not: attribute.is }
}

#[test]
fn texts_are_compared_by_pattern() {
    let client = connection(CLIENT, Some("client"), TARGET);
    for (pattern, want) in [
        (StringMatch::Prefix("cluster.local/ns/".into()), true),
        (StringMatch::Prefix("Cluster".into()), false),
        (StringMatch::Suffix("/sa/client".into()), true),
        (StringMatch::Suffix("/sa/other".into()), false),
        (StringMatch::Presence, true),
    ] {
        matches(Match { principals: is(pattern), ..Match::default() }, &client, want);
    }
}

#[test]
fn a_connection_without_identity_has_no_principal_and_an_empty_namespace() {
    let nobody = connection(CLIENT, None, TARGET);
    let any_account = ServiceAccountMatch { namespace: "ns".into(), service_account: "client".into() };
    for pattern in
        [exact(""), StringMatch::Prefix("".into()), StringMatch::Suffix("".into()), StringMatch::Presence]
    {
        matches(Match { principals: is(pattern.clone()), ..Match::default() }, &nobody, false);
        matches(Match { principals: is_not(pattern), ..Match::default() }, &nobody, true);
    }
    matches(Match { namespaces: is(exact("")), ..Match::default() }, &nobody, true);
    matches(Match { namespaces: is(StringMatch::Presence), ..Match::default() }, &nobody, false);
    matches(Match { namespaces: is_not(exact("ns")), ..Match::default() }, &nobody, true);
    matches(Match { service_accounts: is(any_account.clone()), ..Match::default() }, &nobody, false);
    matches(Match { service_accounts: is_not(any_account), ..Match::default() }, &nobody, true);
}

#[test]
fn strict_mutual_tls_refuses_exactly_the_unauthenticated() {
    let strict = || {
        let unauthenticated = Match { principals: is_not(StringMatch::Presence), ..Match::default() };
        vec![policy("ns/strict", Action::Deny, vec![rule(unauthenticated)])]
    };
    assert_eq!(
        ask(strict(), &connection(CLIENT, Some("client"), TARGET)).map(|permit| permit.target()),
        Ok(TARGET.parse().unwrap())
    );
    assert_eq!(
        ask(strict(), &connection(CLIENT, None, TARGET)).map_err(|deny| deny.why),
        Err(DenyCause::Denied)
    );
}

fn everyone() -> Vec<Rule> {
    vec![Rule { clauses: vec![] }]
}

#[test]
fn without_policies_everyone_may() {
    let permit = ask(vec![], &connection(CLIENT, None, TARGET)).unwrap();
    assert_eq!(permit.target(), TARGET.parse().unwrap());
    assert_eq!((permit.policy(), permit.recheck_at()), (None, None));
}

#[test]
fn a_deny_wins_over_an_allow_and_says_so() {
    let refused = ask(
        vec![policy("ns/open", Action::Allow, everyone()), policy("ns/closed", Action::Deny, everyone())],
        &connection(CLIENT, None, TARGET),
    )
    .unwrap_err();
    assert_eq!(refused.policy.as_deref(), Some("ns/closed"));
    assert!(refused.to_string().starts_with("explicitly denied by: ns/closed; "), "{refused}");
    assert_eq!(refused.reason(), Reason::PolicyDenied);
}

#[test]
fn where_others_are_allowed_the_rest_is_not() {
    let refused =
        ask(vec![policy("ns/none", Action::Allow, vec![])], &connection(CLIENT, None, TARGET)).unwrap_err();
    assert!(refused.to_string().starts_with("allow policies exist, but none allowed; "), "{refused}");
    assert_eq!((refused.policy, refused.why), (None, DenyCause::NotAllowed));
}

#[test]
fn a_policy_covers_its_namespace_or_everything_or_whom_it_selects() {
    let closed = |key| policy(key, Action::Deny, everyone());
    let naming = |policy: &str| local().naming(policy);
    for (policy, local, want) in [
        (closed("ns/p"), local(), true),
        (closed("other/p"), local(), false),
        (closed("other/p").scoped(Scope::Global), local(), true),
        (closed("ns/p").scoped(Scope::WorkloadSelector), local(), false),
        (closed("ns/p").scoped(Scope::WorkloadSelector), naming("ns/p"), true),
        (closed("other/p"), naming("other/p"), true),
    ] {
        let world = crate::fixtures::world([policy.clone().into(), local.clone().into()]);
        let got = authorize(&world, &local, &connection(CLIENT, None, TARGET), seconds(0));
        let got = got.map(|_| ()).map_err(|deny| deny.why);
        assert_eq!(got, if want { Err(DenyCause::Denied) } else { Ok(()) }, "{policy:?}");
    }
}

/// What dry runs would have done, by policy, and where in it that is decided.
fn told(dry_run: &[DryRun]) -> Vec<(&str, Would, Cause, &[usize])> {
    let each = |run: &'_ DryRun| (run.would, run.evidence.cause);
    dry_run.iter().map(|run| (&*run.policy, each(run).0, each(run).1, &*run.evidence.path)).collect()
}

#[test]
fn a_dry_run_policy_only_tells() {
    let permit = ask(
        vec![
            policy("ns/deny", Action::Deny, everyone()).dry(),
            policy("ns/allow", Action::Allow, everyone()).dry(),
            policy("ns/none", Action::Allow, vec![]).dry(),
        ],
        &connection(CLIENT, None, TARGET),
    )
    .unwrap();
    assert_eq!(
        told(permit.dry_run()),
        [("ns/deny", Would::Deny, Cause::Meant, &[0][..]), ("ns/allow", Would::Allow, Cause::Meant, &[0])]
    );
    assert_eq!(permit.policy(), None);

    let refused = ask(
        vec![policy("ns/allow", Action::Allow, everyone()).dry(), policy("ns/none", Action::Allow, vec![])],
        &connection(CLIENT, None, TARGET),
    )
    .unwrap_err();
    assert_eq!(refused.why, DenyCause::NotAllowed, "a dry ALLOW allows nothing");
    assert_eq!(told(&refused.dry_run), [("ns/allow", Would::Allow, Cause::Meant, &[0][..])]);
    assert_eq!(refused.evidence.map(|evidence| evidence.policy), Some("ns/none".into()), "nor is it a miss");
}

#[test]
fn a_dry_allow_that_would_leave_the_client_out_says_so() {
    let client = connection(CLIENT, Some("client"), TARGET);
    let others = |key| {
        let principals = is(exact("cluster.local/ns/ns/sa/other"));
        policy(key, Action::Allow, vec![rule(Match { principals, ..Match::default() })])
    };
    let permit = ask(vec![others("ns/others").dry()], &client).unwrap();
    assert_eq!(
        told(permit.dry_run()),
        [("ns/others", Would::NotAllow, Cause::ServiceAccount, &[0, 0, 0][..])]
    );
    // Something else allows it, and would go on doing so.
    let permit =
        ask(vec![others("ns/others").dry(), policy("ns/all", Action::Allow, everyone())], &client).unwrap();
    assert_eq!(told(permit.dry_run()), []);
    let permit =
        ask(vec![others("ns/others").dry(), policy("ns/all", Action::Allow, everyone()).dry()], &client)
            .unwrap();
    assert_eq!(told(permit.dry_run()), [("ns/all", Would::Allow, Cause::Meant, &[0][..])]);
}

#[test]
fn a_dry_run_policy_that_covers_a_workload_twice_is_told_once() {
    let local = local().naming("ns/p");
    let world =
        crate::fixtures::world([policy("ns/p", Action::Deny, everyone()).dry().into(), local.clone().into()]);
    let permit = authorize(&world, &local, &connection(CLIENT, None, TARGET), seconds(0)).unwrap();
    assert_eq!(permit.dry_run().len(), 1);
}

fn unreadable(action: Action) -> Change {
    Change::UnreadablePolicy(UnreadablePolicy {
        key: "ns/p".into(),
        namespace: "ns".into(),
        scope: Scope::Namespace,
        action,
        dry_run: false,
    })
}

#[test]
fn an_unreadable_policy_fails_closed() {
    let client = connection(CLIENT, Some("client"), TARGET);
    let of = |action| ask_in(&crate::fixtures::world([unreadable(action)]), &client).unwrap_err();
    assert_eq!(of(Action::Allow).why, DenyCause::NotAllowed);
    assert_eq!(of(Action::Deny).why, DenyCause::Unreadable);
    let denied = of(Action::Deny).to_string();
    assert!(denied.starts_with("explicitly denied by: ns/p (which cannot be read); "), "{denied}");
    let elsewhere = workload("web").in_namespace("other");
    let world = crate::fixtures::world([unreadable(Action::Deny)]);
    let permit = authorize(&world, &elsewhere, &client, seconds(0)).unwrap();
    assert_eq!(permit.policy(), None);
}

#[test]
fn an_unreadable_version_leaves_the_last_good_one_in_force() {
    let client = connection(CLIENT, Some("client"), TARGET);
    let mut world = crate::fixtures::world([policy("ns/p", Action::Allow, everyone()).into()]);
    let effects = world.apply(vec![unreadable(Action::Deny)], seconds(1));
    assert!(!effects.policies_changed);
    assert_eq!(ask_in(&world, &client).unwrap().policy(), Some("ns/p"));

    world.apply(vec![Change::RemovePolicy("ns/p".into()), unreadable(Action::Deny)], seconds(2));
    assert_eq!(world.policy("ns/p").map(|policy| &policy.rules), Some(&Rules::Unreadable));
    world.apply(vec![policy("ns/p", Action::Allow, everyone()).into()], seconds(3));
    assert_eq!(ask_in(&world, &client).unwrap().policy(), Some("ns/p"), "a good version replaces it");
}

/// A world in which the local workload names a policy since second 10, which has not arrived.
fn awaiting(unknown_policy: Strictness) -> (World, Workload) {
    let mut world = World::new(NodeContext { unknown_policy, ..node() });
    let local = local().naming("ns/late");
    world.apply(vec![local.clone().into()], seconds(10));
    (world, local)
}

#[test]
fn a_policy_that_has_not_arrived_refuses_for_five_seconds() {
    let client = connection(CLIENT, None, TARGET);
    for (strictness, at_14, at_15) in [
        (Strictness::Compat, Ok(()), Ok(())),
        (Strictness::Report, Err(DenyCause::Unknown), Ok(())),
        (Strictness::Enforce, Err(DenyCause::Unknown), Err(DenyCause::Unknown)),
    ] {
        let (world, local) = awaiting(strictness);
        let at = |now| authorize(&world, &local, &client, seconds(now)).map(|_| ()).map_err(|deny| deny.why);
        assert_eq!((at(14), at(15)), (at_14, at_15), "{strictness:?}");
    }
    let (world, local) = awaiting(Strictness::Report);
    let permit = authorize(&world, &local, &client, seconds(15)).unwrap();
    assert_eq!(permit.unknown(), ["ns/late".into()]);
    let refused = authorize(&world, &local, &client, seconds(14)).unwrap_err();
    assert_eq!(refused.policy.as_deref(), Some("ns/late"));
}

#[test]
fn an_open_connection_is_not_cut_by_a_policy_that_has_not_arrived() {
    for (strictness, recheck_at, later) in [
        (Strictness::Compat, None, Ok(())),
        (Strictness::Report, Some(seconds(15)), Ok(())),
        (Strictness::Enforce, Some(seconds(15)), Err(DenyCause::Unknown)),
    ] {
        let open = ask(vec![], &connection(CLIENT, None, TARGET)).unwrap();
        let (world, local) = awaiting(strictness);
        let renewed = open.renew(&world, &local, seconds(11)).unwrap();
        assert_eq!(renewed.recheck_at(), recheck_at, "{strictness:?}");
        let got = renewed.renew(&world, &local, seconds(15)).map(|_| ()).map_err(|deny| deny.why);
        assert_eq!(got, later, "{strictness:?}");
    }
}

#[test]
fn a_reference_keeps_its_date_while_the_workload_changes() {
    let (mut world, local) = awaiting(Strictness::Report);
    let moved = local.at("10.0.0.3").naming("ns/later");
    world.apply(vec![moved.clone().into()], seconds(12));
    assert_eq!(world.referenced_since("ns/late"), Some(seconds(10)));
    assert_eq!(world.referenced_since("ns/later"), Some(seconds(12)));
    world.apply(vec![Change::RemoveAddress(moved.uid)], seconds(13));
    assert_eq!(world.referenced_since("ns/late"), None);
}

#[test]
fn a_changed_policy_refuses_an_open_connection() {
    let client = connection(CLIENT, Some("client"), TARGET);
    let mut world = crate::fixtures::world([local().into()]);
    let open = ask_in(&world, &client).unwrap();
    let effects = world.apply(vec![policy("ns/closed", Action::Deny, everyone()).into()], seconds(1));
    assert!(effects.policies_changed);
    assert_eq!(open.renew(&world, &local(), seconds(1)).map_err(|deny| deny.why), Err(DenyCause::Denied));
}

#[test]
fn a_policy_that_begins_to_select_the_workload_refuses_an_open_connection() {
    let client = connection(CLIENT, Some("client"), TARGET);
    let selecting = policy("ns/p", Action::Deny, everyone()).scoped(Scope::WorkloadSelector);
    let mut world = crate::fixtures::world([local().into(), selecting.into()]);
    let open = ask_in(&world, &client).unwrap();
    let selected = local().naming("ns/p");
    let effects = world.apply(vec![selected.clone().into()], seconds(1));
    assert!(effects.policies_changed);
    assert_eq!(open.renew(&world, &selected, seconds(1)).map_err(|deny| deny.why), Err(DenyCause::Denied));
}

#[test]
fn a_mapped_address_is_matched_as_ipv4() {
    let source_ips = is("10.0.0.1/32".parse().unwrap());
    let mut client = connection("::ffff:10.0.0.1", None, TARGET);
    client.identity = Some(Identity::new("cluster.local", "ns", "client"));
    matches(Match { source_ips, ..Match::default() }, &client, true);
}
