//! What an explanation says, as tables; and that it never says anything but what the data path decides.

use proptest::prelude::*;

use super::{Arrival, Change, End, Entry, Explanation, Judged, Outcome, Question, Way, explain};
use crate::{
    Moment, Pick, Reason,
    decide::{Choice, Connection, Flow, Route, RouteError, RouteKind, Step, Turn, Unfit, authorize, route},
    fixtures::{by_address, is, is_not, policy, rule, service, workload, world},
    model::{Action, Identity, Match, Policy, Scope, StringMatch, Workload},
    world::{self, World},
};

const CLIENT: &str = "10.0.0.1";
const WEB: &str = "10.0.0.2";
const VIP: &str = "10.1.0.1";

fn client() -> Workload {
    workload("client").at(CLIENT).hbone()
}

fn web() -> Workload {
    workload("web").at(WEB).hbone().serving("ns/web", [])
}

fn flow(source: &str, destination: &str) -> Flow {
    Flow::new(format!("{source}:0").parse().unwrap(), destination.parse().unwrap())
}

fn ask(world: &World, source: &str, destination: &str) -> Explanation {
    let question = Question { flow: flow(source, destination), arrival: None };
    explain(world, &question, Moment::default(), Pick(0))
}

fn to_vip(changes: impl IntoIterator<Item = world::Change>) -> Explanation {
    ask(&world(changes), CLIENT, "10.1.0.1:80")
}

#[track_caller]
fn routed(explanation: &Explanation) -> (&Step<Result<Route, RouteError>>, &[Turn]) {
    let Way::Routed(routed) = &explanation.way else { panic!("no route: {explanation:?}") };
    (&routed.route, &routed.turns)
}

#[track_caller]
fn refusal(explanation: &Explanation) -> String {
    let Step::Done(Err(error)) = routed(explanation).0 else { panic!("no refusal: {explanation:?}") };
    format!("{} {error}", error.reason().flag())
}

#[track_caller]
fn judged(end: &End) -> &Judged {
    let End::Proxy(entry) = end else { panic!("no proxy: {end:?}") };
    let Step::Done(Ok(judged)) = &entry.admitted else { panic!("not admitted: {entry:?}") };
    judged
}

fn principal(account: &str) -> Match {
    let principal = format!("cluster.local/ns/ns/sa/{account}");
    Match { principals: is(StringMatch::Exact(principal.into())), ..Match::default() }
}

fn strict() -> Policy {
    let anonymous = Match { principals: is_not(StringMatch::Presence), ..Match::default() };
    policy("istio-system/istio_converted_static_strict", Action::Deny, vec![rule(anonymous)])
        .scoped(Scope::WorkloadSelector)
}

#[test]
fn a_service_s_endpoints_are_all_told_and_why_some_take_nothing() {
    let told = to_vip([
        client().into(),
        service("web").at(VIP).into(),
        web().into(),
        workload("ill").at("10.0.0.3").hbone().unhealthy().serving("ns/web", []).into(),
        workload("none").at("10.0.0.4").hbone().weighing(0).serving("ns/web", []).into(),
        workload("far").at("10.0.0.5").on_network("far", None).serving("ns/web", []).into(),
    ]);
    let (route, turns) = routed(&told);
    let Step::Done(Ok(Route { kind: RouteKind::Tunnel { .. }, .. })) = route else { panic!("{route:?}") };
    let [Turn::Meant(meant), Turn::Choice(choice)] = turns else { panic!("{turns:?}") };
    assert_eq!(&**meant.hostname(), "web");
    let Choice { candidates, port, .. } = choice;
    let fits: Vec<_> =
        candidates.iter().map(|c| (&*c.workload.name, c.fit.map(|fit| (fit.port, fit.rank)))).collect();
    assert_eq!(*port, 80);
    assert_eq!(choice.best(), Some(0));
    assert_eq!(
        fits,
        [
            ("far", Err(Unfit::Unreachable)),
            ("ill", Err(Unfit::Unhealthy)),
            ("none", Err(Unfit::NoCapacity)),
            ("web", Ok((8080, 0))),
        ]
    );
    assert_eq!(judged(&told.end).connection.target, "10.0.0.2:8080".parse().unwrap());
}

