//! What an earlier agent left on record: its pods go on being served and proved before the source has been read.

use std::collections::BTreeSet;

use cni_plugin_wire::zds::PodUid;

use super::entry::{Entry, Stage};
use super::{Command, Enrollment, Gate, Moment, Restored, SEARCH_TIME, Touched, steps};
use crate::config::Canary;
use crate::metrics::Proof;
use crate::model::Redirection;

impl Enrollment {
    /// Takes pods in as their records have them. Until the source is read, what the records say counts.
    ///
    /// Proxies let go of what a snapshot leaves out, so one that is made of records is given only where every pod that
    /// a proxy may serve is `complete`ly on record.
    pub(super) fn restore(
        &mut self,
        pods: Vec<Restored>,
        complete: bool,
        now: Moment,
        out: &mut Vec<Command>,
    ) -> Touched {
        if self.synced {
            return Touched::none();
        }
        let mut touched = Vec::new();
        let mut left = BTreeSet::new();
        for restored in pods {
            let uid = PodUid(restored.pod.metadata.uid.clone());
            if self.pods.contains_key(&uid) {
                continue;
            }
            let entry = self.restored(uid.clone(), restored, out);
            if entry.restored == Some(Stage::In) {
                left.insert(uid.clone());
            }
            out.push(Command::Keep { uid: uid.clone() });
            self.pods.insert(uid.clone(), entry);
            touched.push(uid);
        }
        if complete {
            self.gate = Gate::Searching { left, deadline: now.after(SEARCH_TIME) };
        }
        Touched::Pods(touched)
    }

    fn restored(&self, uid: PodUid, restored: Restored, out: &mut Vec<Command>) -> Entry {
        let Restored { pod, container, netns, stage } = restored;
        let recorded = match stage {
            Stage::In => Redirection::Enabled,
            Stage::Leaving => Redirection::Pending,
        };
        let mut entry = Entry::new(uid, pod, Some(recorded), self.proving());
        entry.restored = Some(stage);
        entry.booked = true;
        entry.sandbox.ips = entry.pod.ips();
        // A record without its namespace is written anew once that is found.
        let unknown = crate::netns::NetnsId { dev: 0, inode: 0 };
        entry.saved = Some((netns.as_ref().map_or(unknown, |netns| netns.id()), stage));
        if netns.is_none() && stage == Stage::In {
            steps::gap(&entry, Proof::Netns, "the namespace on record is not there any more", out);
        }
        entry.sandbox.container = container.filter(|_| netns.is_some());
        entry.sandbox.netns = netns;
        entry
    }

    /// From now on it is the source that counts.
    pub(super) fn settle_restored(&mut self) {
        for entry in self.pods.values_mut().filter(|entry| entry.restored.is_some()) {
            entry.restored = None;
            entry.present = entry.seen;
        }
    }

    /// A canary is to come through before a pod counts as enrolled.
    pub(super) fn proving(&self) -> bool {
        self.timing.canary != Canary::Off
    }

    /// Whether the pod is known from its record, in which it is enrolled.
    pub(super) fn is_restored(&self, uid: &PodUid) -> bool {
        self.pods.get(uid).is_some_and(|entry| entry.restored == Some(Stage::In))
    }

    /// Says when every pod that a proxy may serve has a record, and when one has none.
    pub(super) fn tell_complete(&mut self, out: &mut Vec<Command>) {
        if !self.synced {
            return;
        }
        let missing = |entry: &Entry| entry.inherited && entry.booked && entry.saved.is_none();
        let complete = !self.pods.values().any(missing);
        if self.complete.replace(complete) != Some(complete) {
            out.push(Command::RecordsComplete(complete));
        }
    }
}
