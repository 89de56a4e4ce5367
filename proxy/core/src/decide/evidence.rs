//! The evidence of a decision: the rule that means a connection, or the one that came closest to it, and the attribute that
//! settled it.

use std::fmt;

use super::matching::{Facts, Wanted};
use crate::{
    Str,
    model::{Attribute, Match, Policy, Rule, Rules, Workload},
    world::World,
};

mod cause;
#[cfg(test)]
mod tests;

pub use cause::Cause;

/// Where in a policy it was decided, by which attribute, and what was seen there. For people who look for a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The policy.
    pub policy: Str,
    /// The rule, its clause and the clause's match, by their places; as far down as the decision went.
    pub path: Vec<usize>,
    /// What kind of agreement or disagreement it was.
    pub cause: Cause,
    /// The attribute that settled it; `None` when none was looked at.
    pub attribute: Option<Compared>,
    /// Further attributes that agreed, or failed, alike.
    pub also: Vec<Field>,
}

/// One attribute, as the client had it and as the policy wanted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compared {
    /// Which.
    pub field: Field,
    /// What the client had; bounded.
    pub seen: String,
    /// The pattern that met it, or came closest; bounded.
    pub wanted: String,
    /// How many patterns the attribute has.
    pub of: usize,
}

/// A list of a match, by the name that it has in the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    /// The attribute.
    pub kind: Kind,
    /// Whether it is the list of what must not be.
    pub negated: bool,
}

/// An attribute of a connection. Those that tell most to somebody who looks for a mistake come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The source's identity.
    Principals,
    /// The source's namespace and service account.
    ServiceAccounts,
    /// The source's namespace.
    Namespaces,
    /// The source's address.
    SourceIps,
    /// The address that the application is reached at.
    DestinationIps,
    /// The port that the application is reached at.
    DestinationPorts,
}

impl Evidence {
    /// Of a policy that decides as a whole.
    pub(super) const fn whole(policy: Str, cause: Cause) -> Self {
        Self { policy, path: Vec::new(), cause, attribute: None, also: Vec::new() }
    }
}

/// How a policy comes to mean the connection.
pub(super) fn of_hit(facts: &Facts<'_>, policy: &Policy) -> Evidence {
    let Rules::Any(rules) = &policy.rules else {
        return Evidence::whole(policy.key.clone(), Cause::Unreadable);
    };
    let hit = rules.iter().enumerate().find(|(_, rule)| facts.meant_by_rule(rule));
    let mut told = Told::default();
    let mut path = Vec::new();
    if let Some((at, rule)) = hit {
        path.push(at);
        for (clause, matches) in rule.clauses.iter().map(|clause| &clause.matches).enumerate() {
            let met = matches.iter().enumerate().find(|(_, wanted)| facts.meant_by_match(wanted));
            if let Some((place, wanted)) = met {
                findings(facts, wanted, &mut |finding| told.note([clause, place], finding));
            }
        }
    }
    told.into_evidence(facts, policy, path, |_| Cause::Meant)
}

/// Of policies that do not mean the connection, what came closest to it.
pub(super) fn nearest<'a>(
    facts: &Facts<'_>,
    world: &World,
    local: &Workload,
    policies: impl Iterator<Item = &'a Policy>,
) -> Option<Evidence> {
    let candidates = policies.flat_map(|policy| candidates(facts, policy));
    // The first of those that come equally close.
    let best = candidates.reduce(|best, next| if next.distance > best.distance { next } else { best })?;
    let Candidate { policy, rule, .. } = best;
    let Some((at, rule)) = rule else {
        let cause = if policy.rules == Rules::Unreadable { Cause::Unreadable } else { Cause::NoRules };
        return Some(Evidence::whole(policy.key.clone(), cause));
    };
    let mut told = Told::default();
    for (clause, matches) in failing(facts, rule) {
        if let Some((place, wanted)) = closest(facts, matches) {
            told.missed(clause, place, wanted);
            findings(facts, wanted, &mut |finding| {
                if !finding.agrees {
                    told.note([clause, place], finding);
                }
            });
        }
    }
    Some(told.into_evidence(facts, policy, vec![at], |finding| cause::of_miss(facts, world, local, finding)))
}

/// What one policy has to do with the connection: how it comes to mean it, or what of it came closest.
pub(super) fn of_policy(facts: &Facts<'_>, world: &World, local: &Workload, policy: &Policy) -> Evidence {
    if facts.meant_by(policy) {
        return of_hit(facts, policy);
    }
    let near = nearest(facts, world, local, [policy].into_iter());
    // Every policy that means nothing has at least itself to show.
    near.unwrap_or_else(|| Evidence::whole(policy.key.clone(), Cause::NoRules))
}