#[test]
fn a_service_without_endpoints_is_refused_and_shows_them() {
    let told = to_vip([client().into(), service("web").at(VIP).into(), web().unhealthy().into()]);
    assert_eq!(refusal(&told), "NO_ENDPOINT no healthy upstream: 10.1.0.1:80");
    let (_, turns) = routed(&told);
    assert!(matches!(turns, [Turn::Meant(_), Turn::Choice(choice)] if choice.best().is_none()), "{turns:?}");
    assert_eq!((&told.end, told.outcome()), (&End::None, Outcome::Ends(Reason::NoEndpoint)));
}

#[test]
fn a_port_that_the_service_has_not_is_told_as_such() {
    let world = world([client().into(), service("web").at(VIP).into(), web().into()]);
    let told = ask(&world, CLIENT, "10.1.0.1:81");
    let (_, turns) = routed(&told);
    let [_, Turn::Choice(choice)] = turns else { panic!("{turns:?}") };
    assert_eq!(choice.candidates.first().map(|c| c.fit), Some(Err(Unfit::NoPort)));
}

#[test]
fn a_waypoint_is_named_and_guards_itself() {
    let mut waypoint = workload("waypoint").at("10.0.0.9").hbone();
    waypoint.native_tunnel = true;
    let world = world([
        client().into(),
        waypoint.into(),
        service("web").at(VIP).behind(by_address("10.0.0.9")).into(),
        web().into(),
    ]);
    let told = ask(&world, CLIENT, "10.1.0.1:80");
    let (_, turns) = routed(&told);
    assert!(
        matches!(turns, [Turn::Meant(_), Turn::Waypoint(at)] if *at == by_address("10.0.0.9")),
        "{turns:?}"
    );
    assert!(matches!(&told.end, End::Itself(at) if &*at.name == "waypoint"));
    let onward = ask(&world, "10.0.0.9", "10.0.0.2:8080");
    assert_eq!(onward.way, Way::Itself);
    assert_eq!(
        judged(&onward.end).connection.identity,
        Some(Identity::new("cluster.local", "ns", "waypoint"))
    );
}

#[test]
fn an_unknown_waypoint_is_named_in_the_refusal() {
    let told = to_vip([client().into(), service("web").at(VIP).behind(by_address("10.0.0.9")).into()]);
    assert_eq!(refusal(&told), "NO_ROUTE unknown waypoint: /10.0.0.9:15008");
}

#[test]
fn an_unknown_destination_passes_unguarded() {
    let told = ask(&world([client().into()]), CLIENT, "192.0.2.7:80");
    let (route, turns) = routed(&told);
    assert!(matches!(route, Step::Done(Ok(Route { kind: RouteKind::Passthrough, .. }))), "{route:?}");
    assert_eq!((turns, &told.end), (&[] as &[_], &End::Unguarded));
}

#[test]
fn what_a_decision_would_have_to_look_up_is_said_and_not_looked_up() {
    let told = ask(
        &world([
            client().into(),
            workload("named").hbone().named_in_dns("db.example").serving("ns/web", []).into(),
            service("web").at(VIP).into(),
        ]),
        CLIENT,
        "10.1.0.1:80",
    );
    assert!(matches!(routed(&told).0, Step::Need(_)), "{told:?}");
    assert_eq!(told.end, End::None);
}

#[test]
fn plaintext_under_strict_is_refused_until_the_client_is_enrolled() {
    let client = workload("client").at(CLIENT);
    let web = web().naming("istio-system/istio_converted_static_strict");
    let told = ask(&world([client.into(), web.into(), strict().into()]), CLIENT, "10.0.0.2:8080");
    assert_eq!(told.way, Way::Uncaptured);
    let judged = judged(&told.end);
    let deny = judged.verdict.as_ref().unwrap_err();
    assert_eq!(deny.policy.as_deref(), Some("istio-system/istio_converted_static_strict"));
    assert_eq!(judged.plaintext, Err(deny.policy.clone()));
    assert!(judged.is_strict());
    assert_eq!(told.outcome(), Outcome::Ends(Reason::PolicyDenied));
    let [Change::Enrolled(identity), Change::Without(keys)] = &*judged.opposite.any_of else {
        panic!("{:?}", judged.opposite)
    };
    assert_eq!((&*identity.service_account, keys.len()), ("client", 1));
}

#[test]
fn an_uncaptured_client_of_a_service_meets_whom_somebody_else_chooses() {
    let client = workload("client").at(CLIENT);
    let told = to_vip([client.into(), service("web").at(VIP).into(), web().into()]);
    assert!(matches!(&told.end, End::Elsewhere(all) if all.len() == 1), "{:?}", told.end);
    let told = ask(&world([web().into()]), "192.0.2.1", "10.0.0.2:8080");
    assert_eq!((&told.source, &told.way), (&None, &Way::Uncaptured));
    assert!(judged(&told.end).verdict.is_ok());
}

