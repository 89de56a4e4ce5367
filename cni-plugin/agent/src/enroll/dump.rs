//! What the machine knows of every pod, for whoever looks into it.

use cni_plugin_wire::zds::PodUid;
use serde::Serialize;

use super::entry::{Entry, Goal, Outbound, Rules, Step};
use super::{Enrollment, Moment};
use crate::eligible::Verdict;
use crate::model::Redirection;
use crate::netns::NetnsId;

/// One pod, as the machine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PodState {
    pub uid: String,
    /// `namespace/name`.
    pub name: String,
    /// What is to become of it: `in`, `out` of the mesh, `dead`, or `unsure` before the source is read.
    pub goal: &'static str,
    /// Why it is selected or not.
    pub verdict: &'static str,
    /// Everything that enrollment promises is done.
    pub enrolled: bool,
    /// Its network namespace, as `device:inode`.
    pub netns: Option<String>,
    pub container: Option<String>,
    /// `absent`, `claimed` by an earlier agent, `unknown`, `released` but for replies, or the namespace that holds them.
    pub rules: String,
    /// The namespace for which a proxy acknowledged that it serves it.
    pub announced: Option<String>,
    /// The namespace from which a canary connection came to the proxy.
    pub proved: Option<String>,
    /// New connections of the pod that would go past the proxy are refused.
    pub refused: bool,
    /// What its record says to the next agent: `in`, or `leaving`.
    pub saved: Option<&'static str>,
    /// What the control plane reads.
    pub recorded: Option<&'static str>,
    /// The step under way.
    pub step: Option<&'static str>,
    pub failures: u32,
    pub last_failure: Option<String>,
    /// Until it is measured again.
    pub measured_in_ms: Option<u64>,
    /// Since its rules were last seen to be as they should be.
    pub measured_ms_ago: Option<u64>,
}

/// How many of the pods that are wanted stand where; each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub enrolled: usize,
    /// Something is still to be done.
    pub pending: usize,
    /// Everything is done, and no canary has come to the proxy yet.
    pub unproved: usize,
    /// Their network namespace is not known.
    pub without_netns: usize,
}

impl Enrollment {
    /// How many pods stand where.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for entry in self.pods.values().filter(|entry| self.goal(entry) == Goal::In) {
            let Some(netns) = &entry.sandbox.netns else {
                census.without_netns += 1;
                continue;
            };
            let (id, served) = (netns.id(), entry.announced == Some(netns.id()));
            match entry.enrolled() {
                true => census.enrolled += 1,
                false
                    if served
                        && entry.rules == Rules::In(id)
                        && entry.proving
                        && entry.proved != Some(id) =>
                {
                    census.unproved += 1;
                }
                false => census.pending += 1,
            }
        }
        census
    }

    /// Every pod of the node that is known, in order of their UIDs.
    #[must_use]
    pub fn dump(&self, now: Moment) -> Vec<PodState> {
        self.pods.iter().map(|(uid, entry)| self.state(uid, entry, now)).collect()
    }

    /// Of the pods that are to be in the mesh: how many have no known network namespace, and how many the control plane takes
    /// for enrolled although that is not proved now.
    #[must_use]
    pub fn doubtful(&self) -> (usize, usize) {
        let wanted = || self.pods.values().filter(|entry| self.goal(entry) == Goal::In);
        let said = |entry: &&Entry| entry.recorded == Some(Redirection::Enabled) && !entry.enrolled();
        (wanted().filter(|entry| entry.sandbox.netns.is_none()).count(), wanted().filter(said).count())
    }

    /// The pods that are still in the mesh, or partly, although all are to leave it, and those of which only the status
    /// says so; `None` before the source is read.
    #[must_use]
    pub fn left(&self) -> Option<Vec<String>> {
        let stays = |entry: &&Entry| !entry.withdrawn();
        let name = |entry: &Entry| {
            let status = if entry.rules == Rules::Absent && !entry.booked { " (its status)" } else { "" };
            format!("{}{status}", entry.pod.full_name())
        };
        self.is_synced().then(|| self.pods.values().filter(stays).map(name).collect())
    }

    fn state(&self, uid: &PodUid, entry: &Entry, now: Moment) -> PodState {
        let until = |at: Moment| u64::try_from(at.0.saturating_sub(now.0).as_millis()).unwrap_or(u64::MAX);
        let since = |at: Moment| u64::try_from(now.0.saturating_sub(at.0).as_millis()).unwrap_or(u64::MAX);
        PodState {
            uid: uid.0.clone(),
            name: entry.pod.full_name(),
            goal: match self.goal(entry) {
                Goal::In => "in",
                Goal::Out => "out",
                Goal::Dead => "dead",
                Goal::Unsure => "unsure",
            },
            verdict: verdict(self.verdict(&entry.pod)),
            enrolled: entry.enrolled(),
            netns: entry.sandbox.netns.as_ref().map(|netns| written(netns.id())),
            container: entry.sandbox.container.clone(),
            rules: match entry.rules {
                Rules::Absent => "absent".to_owned(),
                Rules::Claimed => "claimed".to_owned(),
                Rules::Unknown => "unknown".to_owned(),
                Rules::Released(_) => "released".to_owned(),
                Rules::In(id) => written(id),
            },
            announced: entry.announced.map(written),
            proved: entry.proved.map(written),
            refused: matches!(entry.outbound, Outbound::Refused(_)),
            saved: entry.saved.map(|(_, stage)| stage.word()),
            recorded: entry.recorded.map(Redirection::value),
            step: entry.busy.map(Step::name),
            failures: entry.failures,
            last_failure: Some(entry.last_failure.clone()).filter(|why| !why.is_empty()),
            measured_in_ms: entry.measure_at.map(until),
            measured_ms_ago: entry.measured.map(since),
        }
    }
}

fn written(id: NetnsId) -> String {
    format!("{}:{}", id.dev, id.inode)
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Selected => "selected",
        Verdict::NotSelected(why) => why.words(),
    }
}
