//! Who may connect: policies in, a permit or a refusal out, each with the policy that decided.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use super::evidence::{self, Cause, Evidence};
use super::matching::Facts;
use crate::{
    Moment, Reason, Str,
    model::{Action, Identity, Policy, Rules, Workload},
    world::{Strictness, World},
};

/// What policies know about a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Who proved to be there; `None` for a plaintext connection.
    pub identity: Option<Identity>,
    /// The application's address.
    pub target: SocketAddr,
}

/// Leave to connect to an application. Only [`authorize`] and [`Permit::renew`] give one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    connection: Connection,
    policy: Option<Str>,
    dry_run: Vec<DryRun>,
    unknown: Vec<Str>,
    recheck_at: Option<Moment>,
}

/// A connection that policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Deny {
    /// The policy that decided; `None` when no policy allows.
    pub policy: Option<Str>,
    /// How it came to the refusal.
    pub why: DenyCause,
    /// Which rule denies, or which came closest to allowing, and by which attribute. Not for the peer.
    pub evidence: Option<Box<Evidence>>,
    /// What dry-run policies would have done.
    pub dry_run: Vec<DryRun>,
}

/// How a refusal came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenyCause {
    /// A policy denies it.
    Denied,
    /// Policies allow others, and none allows this.
    NotAllowed,
    /// A policy that covers the workload cannot be read.
    Unreadable,
    /// A policy that the workload names has not arrived.
    Unknown,
}

/// What a dry-run policy would have done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DryRun {
    /// The policy.
    pub policy: Str,
    /// What becomes of the connection when the policy counts.
    pub would: Would,
    /// The rule that means the connection, or for [`Would::NotAllow`] the one that came closest.
    pub evidence: Box<Evidence>,
}

/// What becomes of a connection when a dry-run policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Would {
    /// It is denied.
    Deny,
    /// It is allowed.
    Allow,
    /// It is refused, for nothing else allows it either.
    NotAllow,
}

impl Permit {
    /// The application's address.
    #[must_use]
    pub const fn target(&self) -> SocketAddr {
        self.connection.target
    }

    /// The connection it was given for.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The policy that allows it; `None` when no policy asks for leave.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// What dry-run policies would have done.
    #[must_use]
    pub fn dry_run(&self) -> &[DryRun] {
        &self.dry_run
    }

    /// Policies that the workload names and that are not known: to be counted and told.
    #[must_use]
    pub fn unknown(&self) -> &[Str] {
        &self.unknown
    }

    /// When to renew it even if nothing changes: a policy it waits for is then taken for missing.
    #[must_use]
    pub const fn recheck_at(&self) -> Option<Moment> {
        self.recheck_at
    }

    /// Asks again for the open connection, of the workload as it is now.
    ///
    /// # Errors
    /// When policy now refuses it. A policy that the workload names since recently and that has not arrived does not: the
    /// connection keeps its permit up to [`Permit::recheck_at`].
    pub fn renew(&self, world: &World, local: &Workload, now: Moment) -> Result<Self, Deny> {
        decide(world, local, &self.connection, now, Age::Open)
    }
}

impl Deny {
    /// Why the connection ends when it is refused at the door; an open one ends with [`Reason::PolicyChanged`].
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::PolicyDenied
    }
}

impl fmt::Display for Deny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.policy.as_deref().unwrap_or("unknown");
        match self.why {
            DenyCause::Denied => write!(f, "explicitly denied by: {policy}"),
            DenyCause::NotAllowed => f.write_str("allow policies exist, but none allowed"),
            DenyCause::Unreadable => write!(f, "explicitly denied by: {policy} (which cannot be read)"),
            DenyCause::Unknown => write!(f, "explicitly denied by: {policy} (which has not arrived)"),
        }?;
        // Behind the words that ztunnel has, for which people search.
        self.evidence.as_ref().map_or(Ok(()), |evidence| write!(f, "; {evidence}"))
    }
}

/// Decides whether a new connection to `local` may be made.
///
/// # Errors
/// When a policy denies it, when policies allow others only, or when a policy that decides cannot be read or has not
/// arrived.
pub fn authorize(
    world: &World,
    local: &Workload,
    connection: &Connection,
    now: Moment,
) -> Result<Permit, Deny> {
    decide(world, local, connection, now, Age::New)
}

/// Whether a connection asks to be made or is already there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    Open,
}