#[test]
fn every_policy_is_weighed_in_the_order_it_is_asked() {
    let told = ask(
        &world([
            client().into(),
            web().naming("ns/selected").naming("ns/awaited").into(),
            policy("ns/others", Action::Allow, vec![rule(principal("somebody"))]).into(),
            policy("root/all", Action::Deny, vec![rule(principal("nobody"))]).scoped(Scope::Global).into(),
            policy("ns/selected", Action::Allow, vec![rule(principal("client"))])
                .scoped(Scope::WorkloadSelector)
                .into(),
            policy("elsewhere/none", Action::Deny, vec![rule(principal("client"))]).into(),
        ]),
        CLIENT,
        "10.0.0.2:8080",
    );
    let judged = judged(&told.end);
    let weighed: Vec<_> =
        judged.policies.iter().map(|w| (&*w.policy.key, w.meant, w.evidence.cause.code())).collect();
    assert_eq!(
        weighed,
        [
            ("ns/others", false, "service-account"),
            ("root/all", false, "service-account"),
            ("ns/selected", true, "meant"),
        ]
    );
    assert_eq!(judged.missing, ["ns/awaited".into()]);
}

/// What would turn round the verdict on the client's connection under these policies.
fn opposites<const N: usize>(policies: [Policy; N]) -> Vec<String> {
    let world = world([client().into(), web().into()].into_iter().chain(policies.map(Into::into)));
    let told = ask(&world, CLIENT, "10.0.0.2:8080");
    let shown = |change: &Change| match change {
        Change::Without(keys) => format!("without {}", keys.join(" ")),
        Change::Enrolled(identity) => format!("enrolled {identity}"),
        Change::Naming { policy, without } => format!("{} after {}", policy.key, without.join(" ")),
    };
    judged(&told.end).opposite.any_of.iter().map(shown).collect()
}

#[test]
fn what_would_turn_a_verdict_round_is_said() {
    let mine = || vec![rule(principal("client"))];
    let others = || vec![rule(principal("somebody"))];
    assert_eq!(opposites([]), ["ns/deny-this-client after "]);
    assert_eq!(opposites([policy("ns/no", Action::Deny, mine())]), ["without ns/no"]);
    assert_eq!(
        opposites([policy("ns/no", Action::Deny, mine()), policy("ns/never", Action::Deny, mine())]),
        ["without ns/no ns/never"]
    );
    assert_eq!(opposites([policy("ns/others", Action::Allow, others())]), ["ns/allow-this-client after "]);
    assert_eq!(
        opposites([policy("ns/no", Action::Deny, mine()), policy("ns/others", Action::Allow, others())]),
        ["ns/allow-this-client after ns/no"]
    );
    assert_eq!(
        opposites([policy("ns/yes", Action::Allow, mine()), policy("ns/others", Action::Allow, others())]),
        ["without ns/yes", "ns/deny-this-client after "]
    );
    // When the only policy that asks for leave goes, nobody asks any more.
    assert_eq!(opposites([policy("ns/yes", Action::Allow, mine())]), ["ns/deny-this-client after "]);
}

/// A policy out of few parts, so that policies often meet.
fn any_policy() -> impl Strategy<Value = Policy> {
    let parts =
        (0..4_u8, any::<bool>(), any::<bool>(), 0..3_u8, prop::collection::vec((0..3_u8, 0..3_u8), 0..3));
    parts.prop_map(|(name, deny, dry, scope, rules)| {
        let rules = rules.into_iter().map(|(who, port)| {
            let mut wanted = match who {
                0 => principal("client"),
                1 => principal("somebody"),
                _ => Match { principals: is_not(StringMatch::Presence), ..Match::default() },
            };
            if port > 0 {
                wanted.destination_ports = is(8079 + u16::from(port));
            }
            rule(wanted)
        });
        let action = if deny { Action::Deny } else { Action::Allow };
        let made = policy(&format!("ns/p{name}"), action, rules.collect()).scoped(match scope {
            0 => Scope::Global,
            1 => Scope::Namespace,
            _ => Scope::WorkloadSelector,
        });
        if dry { made.dry() } else { made }
    })
}

