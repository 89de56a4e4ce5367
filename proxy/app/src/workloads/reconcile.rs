//! Which pods should have a proxy: the agent's snapshot and changes on one side, what runs on the other (pure).

use std::collections::{HashMap, HashSet};

use cni_plugin_wire::zds::PodUid;

use crate::net::netns::NetnsId;

#[cfg(test)]
mod tests;

/// What runs, what could not start, and what the current connection has told so far.
#[derive(Debug, Default)]
pub(super) struct Pods {
    running: HashMap<PodUid, NetnsId>,
    pending: HashSet<PodUid>,
    phase: Phase,
}

/// How far the current connection is.
#[derive(Debug, Default)]
enum Phase {
    /// No connection has begun.
    #[default]
    Disconnected,
    /// The pods named so far.
    Snapshot(HashSet<PodUid>),
    /// The snapshot is complete: changes follow.
    Changes,
}

/// What an announced pod needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// It has its proxy.
    Runs,
    /// Start a proxy.
    Start,
    /// It was given a new namespace under the same UID: stop the old proxy, then start one.
    Replace,
}

/// A message that may not come at this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutOfOrder {
    #[error("KeepWorkload after SnapshotSent: only a snapshot may keep a pod")]
    KeepAfterSnapshot,
    #[error("SnapshotSent twice on one connection")]
    SecondSnapshot,
    #[error("a message before the connection began")]
    NotConnected,
}

impl Pods {
    /// A connection began: it will tell everything anew, while proxies keep running.
    pub(super) fn connected(&mut self) {
        self.phase = Phase::Snapshot(HashSet::new());
    }

    pub(super) fn disconnected(&mut self) {
        self.phase = Phase::Disconnected;
    }

    /// The agent spoke of the pod as one that lives, whatever else it said: its proxy outlives the snapshot.
    pub(super) fn named(&mut self, uid: &PodUid) {
        if let Phase::Snapshot(named) = &mut self.phase {
            named.insert(uid.clone());
        }
    }

    pub(super) fn announced(&mut self, uid: &PodUid, netns: NetnsId) -> Announced {
        self.named(uid);
        match self.running.get(uid) {
            Some(running) if *running == netns => {
                self.pending.remove(uid);
                Announced::Runs
            }
            Some(_) => Announced::Replace,
            None => Announced::Start,
        }
    }

    pub(super) fn started(&mut self, uid: PodUid, netns: NetnsId) {
        self.pending.remove(&uid);
        self.running.insert(uid, netns);
    }

    pub(super) fn failed(&mut self, uid: PodUid) {
        self.running.remove(&uid);
        self.pending.insert(uid);
    }

    pub(super) fn kept(&mut self, uid: PodUid) -> Result<(), OutOfOrder> {
        match &mut self.phase {
            Phase::Snapshot(named) => {
                named.insert(uid);
                Ok(())
            }
            Phase::Changes => Err(OutOfOrder::KeepAfterSnapshot),
            Phase::Disconnected => Err(OutOfOrder::NotConnected),
        }
    }

    /// Whether the pod's proxy has to stop now; within a snapshot that waits for its end.
    pub(super) fn deleted(&mut self, uid: &PodUid) -> bool {
        self.pending.remove(uid);
        if let Phase::Snapshot(named) = &mut self.phase {
            named.remove(uid);
            return false;
        }
        self.running.remove(uid).is_some()
    }

    /// The pods to stop: they run and nobody named them.
    pub(super) fn snapshot_sent(&mut self) -> Result<Vec<PodUid>, OutOfOrder> {
        match std::mem::replace(&mut self.phase, Phase::Changes) {
            Phase::Snapshot(named) => {
                self.pending.retain(|uid| named.contains(uid));
                let unnamed: Vec<_> =
                    self.running.keys().filter(|uid| !named.contains(uid)).cloned().collect();
                for uid in &unnamed {
                    self.running.remove(uid);
                }
                Ok(unnamed)
            }
            Phase::Changes => Err(OutOfOrder::SecondSnapshot),
            Phase::Disconnected => {
                self.phase = Phase::Disconnected;
                Err(OutOfOrder::NotConnected)
            }
        }
    }

    /// Whether this connection's snapshot is complete. One pod that cannot start does not count against the node.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Changes)
    }

    pub(super) fn is_pending(&self, uid: &PodUid) -> bool {
        self.pending.contains(uid)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.pending.len())
    }
}
