//! Authorization resources. This is the one parser that is a security boundary: a policy that does not read as a whole
//! must not widen access.

use ipnet::IpNet;
use prost::Message;
use xds_proto::istio::security::{
    Action as WireAction, Address as WireAddress, Authorization as Wire, Clause as WireClause,
    Match as WireMatch, Rule as WireRule, Scope as WireScope, ServiceAccountMatch as WireAccount,
    StringMatch as WireString, string_match::MatchType,
};

use super::{
    common::{port, prefix, unknown},
    error::{DecodeError, Fault, Malformed},
};
use crate::{
    Str,
    model::{Action, Attribute, Clause, Match, Policy, Rule, Rules, Scope, ServiceAccountMatch, StringMatch},
    world::{Change, UnreadablePolicy},
};

/// A policy that is refused, and what to apply in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// What the control plane is told.
    pub error: DecodeError,
    /// What the world is told: the policy exists and cannot be read.
    pub instead: Change,
}

/// Reads a resource of the Authorization type.
///
/// # Errors
/// When any part of it cannot be read. The caller refuses the resource and applies [`Refused::instead`], which keeps the
/// last good version, and without one allows nothing and denies what the policy covers.
pub fn authorization(name: &str, bytes: &[u8]) -> Result<Change, Box<Refused>> {
    let read = Wire::decode(bytes)
        .map_err(|error| ("authorization".into(), Malformed::Bytes(error)))
        .and_then(|wire| decode(name, wire));
    match read {
        Ok(policy) => Ok(Change::Policy(Box::new(policy))),
        Err((field, why)) => Err(Box::new(Refused {
            error: DecodeError::new(name, field, why),
            instead: Change::UnreadablePolicy(outline(name, bytes)),
        })),
    }
}

fn decode(key: &str, wire: Wire) -> Result<Policy, Fault> {
    let Wire {
        name,
        namespace,
        scope: wire_scope,
        action: wire_action,
        rules,
        dry_run,
        // Beside the rules, and nothing that this proxy does depends on one.
        extensions: _,
    } = wire;
    let action = action(wire_action)?;
    let rules = rules.into_iter().map(|wire| rule(action, wire)).collect::<Result<_, _>>()?;
    Ok(Policy {
        key: if key.is_empty() {
            return Err(("name".into(), Malformed::Missing));
        } else {
            key.into()
        },
        name: name.into(),
        namespace: namespace.into(),
        scope: scope(wire_scope)?,
        action,
        dry_run,
        rules: Rules::Any(rules),
    })
}

fn scope(number: i32) -> Result<Scope, Fault> {
    match WireScope::try_from(number) {
        Ok(WireScope::Global) => Ok(Scope::Global),
        Ok(WireScope::Namespace) => Ok(Scope::Namespace),
        Ok(WireScope::WorkloadSelector) => Ok(Scope::WorkloadSelector),
        Err(_) => Err(unknown("scope", number)),
    }
}

fn action(number: i32) -> Result<Action, Fault> {
    match WireAction::try_from(number) {
        Ok(WireAction::Allow) => Ok(Action::Allow),
        Ok(WireAction::Deny) => Ok(Action::Deny),
        Err(_) => Err(unknown("action", number)),
    }
}

fn rule(action: Action, wire: WireRule) -> Result<Rule, Fault> {
    let WireRule { clauses } = wire;
    let clauses = clauses
        .into_iter()
        .map(|WireClause { matches }| {
            let matches =
                matches.into_iter().map(|wire| one_match(action, wire)).collect::<Result<_, _>>()?;
            Ok(Clause { matches })
        })
        .collect::<Result<_, Fault>>()?;
    Ok(Rule { clauses })
}

fn one_match(action: Action, wire: WireMatch) -> Result<Match, Fault> {
    let WireMatch {
        namespaces,
        not_namespaces,
        principals,
        not_principals,
        source_ips,
        not_source_ips,
        destination_ips,
        not_destination_ips,
        destination_ports,
        not_destination_ports,
        service_accounts,
        not_service_accounts,
        extensions,
    } = wire;
    let wanted = Match {
        namespaces: both("namespaces", namespaces, not_namespaces, string)?,
        principals: both("principals", principals, not_principals, string)?,
        service_accounts: both("service_accounts", service_accounts, not_service_accounts, account)?,
        source_ips: both("source_ips", source_ips, not_source_ips, net)?,
        destination_ips: both("destination_ips", destination_ips, not_destination_ips, net)?,
        destination_ports: both("destination_ports", destination_ports, not_destination_ports, port)?,
    };
    // An extension is a condition that we do not understand. Without it, an allowing match would mean more than it should,
    // so it means nothing; a denying one errs on the right side, unless nothing is left of it.
    match action {
        Action::Allow if !extensions.is_empty() => Ok(Match::default()),
        Action::Deny if !extensions.is_empty() && wanted.is_empty() => {
            Err(("matches".into(), Malformed::Unsupported("extension")))
        }
        Action::Allow | Action::Deny => Ok(wanted),
    }
}

fn both<W, T>(
    field: &'static str,
    is: Vec<W>,
    is_not: Vec<W>,
    read: impl Fn(&'static str, W) -> Result<T, Fault>,
) -> Result<Attribute<T>, Fault> {
    let list = |wire: Vec<W>| wire.into_iter().map(|item| read(field, item)).collect::<Result<_, _>>();
    Ok(Attribute { is: list(is)?, is_not: list(is_not)? })
}

fn string(field: &'static str, wire: WireString) -> Result<StringMatch, Fault> {
    let WireString { match_type } = wire;
    match match_type {
        Some(MatchType::Exact(text)) => Ok(StringMatch::Exact(text.into())),
        Some(MatchType::Prefix(text)) => Ok(StringMatch::Prefix(text.into())),
        Some(MatchType::Suffix(text)) => Ok(StringMatch::Suffix(text.into())),
        Some(MatchType::Presence(())) => Ok(StringMatch::Presence),
        None => Err((field.into(), Malformed::Missing)),
    }
}

fn account(_: &'static str, wire: WireAccount) -> Result<ServiceAccountMatch, Fault> {
    let WireAccount { namespace, service_account } = wire;
    Ok(ServiceAccountMatch { namespace: namespace.into(), service_account: service_account.into() })
}

fn net(field: &'static str, wire: WireAddress) -> Result<IpNet, Fault> {
    let WireAddress { address, length } = wire;
    prefix(field, &address, length)
}

/// The head of an Authorization, which reads even where its rules do not.
#[derive(Clone, PartialEq, Message)]
struct Outline {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(int32, tag = "3")]
    scope: i32,
    #[prost(int32, tag = "4")]
    action: i32,
    #[prost(bool, tag = "6")]
    dry_run: bool,
}

/// What can be made out of a policy that does not read as a whole; the strictest where it says nothing we understand.
fn outline(name: &str, bytes: &[u8]) -> UnreadablePolicy {
    let of_key = || -> Str { name.split_once('/').map_or("", |(namespace, _)| namespace).into() };
    match Outline::decode(bytes) {
        Ok(Outline { namespace, scope: wire_scope, action: wire_action, dry_run }) => UnreadablePolicy {
            key: name.into(),
            namespace: if namespace.is_empty() { of_key() } else { namespace.into() },
            scope: scope(wire_scope).unwrap_or(Scope::Namespace),
            action: action(wire_action).unwrap_or(Action::Deny),
            dry_run,
        },
        Err(_) => UnreadablePolicy {
            key: name.into(),
            namespace: of_key(),
            scope: Scope::Namespace,
            action: Action::Deny,
            dry_run: false,
        },
    }
}
