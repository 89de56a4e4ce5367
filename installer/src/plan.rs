//! Decides what an installation does to each object: from what is wanted, what is there, and what a dry run of it said.

use serde::Serialize;
use serde_json::Value;

use crate::cluster::Conflict;
use crate::object::Id;

mod diff;
mod namespace;
mod owner;

pub use diff::{FieldChange, changes};
pub(crate) use namespace::ENFORCE;
pub use namespace::{PodSecurity, namespace};
pub use owner::{Owner, handed_over, managers};

/// What is known of an object that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// As it is now.
    pub live: Option<Value>,
    /// What a dry run of our manifest would make of it.
    pub dry_run: DryRun,
}

/// What came of a dry run.
#[derive(Clone, Debug, PartialEq)]
pub enum DryRun {
    /// The object as it would be.
    Is(Box<Value>),
    /// Others own fields of it; and the object as it would be if those were taken.
    Conflicts(Vec<Conflict>, Box<Value>),
    /// The namespace it goes to is not there yet.
    NoNamespace,
}

/// What may be done to objects of others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// Take fields from whoever else owns them.
    pub force_conflicts: bool,
    /// Take over objects that Helm or istioctl installed.
    pub replace: bool,
}

/// What an installation does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Object by object, in order.
    pub steps: Vec<Step>,
}

/// What it does to one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which object.
    pub id: Id,
    /// What to do.
    pub verdict: Verdict,
    /// As it should be; none where it goes.
    pub object: Option<Value>,
    /// As it is now, if it is.
    pub live: Option<Value>,
}

/// What to do to an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Verdict {
    /// It is as it should be.
    Keep,
    /// It is not there.
    Create,
    /// It is there, and differs.
    Change {
        /// Where.
        changes: Vec<FieldChange>,
    },
    /// Somebody else installed it; it becomes ours.
    TakeOver {
        /// Who.
        from: Owner,
        /// Where it differs.
        changes: Vec<FieldChange>,
    },
    /// Somebody else installed it, and nobody said that it may be taken.
    Owned {
        /// Who.
        by: Owner,
    },
    /// Somebody else owns fields that would change, and nobody said that they may be taken.
    Conflict {
        /// Which, and who.
        conflicts: Vec<Conflict>,
    },
    /// It was ours and is no longer wanted.
    Remove,
}

impl Verdict {
    /// One word for people.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Create => "create",
            Self::Change { .. } => "change",
            Self::TakeOver { .. } => "take over",
            Self::Owned { .. } => "owned",
            Self::Conflict { .. } => "conflict",
            Self::Remove => "remove",
        }
    }

    /// Whether it stands in the way of the whole plan.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        matches!(self, Self::Owned { .. } | Self::Conflict { .. })
    }
}

impl Plan {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.verdict == Verdict::Keep)
    }

    /// The steps that stand in the way.
    pub fn refusals(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.verdict.refuses())
    }

    /// Adds the removal of what an earlier installation left and this one does not want: `recorded` are its objects, `live`
    /// finds those that are still there. What is no longer ours stays.
    pub fn prune(&mut self, recorded: &[(Id, Value)]) {
        for (id, live) in recorded {
            let wanted = self.steps.iter().any(|step| step.id.is(id));
            if !wanted && Owner::of(live) == Owner::Ours {
                let step =
                    Step { id: id.clone(), verdict: Verdict::Remove, object: None, live: Some(live.clone()) };
                self.steps.push(step);
            }
        }
    }
}

/// Decides for one object.
#[must_use]
pub fn step(id: Id, object: Value, seen: Seen, leave: Leave) -> Step {
    let verdict = verdict(&seen, leave);
    Step { id, verdict, object: Some(object), live: seen.live }
}

fn verdict(seen: &Seen, leave: Leave) -> Verdict {
    let Some(live) = &seen.live else {
        return Verdict::Create;
    };
    let owner = Owner::of(live);
    if matches!(owner, Owner::Helm { .. } | Owner::Istioctl) {
        return match (leave.replace, &seen.dry_run) {
            (false, _) => Verdict::Owned { by: owner },
            (true, DryRun::Is(after) | DryRun::Conflicts(_, after)) => {
                Verdict::TakeOver { from: owner, changes: changes(live, after) }
            }
            (true, DryRun::NoNamespace) => Verdict::Create,
        };
    }
    match &seen.dry_run {
        DryRun::NoNamespace => Verdict::Create,
        DryRun::Conflicts(conflicts, _) if !leave.force_conflicts => {
            Verdict::Conflict { conflicts: conflicts.clone() }
        }
        DryRun::Is(after) | DryRun::Conflicts(_, after) => match changes(live, after) {
            // An object that we do not own yet is taken into ownership, though nothing of it changes.
            changes if changes.is_empty() && owner == Owner::Ours => Verdict::Keep,
            changes => Verdict::Change { changes },
        },
    }
}

#[cfg(test)]
mod tests;
