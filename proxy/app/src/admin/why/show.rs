//! An explanation as JSON, bounded however large the mesh is.

use proxy_core::decide::evidence::{Compared, Evidence};
use proxy_core::decide::explain::{
    Arrival, Change, End, Entry, Explanation, Judged, Outcome, Question, Routed, Way, Weighed,
};
use proxy_core::decide::{Choice, Lookup, Purpose, Route, RouteError, RouteKind, Step, Turn, Unfit};
use proxy_core::model::{Action, Attribute, Policy, Protocol, Rules, Scope, StringMatch, Workload};
use proxy_core::world::World;
use serde_json::{Value, json};

/// What this proxy has to do with a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is of another node.
    Elsewhere,
    /// It is of this node, and its proxy serves.
    Up,
    /// It is of this node, and its proxy cannot start yet.
    Pending,
    /// It is of this node, and the node agent has not announced it.
    NotAnnounced,
}

pub(super) fn explanation(
    world: &World,
    question: &Question,
    told: &Explanation,
    standing: impl Fn(&Workload) -> Standing,
) -> Value {
    let who = |workload: &Workload| party(workload, standing(workload));
    let verdict = match told.outcome() {
        Outcome::Passes => "allowed",
        Outcome::Ends(_) => "refused",
        Outcome::Open => "open",
    };
    let reason = match told.outcome() {
        Outcome::Ends(reason) => Some(reason.flag()),
        Outcome::Passes | Outcome::Open => None,
    };
    json!({
        "node": &*world.node().node_name,
        "verdict": verdict,
        "reason": reason,
        "source": {
            "address": question.flow.source.ip().to_string(),
            "workload": told.source.as_deref().map(who),
        },
        "destination": question.flow.destination.to_string(),
        "route": way(&told.way, who),
        "end": end(&told.end, who),
        "change": changes(told),
    })
}

fn party(workload: &Workload, standing: Standing) -> Value {
    json!({
        "uid": &*workload.uid,
        "name": &*workload.name,
        "namespace": &*workload.namespace,
        "identity": workload.identity().to_string(),
        "addresses": workload.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "node": &*workload.node,
        "protocol": match workload.protocol { Protocol::Tcp => "TCP", Protocol::Hbone => "HBONE" },
        "proxy": match standing {
            Standing::Elsewhere => "Elsewhere",
            Standing::Up => "Up",
            Standing::Pending => "Pending",
            Standing::NotAnnounced => "NotAnnounced",
        },
    })
}

fn way(way: &Way, who: impl Fn(&Workload) -> Value) -> Value {
    match way {
        Way::Given => Value::Null,
        Way::Uncaptured => json!({"kind": "uncaptured", "protocol": "TCP"}),
        Way::Itself => json!({"kind": "itself", "protocol": "HBONE"}),
        Way::Routed(Routed { route, turns }) => {
            let mut shown = match route {
                Step::Need(lookup) => json!({"kind": "lookup", "needs": needs(lookup)}),
                Step::Done(Err(error)) => json!({
                    "kind": "refused",
                    "reason": error.reason().flag(),
                    "error": error.to_string(),
                }),
                Step::Done(Ok(route)) => self::route(route, turns, &who),
            };
            if let Some(shown) = shown.as_object_mut() {
                shown.insert("turns".to_owned(), turns.iter().map(turn).collect::<Vec<_>>().into());
            }
            shown
        }
    }
}

fn route(route: &Route, turns: &[Turn], who: impl Fn(&Workload) -> Value) -> Value {
    let by_waypoint = turns.iter().any(|turn| matches!(turn, Turn::Waypoint(_)));
    let (kind, protocol) = match &route.kind {
        RouteKind::Passthrough => ("passthrough", "TCP"),
        RouteKind::Plain => ("plain", "TCP"),
        RouteKind::DoubleTunnel { .. } => ("gateway", "HBONE"),
        RouteKind::Tunnel { .. } if by_waypoint => ("waypoint", "HBONE"),
        RouteKind::Tunnel { .. } => ("direct", "HBONE"),
    };
    let expected = match &route.kind {
        RouteKind::Passthrough | RouteKind::Plain => Vec::new(),
        RouteKind::Tunnel { authority: _, expected } => few(expected),
        RouteKind::DoubleTunnel { gateway, .. } => few(gateway),
    };
    json!({
        "kind": kind,
        "protocol": protocol,
        "nextHop": route.next_hop.to_string(),
        "authority": route.hbone_target().map(ToString::to_string),
        "expectedIdentities": expected,
        "service": route.service.as_ref().map(|service| service.key.to_string()),
        "workload": route.destination.as_deref().map(who),
    })
}

fn needs(lookup: &Lookup) -> Value {
    match lookup {
        Lookup::Hostname(name) => json!({"dns": &**name}),
        Lookup::Address(key) => json!({"controlPlane": &**key}),
    }
}

