//! What would turn a verdict round: found by asking [`authorize`] again of a world that is changed in that one respect.

use super::super::{
    Connection, Deny, Permit,
    authorize::{DenyCause, applying, authorize},
    matching::Facts,
};
use crate::{
    Moment, Str,
    model::{
        Action, Attribute, Clause, Identity, Match, Policy, Protocol, Rule, Rules, Scope, StringMatch,
        Workload,
    },
    world::{self, World},
};

/// Changes each of which turns a verdict round, if there is any that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opposite {
    /// Any one of these is enough.
    pub any_of: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These policies go.
    Without(Vec<Str>),
    /// The source comes through the mesh, with its own identity.
    Enrolled(Identity),
    /// A policy that names exactly this client and this port: allowing where it is refused, denying where it is allowed.
    /// Policies that refuse it have to go besides.
    Naming {
        /// The new policy.
        policy: Box<Policy>,
        /// What has to go as well.
        without: Vec<Str>,
    },
}

/// One verdict under changed circumstances.
struct Trial<'a> {
    world: World,
    local: Workload,
    connection: &'a Connection,
    now: Moment,
}

impl<'a> Trial<'a> {
    fn of(world: &World, local: &Workload, connection: &'a Connection, now: Moment) -> Self {
        Self { world: world.clone(), local: local.clone(), connection, now }
    }

    fn ask(&self) -> Result<Permit, Deny> {
        authorize(&self.world, &self.local, self.connection, self.now)
    }

    fn take_away(&mut self, key: &Str) {
        self.world.apply(vec![world::Change::RemovePolicy(key.clone())], self.now);
        // A reference to what is gone would refuse for a while in its stead.
        self.local.authorization_policies.retain(|named| named != key);
    }

    fn add(&mut self, policy: &Policy) {
        self.world.apply(vec![world::Change::Policy(Box::new(policy.clone()))], self.now);
    }
}

pub(super) fn of(
    world: &World,
    local: &Workload,
    connection: &Connection,
    verdict: &Result<Permit, Deny>,
    now: Moment,
) -> Opposite {
    let any_of = match verdict {
        Ok(_) => to_refuse(Trial::of(world, local, connection, now)),
        Err(_) => {
            let mut found = Vec::new();
            let source = world.workload_at(&world.node().network, connection.source.ip());
            // Who is in the mesh by now needs no enrolling.
            if let Some(source) = source
                && connection.identity.is_none()
                && source.protocol == Protocol::Tcp
            {
                let identity = source.identity();
                let enrolled = Connection { identity: Some(identity.clone()), ..connection.clone() };
                if Trial::of(world, local, &enrolled, now).ask().is_ok() {
                    found.push(Change::Enrolled(identity));
                }
            }
            found.extend(to_allow(Trial::of(world, local, connection, now)));
            found
        }
    };
    Opposite { any_of }
}

/// Takes away what refuses, one after the other, until the rest allows; then lets a new policy allow, if it has to.
fn to_allow(mut trial: Trial<'_>) -> Option<Change> {
    let mut without = Vec::new();
    while without.len() < MOST {
        match trial.ask() {
            Ok(_) => return Some(Change::Without(without)),
            Err(Deny {
                policy: Some(key),
                why: DenyCause::Denied | DenyCause::Unreadable | DenyCause::Unknown,
                ..
            }) => {
                trial.take_away(&key);
                without.push(key);
            }
            Err(_) => {
                let policy = naming(&trial, Action::Allow);
                trial.add(&policy);
                return trial.ask().is_ok().then(|| Change::Naming { policy: Box::new(policy), without });
            }
        }
    }
    None
}

/// Takes away what allows, if others are then left that do not; or denies.
fn to_refuse(mut trial: Trial<'_>) -> Vec<Change> {
    let mut found = Vec::new();
    let policy = naming(&trial, Action::Deny);
    let mut denied = Trial::of(&trial.world, &trial.local, trial.connection, trial.now);
    denied.add(&policy);
    if denied.ask().is_err() {
        found.push(Change::Naming { policy: Box::new(policy), without: Vec::new() });
    }
    let facts = Facts::of(trial.connection);
    let allowing: Vec<Str> = applying(&trial.world, &trial.local)
        .filter(|policy| policy.action == Action::Allow && !policy.dry_run && facts.meant_by(policy))
        .map(|policy| policy.key.clone())
        .take(MOST)
        .collect();
    for key in &allowing {
        trial.take_away(key);
    }
    if !allowing.is_empty() && trial.ask().is_err() {
        found.insert(0, Change::Without(allowing));
    }
    found
}

/// A policy of the workload's namespace that means this client and this port, and nobody else.
fn naming(trial: &Trial<'_>, action: Action) -> Policy {
    let target = super::super::canonical(trial.connection.target);
    let mut wanted = Match { destination_ports: one(target.port()), ..Match::default() };
    match &trial.connection.identity {
        Some(identity) => wanted.principals = one(StringMatch::Exact(identity.principal().into())),
        None => wanted.source_ips = one(trial.connection.source.ip().to_canonical().into()),
    }
    let namespace = trial.local.namespace.clone();
    let name = match action {
        Action::Allow => "allow-this-client",
        Action::Deny => "deny-this-client",
    };
    Policy {
        key: format!("{namespace}/{name}").into(),
        name: name.into(),
        namespace,
        scope: Scope::Namespace,
        action,
        dry_run: false,
        rules: Rules::Any(vec![Rule { clauses: vec![Clause { matches: vec![wanted] }] }]),
    }
}

fn one<T>(value: T) -> Attribute<T> {
    Attribute { is: vec![value], is_not: Vec::new() }
}

/// The most policies that are taken away before it is given up.
const MOST: usize = 16;
