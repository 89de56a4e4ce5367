//! Decides what of an installation goes, in which order, what comes back, and what has become somebody else's.

use serde_json::Value;

use super::is_agents;
use crate::object::Id;
use crate::plan::Owner;
use crate::release::{Record, Replaced};

/// What becomes of an installation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Farewell {
    /// DaemonSets of agents, which take pods out of the mesh.
    pub agents: Vec<Id>,
    /// DaemonSets of proxies, which serve until then.
    pub proxies: Vec<Id>,
    /// Everything else of ours: last, since agents need their rights to the end.
    pub rest: Vec<Id>,
    /// What is put back.
    pub restore: Vec<Replaced>,
    /// What somebody else has taken since.
    pub left: Vec<(Id, Owner)>,
}

/// Decides. `live` are the recorded objects that are there.
#[must_use]
pub fn farewell(record: &Record, live: &[(Id, Value)], restore: bool) -> Farewell {
    let mut farewell = Farewell::default();
    if restore {
        farewell.restore.clone_from(&record.replaced);
        // Configuration before what reads it.
        farewell.restore.sort_by_key(|replaced| replaced.id.kind == "DaemonSet");
    }
    for (id, object) in live {
        let owner = Owner::of(object);
        if farewell.restore.iter().any(|replaced| replaced.id.is(id)) {
            continue;
        }
        if owner != Owner::Ours {
            farewell.left.push((id.clone(), owner));
        } else if id.kind != "DaemonSet" {
            farewell.rest.push(id.clone());
        } else if is_agents(id) {
            farewell.agents.push(id.clone());
        } else {
            farewell.proxies.push(id.clone());
        }
    }
    // What pods run as goes last of all.
    farewell.rest.reverse();
    farewell
}

#[cfg(test)]
mod tests;
