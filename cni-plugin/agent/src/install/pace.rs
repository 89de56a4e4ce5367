//! Decides when to write again, and when it is a war: somebody undoes what we write, again and again.

use std::collections::VecDeque;
use std::time::Duration;

/// Times are those since the installer began.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    last: Option<Duration>,
    undone: VecDeque<Duration>,
    told: Option<Duration>,
}

impl Pace {
    /// How long to wait before the next write; zero is now.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + GAP).saturating_sub(now))
    }

    pub(super) fn wrote(&mut self, now: Duration) {
        self.last = Some(now);
    }

    /// What was written has been undone. Answers how often that was so lately when somebody should be told.
    pub(super) fn undone(&mut self, now: Duration) -> Option<usize> {
        self.undone.push_back(now);
        while self.undone.front().is_some_and(|first| now.saturating_sub(*first) > LATELY) {
            self.undone.pop_front();
        }
        let is_told = self.told.is_some_and(|told| now.saturating_sub(told) < LATELY);
        if self.undone.len() < WAR || is_told {
            return None;
        }
        self.told = Some(now);
        Some(self.undone.len())
    }
}

/// Less than one write a second, whatever others do.
const GAP: Duration = Duration::from_millis(1200);
const LATELY: Duration = Duration::from_secs(60);
/// So many times is no chance any more.
const WAR: usize = 3;

#[cfg(test)]
mod tests;