/// A small mesh: a client and a few workloads behind a service, in the mesh or not, healthy or not.
fn any_mesh() -> impl Strategy<Value = Vec<world::Change>> {
    let pods = prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u32), 0..4);
    (any::<bool>(), pods, any::<bool>(), prop::collection::vec(any_policy(), 0..4)).prop_map(
        |(in_mesh, pods, behind, policies)| {
            let client = workload("client").at(CLIENT);
            let mut front = service("web").at(VIP);
            if behind {
                front = front.behind(by_address("10.0.0.2"));
            }
            let mut changes = vec![if in_mesh { client.hbone() } else { client }.into(), front.into()];
            for (at, (hbone, healthy, named, capacity)) in pods.into_iter().enumerate() {
                let mut pod =
                    workload(&format!("web-{at}")).at(&format!("10.0.0.{}", at + 2)).weighing(capacity);
                pod = if hbone { pod.hbone() } else { pod };
                pod = if healthy { pod } else { pod.unhealthy() };
                pod = if named { pod.naming("ns/p0").naming("ns/p9") } else { pod };
                changes.push(pod.serving("ns/web", []).into());
            }
            changes.extend(policies.into_iter().map(Into::into));
            changes
        },
    )
}

proptest! {
    #[test]
    fn an_explanation_never_disagrees_with_the_data_path(
        changes in any_mesh(),
        to in prop::sample::select(vec!["10.1.0.1:80", "10.1.0.1:81", "10.0.0.2:8080", "10.0.0.3:8081", "192.0.2.1:80"]),
        pick in any::<u64>(),
        seconds in 0..10_u64,
    ) {
        let world = world(changes);
        let now = Moment(std::time::Duration::from_secs(seconds));
        let flow = flow(CLIENT, to);
        let told = explain(&world, &Question { flow, arrival: None }, now, Pick(pick));
        if let Way::Routed(routed) = &told.way {
            let source = told.source.as_deref().unwrap();
            let decided = route(&world, source, flow, Pick(pick));
            prop_assert_eq!(&routed.route, &decided);
            if let Step::Done(Ok(Route { destination: Some(chosen), kind: RouteKind::Tunnel { .. } | RouteKind::Plain, .. })) = &decided {
                for turn in &routed.turns {
                    if let Turn::Choice(choice) = turn {
                        let chosen = choice.candidates.iter().find(|c| c.workload.uid == chosen.uid);
                        prop_assert_eq!(chosen.and_then(|c| Some(c.fit.ok()?.rank)), choice.best());
                    }
                }
            }
        }
        if let End::Proxy(entry) = &told.end
            && let Entry { local, arrival, admitted: Step::Done(Ok(judged)) } = &**entry
        {
            let asked = authorize(&world, local, &judged.connection, now);
            prop_assert_eq!(&judged.verdict, &asked);
            prop_assert_eq!(*arrival == Arrival::Plain, judged.connection.identity.is_none());
            decided_by_what_is_weighed(judged)?;
            for change in &judged.opposite.any_of {
                prop_assert_ne!(after(&world, local, judged, change, now), asked.is_ok(), "{:?}", change);
            }
        }
    }
}

/// The verdict follows from the policies that are told.
fn decided_by_what_is_weighed(judged: &Judged) -> Result<(), TestCaseError> {
    let counts =
        |action| judged.policies.iter().filter(move |w| w.policy.action == action && !w.policy.dry_run);
    let denied = counts(Action::Deny).any(|w| w.meant);
    let asks = counts(Action::Allow).next().is_some();
    let allowed = counts(Action::Allow).any(|w| w.meant);
    prop_assert!(judged.verdict.is_err() || (!denied && (allowed || !asks)));
    prop_assert!(judged.verdict.is_ok() || denied || (asks && !allowed) || !judged.missing.is_empty());
    Ok(())
}

/// Whether the connection is allowed once the change is made.
fn after(world: &World, local: &Workload, judged: &Judged, change: &Change, now: Moment) -> bool {
    let (mut world, mut local) = (world.clone(), local.clone());
    let mut connection: Connection = judged.connection.clone();
    let mut remove = |world: &mut World, keys: &[crate::Str]| {
        for key in keys {
            world.apply(vec![world::Change::RemovePolicy(key.clone())], now);
            local.authorization_policies.retain(|named| named != key);
        }
    };
    match change {
        Change::Without(keys) => remove(&mut world, keys),
        Change::Enrolled(identity) => connection.identity = Some(identity.clone()),
        Change::Naming { policy, without } => {
            remove(&mut world, without);
            world.apply(vec![(**policy).clone().into()], now);
        }
    }
    authorize(&world, &local, &connection, now).is_ok()
}