/// A rule that might have meant the connection; `None` stands for the policy as a whole.
struct Candidate<'a> {
    distance: Distance,
    policy: &'a Policy,
    rule: Option<(usize, &'a Rule)>,
}

fn candidates<'a>(facts: &Facts<'_>, policy: &'a Policy) -> impl Iterator<Item = Candidate<'a>> {
    let (rules, whole): (&[_], _) = match &policy.rules {
        Rules::Unreadable => (&[], Some(Distance::UNREADABLE)),
        Rules::Any(rules) if rules.is_empty() => (&[], Some(Distance::NO_RULES)),
        Rules::Any(rules) => (rules, None),
    };
    let each = rules.iter().enumerate();
    let each =
        each.map(|(at, rule)| Candidate { distance: distance(facts, rule), policy, rule: Some((at, rule)) });
    whole.map(|distance| Candidate { distance, policy, rule: None }).into_iter().chain(each)
}

/// The clauses of a rule that do not mean the connection.
fn failing<'r>(facts: &Facts<'_>, rule: &'r Rule) -> impl Iterator<Item = (usize, &'r [Match])> {
    let clauses = rule.clauses.iter().map(|clause| &*clause.matches).enumerate();
    clauses.filter(|(_, matches)| {
        !matches.is_empty() && !matches.iter().any(|wanted| facts.meant_by_match(wanted))
    })
}

/// The match that comes closest to the connection.
fn closest<'r>(facts: &Facts<'_>, matches: &'r [Match]) -> Option<(usize, &'r Match)> {
    let mut best: Option<(Distance, (usize, &Match))> = None;
    for (at, wanted) in matches.iter().enumerate() {
        let distance = distance_of_match(facts, wanted);
        if best.as_ref().is_none_or(|(so_far, _)| distance > *so_far) {
            best = Some((distance, (at, wanted)));
        }
    }
    best.map(|(_, found)| found)
}

/// How close something comes to meaning a connection: the greater, the closer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    /// Fewer attributes that fail come first: counted downwards.
    failing: i64,
    agreeing: usize,
    likeness: usize,
}

impl Distance {
    /// It may well have been meant to mean the connection, and has to be told in any case.
    const UNREADABLE: Self = Self { failing: 0, agreeing: usize::MAX, likeness: 0 };
    const NO_RULES: Self = Self { failing: i64::MIN, agreeing: 0, likeness: 0 };
}

/// The sum over the clauses, each by its closest match.
fn distance(facts: &Facts<'_>, rule: &Rule) -> Distance {
    let mut sum = Distance::default();
    for matches in rule.clauses.iter().map(|clause| &clause.matches).filter(|matches| !matches.is_empty()) {
        let best = matches.iter().map(|wanted| distance_of_match(facts, wanted)).max().unwrap_or_default();
        sum.failing = sum.failing.saturating_add(best.failing);
        sum.agreeing = sum.agreeing.saturating_add(best.agreeing);
        sum.likeness = sum.likeness.saturating_add(best.likeness);
    }
    sum
}

fn distance_of_match(facts: &Facts<'_>, wanted: &Match) -> Distance {
    let mut distance = Distance::default();
    if wanted.is_empty() {
        distance.failing = -1;
    }
    findings(facts, wanted, &mut |finding| {
        if finding.agrees {
            distance.agreeing += 1;
        } else {
            distance.failing -= 1;
            distance.likeness = distance.likeness.saturating_add(finding.likeness);
        }
    });
    distance
}

/// What became of one list of a match.
#[derive(Clone, Copy)]
struct Finding<'a> {
    field: Field,
    agrees: bool,
    /// The pattern that settled it.
    wanted: Wanted<'a>,
    of: usize,
    likeness: usize,
}

/// Compares every list of a match that asks for something.
fn findings<'a>(facts: &Facts<'_>, wanted: &'a Match, tell: &mut dyn FnMut(Finding<'a>)) {
    let Match { namespaces, principals, service_accounts, source_ips, destination_ips, destination_ports } =
        wanted;
    compare(facts, Kind::Principals, principals, Wanted::Principal, tell);
    compare(facts, Kind::ServiceAccounts, service_accounts, Wanted::Account, tell);
    compare(facts, Kind::Namespaces, namespaces, Wanted::Namespace, tell);
    compare(facts, Kind::SourceIps, source_ips, Wanted::Source, tell);
    compare(facts, Kind::DestinationIps, destination_ips, Wanted::Destination, tell);
    compare(facts, Kind::DestinationPorts, destination_ports, |port| Wanted::Port(*port), tell);
}

