//! Decides which reports of a pod are worth telling: what is new, and now and then that nothing changed.

use std::collections::BTreeMap;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;
use tokio::time::Instant;

use super::Report;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// `times` counts the failures of this pod since it was last enrolled.
    NotEnrolled {
        why: String,
        times: u32,
    },
    /// It is enrolled, after it was told that it could not be.
    Recovered,
    Withdrawn,
}

/// What was told of the pods that cannot be enrolled, and of those that left.
#[derive(Debug, Default)]
pub(super) struct Book(BTreeMap<PodUid, Entry>);

#[derive(Debug)]
struct Entry {
    /// `None` once the pod was withdrawn.
    why: Option<String>,
    times: u32,
    told_at: Instant,
    heard_at: Instant,
}

impl Book {
    /// Takes one report in; answers what is to be told.
    pub(super) fn take(&mut self, uid: &PodUid, report: Report, now: Instant) -> Option<Told> {
        // Failures repeat within seconds: a pod of which nothing was heard for so long is gone.
        self.0.retain(|_, entry| now.duration_since(entry.heard_at) < FORGET);
        match report {
            Report::NotEnrolled { why } => self.not_enrolled(uid, why, now),
            Report::Enrolled => {
                let failed = self.0.remove(uid).is_some_and(|entry| entry.why.is_some());
                failed.then_some(Told::Recovered)
            }
            Report::Withdrawn => {
                let soon = |entry: &Entry| entry.why.is_none() && now.duration_since(entry.told_at) < PAUSE;
                if self.0.get(uid).is_some_and(soon) {
                    return None;
                }
                self.0.insert(uid.clone(), Entry { why: None, times: 0, told_at: now, heard_at: now });
                Some(Told::Withdrawn)
            }
        }
    }

    fn not_enrolled(&mut self, uid: &PodUid, why: String, now: Instant) -> Option<Told> {
        let Some(entry) = self.0.get_mut(uid) else {
            let entry = Entry { why: Some(why.clone()), times: 1, told_at: now, heard_at: now };
            self.0.insert(uid.clone(), entry);
            return Some(Told::NotEnrolled { why, times: 1 });
        };
        entry.heard_at = now;
        entry.times = entry.times.saturating_add(1);
        let pause = if entry.why.as_ref() == Some(&why) { REPEAT } else { PAUSE };
        if now.duration_since(entry.told_at) < pause {
            return None;
        }
        entry.told_at = now;
        entry.why = Some(why.clone());
        Some(Told::NotEnrolled { why, times: entry.times })
    }
}

/// Between two reports of one pod whose reason changes all the time.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two reports of one pod for the same reason.
const REPEAT: Duration = Duration::from_secs(300);
const FORGET: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