fn turn(turn: &Turn) -> Value {
    match turn {
        Turn::Meant(service) => json!({"service": service.key.to_string()}),
        Turn::OwnWaypoint(waypoint) => json!({"ownWaypoint": waypoint.to_string()}),
        Turn::Waypoint(waypoint) => json!({"waypoint": waypoint.to_string()}),
        Turn::Gateway(gateway) => json!({"gateway": gateway.to_string()}),
        Turn::Choice(choice) => self::choice(choice),
    }
}

fn choice(choice: &Choice) -> Value {
    let best = choice.best();
    let mut candidates: Vec<_> = choice.candidates.iter().collect();
    // Where not all are shown, the chosen are.
    candidates.sort_by_key(|candidate| candidate.fit.ok().is_none_or(|fit| Some(fit.rank) != best));
    let endpoints: Vec<Value> = candidates
        .iter()
        .take(MOST)
        .map(|candidate| {
            let workload = &candidate.workload;
            let (port, fit) = match candidate.fit {
                Ok(fit) if Some(fit.rank) == best => (Some(fit.port), "chosen"),
                Ok(fit) => (Some(fit.port), "farther"),
                Err(unfit) => (None, self::unfit(unfit)),
            };
            let address = workload.addresses.first().map(ToString::to_string);
            json!({"workload": &*workload.uid, "node": &*workload.node, "address": address, "port": port, "fit": fit})
        })
        .collect();
    json!({
        "choice": choice.service.key.to_string(),
        "port": choice.port,
        "for": match choice.purpose {
            Purpose::Traffic => "traffic",
            Purpose::Waypoint => "waypoint",
            Purpose::Gateway => "gateway",
        },
        "endpoints": endpoints,
        "of": choice.candidates.len(),
    })
}

const fn unfit(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::NoCapacity => "no-capacity",
        Unfit::Unhealthy => "unhealthy",
        Unfit::Unreachable => "unreachable",
        Unfit::NoPort => "no-port",
        Unfit::Locality => "locality",
    }
}

fn end(end: &End, who: impl Fn(&Workload) -> Value) -> Value {
    match end {
        End::None => Value::Null,
        End::Unguarded => json!({"guard": "none"}),
        End::Itself(workload) => json!({"guard": "itself", "workload": who(workload)}),
        End::Beyond(gateway) => json!({"guard": "other-network", "gateway": who(gateway)}),
        End::Elsewhere(endpoints) => json!({
            "guard": "endpoint",
            "endpoints": endpoints.iter().take(MOST).map(|workload| who(workload)).collect::<Vec<_>>(),
            "of": endpoints.len(),
        }),
        End::Proxy(entry) => {
            let Entry { local, arrival, admitted } = &**entry;
            let mut shown = json!({
                "guard": "proxy",
                "workload": who(local),
                "arrives": match arrival { Arrival::Plain => "plain", Arrival::Tunnel(_) => "tunnel" },
            });
            let rest = match admitted {
                Step::Need(lookup) => json!({"needs": needs(lookup)}),
                Step::Done(Err(error)) => {
                    json!({"reason": error.reason().flag(), "error": error.to_string()})
                }
                Step::Done(Ok(judged)) => self::judged(judged),
            };
            if let (Some(shown), Value::Object(rest)) = (shown.as_object_mut(), rest) {
                shown.extend(rest);
            }
            shown
        }
    }
}

fn judged(judged: &Judged) -> Value {
    let Judged { connection, verdict, policies, missing, plaintext, opposite: _ } = judged;
    let (decided_by, error) = match verdict {
        Ok(permit) => (permit.policy(), None),
        Err(deny) => (deny.policy.as_deref(), Some(deny.to_string())),
    };
    // Where not all are shown, those that mean the connection are.
    let mut shown: Vec<_> = policies.iter().enumerate().collect();
    shown.sort_by_key(|(_, weighed)| !weighed.meant);
    shown.truncate(MOST);
    shown.sort_by_key(|(at, _)| *at);
    json!({
        "connection": {
            "identity": connection.identity.as_ref().map(ToString::to_string),
            "source": connection.source.ip().to_string(),
            "target": connection.target.to_string(),
        },
        "allowed": verdict.is_ok(),
        "decidedBy": decided_by,
        "error": error,
        "peerAuthentication": if judged.is_strict() { "STRICT" } else { "PERMISSIVE" },
        "plaintext": {
            "allowed": plaintext.is_ok(),
            "refusedBy": plaintext.as_ref().err().and_then(Option::as_deref),
        },
        "policies": shown.into_iter().map(|(_, weighed)| self::weighed(weighed)).collect::<Vec<_>>(),
        "of": policies.len(),
        "missing": missing.iter().take(MOST).map(|key| &**key).collect::<Vec<_>>(),
    })
}