fn compare<'a, T>(
    facts: &Facts<'_>,
    kind: Kind,
    attribute: &'a Attribute<T>,
    wanted: impl Fn(&'a T) -> Wanted<'a>,
    tell: &mut dyn FnMut(Finding<'a>),
) {
    for (list, negated) in [(&attribute.is, false), (&attribute.is_not, true)] {
        let all = || list.iter().map(&wanted);
        let hit = all().find(|wanted| facts.fits(*wanted));
        let agrees = hit.is_some() != negated;
        let likeness = |wanted: &Wanted<'_>| cause::likeness(facts, *wanted);
        // Where nothing fits, the one that nearly does; the first of equals.
        let shown = hit.or_else(|| all().rev().max_by_key(likeness));
        if let Some(shown) = shown {
            let field = Field { kind, negated };
            tell(Finding { field, agrees, wanted: shown, of: list.len(), likeness: likeness(&shown) });
        }
    }
}

/// What there is to tell of the clauses of one rule.
#[derive(Default)]
struct Told<'a> {
    findings: Vec<([usize; 2], Finding<'a>)>,
    /// A match that asks for nothing, and so means nothing.
    blank: Option<[usize; 2]>,
}

impl<'a> Told<'a> {
    fn note(&mut self, at: [usize; 2], finding: Finding<'a>) {
        self.findings.push((at, finding));
    }

    fn missed(&mut self, clause: usize, place: usize, wanted: &Match) {
        if wanted.is_empty() {
            self.blank.get_or_insert([clause, place]);
        }
    }

    /// The attribute that tells most is told whole, the others by name.
    fn into_evidence(
        mut self,
        facts: &Facts<'_>,
        policy: &Policy,
        mut path: Vec<usize>,
        cause: impl Fn(&Finding<'_>) -> Cause,
    ) -> Evidence {
        self.findings.sort_by_key(|(_, finding)| finding.field);
        let mut findings = self.findings.iter();
        let Some((at, first)) = findings.next() else {
            // A rule without conditions means everything; a match without any means nothing.
            let blank = self.blank.map_or(Cause::Meant, |_| Cause::EmptyMatch);
            path.extend(self.blank.into_iter().flatten());
            return Evidence { path, ..Evidence::whole(policy.key.clone(), blank) };
        };
        path.extend(at);
        let mut also: Vec<Field> = findings.map(|(_, finding)| finding.field).collect();
        also.dedup();
        let attribute = Compared {
            field: first.field,
            seen: bounded(facts.seen(first.wanted)),
            wanted: bounded(first.wanted.to_string()),
            of: first.of,
        };
        Evidence { policy: policy.key.clone(), path, cause: cause(first), attribute: Some(attribute), also }
    }
}

/// Hardly more than [`SHOWN`] bytes of a text.
fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().find(|(at, _)| *at >= SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Longer names than this tell nobody more.
const SHOWN: usize = 160;

impl Field {
    /// Its name in the dump.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.kind, self.negated) {
            (Kind::Principals, false) => "principals",
            (Kind::Principals, true) => "notPrincipals",
            (Kind::ServiceAccounts, false) => "serviceAccounts",
            (Kind::ServiceAccounts, true) => "notServiceAccounts",
            (Kind::Namespaces, false) => "namespaces",
            (Kind::Namespaces, true) => "notNamespaces",
            (Kind::SourceIps, false) => "sourceIps",
            (Kind::SourceIps, true) => "notSourceIps",
            (Kind::DestinationIps, false) => "destinationIps",
            (Kind::DestinationIps, true) => "notDestinationIps",
            (Kind::DestinationPorts, false) => "destinationPorts",
            (Kind::DestinationPorts, true) => "notDestinationPorts",
        }
    }
}

/// `cause=<code> policy=<namespace>/<name> at=<rule>/<clause>/<match> field=<name> seen='…' wanted='…'`.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, path, cause, attribute, also } = self;
        write!(f, "cause={} policy={policy}", cause.code())?;
        for (at, place) in path.iter().enumerate() {
            write!(f, "{}{place}", if at == 0 { " at=" } else { "/" })?;
        }
        if let Some(Compared { field, seen, wanted, of }) = attribute {
            write!(f, " field={} seen='{seen}' wanted='{wanted}'", field.name())?;
            if *of > 1 {
                write!(f, " (of {of})")?;
            }
        }
        for (at, field) in also.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { " also=" } else { "," }, field.name())?;
        }
        Ok(())
    }
}
