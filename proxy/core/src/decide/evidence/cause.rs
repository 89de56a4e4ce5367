//! What kind of mistake a near miss looks like, as a code that stays.

use std::sync::Arc;

use ipnet::IpNet;

use super::super::matching::{Facts, Wanted};
use super::Finding;
use crate::{
    model::{PortMap, Service, StringMatch, Workload},
    world::World,
};

/// How a policy came to mean a connection, or why it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A rule means the connection.
    Meant,
    /// The policy cannot be read.
    Unreadable,
    /// The policy has not arrived.
    Unknown,
    /// The policy has no rule: it means nothing.
    NoRules,
    /// The match asks for nothing that is known at this layer, and so means nothing: its HTTP conditions were left out.
    EmptyMatch,
    /// A list of what must not be names it.
    Excluded,
    /// Something about the client's identity is asked for, and it came without one.
    NoIdentity,
    /// A principal is written with `spiffe://`, which no principal has.
    Scheme,
    /// A pattern is not of the form that it is compared with.
    Form,
    /// Only upper and lower case differ.
    LetterCase,
    /// Only the trust domain differs.
    TrustDomain,
    /// Only the namespace differs.
    Namespace,
    /// Only the service account differs.
    ServiceAccount,
    /// The address is of the other family.
    AddressFamily,
    /// The port of a service is wanted where the application's port is compared.
    ServicePort,
    /// The address of a service is wanted where the application's own is compared.
    ServiceAddress,
    /// None of these.
    Mismatch,
}