fn weighed(weighed: &Weighed) -> Value {
    let Weighed { policy, meant, meant_in_plain: _, evidence } = weighed;
    json!({
        "policy": &*policy.key,
        "scope": match policy.scope {
            Scope::Global => "Global",
            Scope::Namespace => "Namespace",
            Scope::WorkloadSelector => "WorkloadSelector",
        },
        "action": action(policy.action),
        "dryRun": policy.dry_run,
        "matches": meant,
        "evidence": self::evidence(evidence),
    })
}

fn evidence(evidence: &Evidence) -> Value {
    let compared = evidence.attribute.as_ref().map(|Compared { field, seen, wanted, of }| {
        json!({"field": field.name(), "seen": seen, "wanted": wanted, "of": of})
    });
    json!({
        "cause": evidence.cause.code(),
        "at": evidence.path,
        "attribute": compared,
        "also": evidence.also.iter().map(|field| field.name()).collect::<Vec<_>>(),
    })
}

/// What would have to change for the opposite answer.
fn changes(told: &Explanation) -> Value {
    if let Way::Routed(Routed { route: Step::Done(Err(error)), turns: _ }) = &told.way {
        return json!([{"kind": "route", "text": mend(error)}]);
    }
    let End::Proxy(entry) = &told.end else { return json!([]) };
    let Step::Done(Ok(judged)) = &entry.admitted else { return json!([]) };
    let shown = judged.opposite.any_of.iter().map(|change| self::change(change, &entry.local));
    shown.collect::<Vec<_>>().into()
}

fn change(change: &Change, local: &Workload) -> Value {
    match change {
        Change::Without(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| &**key).collect();
            json!({"kind": "remove", "policies": keys, "text": format!("without {}", keys.join(" and "))})
        }
        Change::Enrolled(identity) => json!({
            "kind": "enroll",
            "identity": identity.to_string(),
            "text": format!("if the client were in the mesh, as {identity}"),
        }),
        Change::Naming { policy, without } => {
            let keys: Vec<_> = without.iter().map(|key| &**key).collect();
            let after = match keys.as_slice() {
                [] => String::new(),
                keys => format!("without {}, and ", keys.join(" and ")),
            };
            let text = format!(
                "{after}with a rule like this in an {} policy that selects {}/{}",
                action(policy.action).to_uppercase(),
                local.namespace,
                local.name,
            );
            json!({
                "kind": "add",
                "policies": keys,
                "action": action(policy.action).to_uppercase(),
                "rule": rule(policy),
                "text": text,
            })
        }
    }
}

/// The one rule of a policy that names one client, as Kubernetes writes it.
fn rule(policy: &Policy) -> Value {
    let Rules::Any(rules) = &policy.rules else { return Value::Null };
    let all = rules.iter().flat_map(|rule| &rule.clauses).flat_map(|clause| &clause.matches);
    let Some(wanted) = all.into_iter().next() else { return Value::Null };
    let principals = texts(&wanted.principals, |pattern| match pattern {
        StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Suffix(text) => text.to_string(),
        StringMatch::Presence => "*".to_owned(),
    });
    let blocks = texts(&wanted.source_ips, ToString::to_string);
    let ports = texts(&wanted.destination_ports, ToString::to_string);
    let source =
        if principals.is_empty() { json!({"ipBlocks": blocks}) } else { json!({"principals": principals}) };
    json!({"from": [{"source": source}], "to": [{"operation": {"ports": ports}}]})
}

fn texts<T>(attribute: &Attribute<T>, show: impl Fn(&T) -> String) -> Vec<String> {
    attribute.is.iter().map(show).collect()
}

/// What to do about a route that there is not.
fn mend(error: &RouteError) -> String {
    match error {
        RouteError::SelfCall(at) => format!("call another port than {}: it is the proxy's own", at.port()),
        RouteError::NoHealthyUpstream(_) => {
            "make an endpoint ready that serves this port; the list says what each one lacks".to_owned()
        }
        RouteError::UnknownWaypoint(waypoint) => {
            format!("bring the waypoint {waypoint} up, or take the label istio.io/use-waypoint away")
        }
        RouteError::UnknownGateway(gateway) => {
            format!("bring the network's east-west gateway {gateway} up")
        }
        RouteError::UnknownInMesh(_) => {
            "have the control plane announce the address, or do not count it to the mesh: ADIT_MESH_CIDRS"
                .to_owned()
        }
        RouteError::NoService(_) => {
            "call a service: another network has no addresses of its own here".to_owned()
        }
        RouteError::NoAddress(uid) => format!("give {uid} an address, a hostname or a network gateway"),
        RouteError::Unresolved(_, hostname) => format!("have DNS know {hostname}"),
    }
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
    }
}

fn few<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().take(MOST).map(ToString::to_string).collect()
}

/// The most of a kind that is shown.
const MOST: usize = 64;