fn decide(
    world: &World,
    local: &Workload,
    connection: &Connection,
    now: Moment,
    age: Age,
) -> Result<Permit, Deny> {
    let facts = Facts::of(connection);
    let policies = || applying(world, local);
    let mut dry_run = Vec::new();
    for policy in policies().filter(|policy| policy.action == Action::Deny) {
        if !facts.meant_by(policy) {
            continue;
        }
        let evidence = Box::new(evidence::of_hit(&facts, policy));
        if policy.dry_run {
            note(&mut dry_run, policy, Would::Deny, evidence);
        } else {
            let why = match policy.rules {
                Rules::Any(_) => DenyCause::Denied,
                Rules::Unreadable => DenyCause::Unreadable,
            };
            return Err(Deny { policy: Some(policy.key.clone()), why, evidence: Some(evidence), dry_run });
        }
    }
    let missing = match missing(world, local, now, age) {
        Ok(missing) => missing,
        Err(key) => {
            let evidence = Some(Box::new(Evidence::whole(key.clone(), Cause::Unknown)));
            return Err(Deny { policy: Some(key), why: DenyCause::Unknown, evidence, dry_run });
        }
    };
    let allowing = || policies().filter(|policy| policy.action == Action::Allow);
    let (mut needs_leave, mut dry_leave, mut dry_allowed, mut allowed_by) = (false, false, false, None);
    for policy in allowing() {
        needs_leave |= !policy.dry_run;
        dry_leave |= policy.dry_run;
        // Once allowed, only dry runs are still of interest.
        if (policy.dry_run || allowed_by.is_none()) && facts.meant_by(policy) {
            if policy.dry_run {
                dry_allowed = true;
                let evidence = Box::new(evidence::of_hit(&facts, policy));
                note(&mut dry_run, policy, Would::Allow, evidence);
            } else {
                allowed_by = Some(policy.key.clone());
            }
        }
    }
    let nearest = |dry_run: bool| {
        let of_kind = allowing().filter(|policy| policy.dry_run == dry_run).map(|policy| &**policy);
        evidence::nearest(&facts, world, local, of_kind).map(Box::new)
    };
    if needs_leave && allowed_by.is_none() {
        return Err(Deny { policy: None, why: DenyCause::NotAllowed, evidence: nearest(false), dry_run });
    }
    // Nobody asks for leave yet; once the dry runs count, they do, and nothing gives it.
    if dry_leave && !dry_allowed && allowed_by.is_none() {
        let refused = nearest(true).map(|evidence| DryRun {
            policy: evidence.policy.clone(),
            would: Would::NotAllow,
            evidence,
        });
        dry_run.extend(refused);
    }
    let Missing { unknown, recheck_at } = missing;
    Ok(Permit { connection: connection.clone(), policy: allowed_by, dry_run, unknown, recheck_at })
}

/// The policies of a workload: those of its namespace, those of everything, those it names.
pub(super) fn applying<'a>(world: &'a World, local: &'a Workload) -> impl Iterator<Item = &'a Arc<Policy>> {
    let named = local.authorization_policies.iter().filter_map(|key| world.policy(key));
    world.policies_covering(&local.namespace).chain(named)
}

/// A policy that covers a workload twice is told once.
fn note(dry_run: &mut Vec<DryRun>, policy: &Policy, would: Would, evidence: Box<Evidence>) {
    if !dry_run.iter().any(|told| told.policy == policy.key) {
        dry_run.push(DryRun { policy: policy.key.clone(), would, evidence });
    }
}

/// Policies that a workload names and that are not known.
#[derive(Default)]
struct Missing {
    unknown: Vec<Str>,
    recheck_at: Option<Moment>,
}

/// What follows from policies that are named and not known: the first that refuses, or what there is to tell.
///
/// The control plane sends workloads and policies apart, so a reference can run ahead of its policy; it can also name a
/// policy that will never come. So a new reference refuses new connections for a while, and leaves open ones alone.
fn missing(world: &World, local: &Workload, now: Moment, age: Age) -> Result<Missing, Str> {
    let mut missing = Missing::default();
    for key in local.authorization_policies.iter().filter(|key| world.policy(key).is_none()) {
        // A reference without a date is of a workload that is not ours: as new as can be.
        let patience = world.referenced_since(key).unwrap_or(now) + PATIENCE;
        let waiting = now < patience;
        let refused = match world.node().unknown_policy {
            Strictness::Compat => false,
            Strictness::Report => waiting && age == Age::New,
            Strictness::Enforce => !waiting || age == Age::New,
        };
        if refused {
            return Err(key.clone());
        }
        if waiting && world.node().unknown_policy != Strictness::Compat {
            missing.recheck_at = Some(missing.recheck_at.map_or(patience, |earliest| earliest.min(patience)));
        }
        missing.unknown.push(key.clone());
    }
    Ok(missing)
}

/// How long a new reference to an unknown policy refuses new connections.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