impl Cause {
    /// The word that logs have for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Meant => "meant",
            Self::Unreadable => "unreadable",
            Self::Unknown => "unknown-policy",
            Self::NoRules => "no-rules",
            Self::EmptyMatch => "empty-match",
            Self::Excluded => "excluded",
            Self::NoIdentity => "no-identity",
            Self::Scheme => "spiffe-scheme",
            Self::Form => "form",
            Self::LetterCase => "letter-case",
            Self::TrustDomain => "trust-domain",
            Self::Namespace => "namespace",
            Self::ServiceAccount => "service-account",
            Self::AddressFamily => "address-family",
            Self::ServicePort => "service-port",
            Self::ServiceAddress => "service-address",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Why a list did not agree, by the pattern that came closest.
pub(super) fn of_miss(facts: &Facts<'_>, world: &World, local: &Workload, finding: &Finding<'_>) -> Cause {
    if finding.field.negated {
        return Cause::Excluded;
    }
    match finding.wanted {
        Wanted::Principal(_) | Wanted::Namespace(_) | Wanted::Account(_) if facts.identity().is_none() => {
            Cause::NoIdentity
        }
        Wanted::Principal(pattern) => of_principal(facts, pattern),
        Wanted::Namespace(pattern) => match text(pattern) {
            Some(text) if text.contains('/') => Cause::Form,
            Some(text) if is_but_for_case(pattern, text, facts.namespace()) => Cause::LetterCase,
            Some(_) | None => Cause::Mismatch,
        },
        Wanted::Account(wanted) => match facts.identity() {
            Some(client) if client.service_account == wanted.service_account => Cause::Namespace,
            Some(client) if client.namespace == wanted.namespace => Cause::ServiceAccount,
            Some(_) | None => Cause::Mismatch,
        },
        Wanted::Source(net) if net.addr().is_ipv4() != facts.source().is_ipv4() => Cause::AddressFamily,
        Wanted::Source(_) => Cause::Mismatch,
        Wanted::Destination(net) => of_destination(facts, world, local, net),
        Wanted::Port(wanted) => of_port(facts, world, local, wanted),
    }
}

fn of_destination(facts: &Facts<'_>, world: &World, local: &Workload, net: &IpNet) -> Cause {
    let names = |service: &Arc<Service>| service.vips.iter().any(|vip| net.contains(&vip.address));
    if services(world, local).any(names) {
        Cause::ServiceAddress
    } else if net.addr().is_ipv4() == facts.target().is_ipv4() {
        Cause::Mismatch
    } else {
        Cause::AddressFamily
    }
}

fn of_port(facts: &Facts<'_>, world: &World, local: &Workload, wanted: u16) -> Cause {
    let leads_here = |ports: &PortMap| ports.get(&wanted) == Some(&facts.target().port());
    let by_endpoint = local.services.values().any(|ports| leads_here(ports));
    if by_endpoint || services(world, local).any(|service| leads_here(&service.ports)) {
        Cause::ServicePort
    } else {
        Cause::Mismatch
    }
}

/// The services that the workload stands behind.
fn services<'a>(world: &'a World, local: &'a Workload) -> impl Iterator<Item = &'a Arc<Service>> {
    local.services.keys().filter_map(|key| world.service(key))
}

fn of_principal(facts: &Facts<'_>, pattern: &StringMatch) -> Cause {
    let (Some(wanted), Some(client)) = (text(pattern), facts.identity()) else {
        return Cause::Mismatch;
    };
    if wanted.starts_with("spiffe://") {
        return Cause::Scheme;
    }
    if is_but_for_case(pattern, wanted, facts.principal()) {
        return Cause::LetterCase;
    }
    if !matches!(pattern, StringMatch::Exact(_)) {
        return Cause::Mismatch;
    }
    let mut parts = wanted.split('/');
    let (Some(domain), Some("ns"), Some(namespace), Some("sa"), Some(account), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Cause::Form;
    };
    let same = (
        *domain == *client.trust_domain,
        *namespace == *client.namespace,
        *account == *client.service_account,
    );
    match same {
        (false, true, true) => Cause::TrustDomain,
        (true, false, true) => Cause::Namespace,
        (true, true, false) => Cause::ServiceAccount,
        _ => Cause::Mismatch,
    }
}

fn text(pattern: &StringMatch) -> Option<&str> {
    match pattern {
        StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Suffix(text) => Some(text),
        StringMatch::Presence => None,
    }
}

fn is_but_for_case(pattern: &StringMatch, wanted: &str, seen: &str) -> bool {
    let low = |text: &str| text.to_ascii_lowercase();
    let lowered = match pattern {
        StringMatch::Exact(_) => StringMatch::Exact(low(wanted).into()),
        StringMatch::Prefix(_) => StringMatch::Prefix(low(wanted).into()),
        StringMatch::Suffix(_) => StringMatch::Suffix(low(wanted).into()),
        StringMatch::Presence => return false,
    };
    lowered.fits(&low(seen))
}

/// How much of a pattern is there: the one with most of it is the one that was meant.
pub(super) fn likeness(facts: &Facts<'_>, wanted: Wanted<'_>) -> usize {
    match wanted {
        Wanted::Principal(pattern) => match facts.identity() {
            Some(_) => alike(pattern, facts.principal()),
            None => 0,
        },
        Wanted::Namespace(pattern) => alike(pattern, facts.namespace()),
        Wanted::Account(wanted) => facts.identity().map_or(0, |client| {
            usize::from(client.namespace == wanted.namespace)
                + usize::from(client.service_account == wanted.service_account)
        }),
        Wanted::Source(net) => usize::from(net.addr().is_ipv4() == facts.source().is_ipv4()),
        Wanted::Destination(net) => usize::from(net.addr().is_ipv4() == facts.target().is_ipv4()),
        Wanted::Port(_) => 0,
    }
}

/// How many bytes agree, from the end that the pattern is compared at.
fn alike(pattern: &StringMatch, seen: &str) -> usize {
    fn run(pairs: impl Iterator<Item = (u8, u8)>) -> usize {
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    }
    match pattern {
        StringMatch::Exact(text) | StringMatch::Prefix(text) => {
            let text = text.strip_prefix("spiffe://").unwrap_or(text);
            run(text.bytes().zip(seen.bytes()))
        }
        StringMatch::Suffix(text) => run(text.bytes().rev().zip(seen.bytes().rev())),
        StringMatch::Presence => 0,
    }
}
