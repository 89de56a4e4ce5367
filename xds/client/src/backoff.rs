//! Decides how long to wait before the next attempt to reach the control plane.

use std::time::Duration;

/// How eagerly an ended attempt should be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The ending was routine, as when istiod closes streams by age: almost at once.
    Soon,
    /// Something is wrong: wait longer each time.
    Later,
}

/// A random draw, given as an input: the whole range of `u32`, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(pub u32);

/// The wait before the next attempt: 10 ms after a routine ending, doubling to 15 s after failures.
///
/// ztunnel waits exactly these times; we wait between half and the whole of them, so that the nodes of a cluster do not
/// all return in the same moment after istiod restarts.
#[derive(Debug, Clone)]
pub struct Backoff {
    wait: Duration,
}

impl Backoff {
    /// Starts as if the last ending had been routine.
    #[must_use]
    pub const fn new() -> Self {
        Self { wait: FIRST }
    }

    /// How long to wait after an attempt that ended in this way.
    pub fn after(&mut self, retry: Retry, jitter: Jitter) -> Duration {
        self.wait = match retry {
            Retry::Soon => FIRST,
            Retry::Later => self.wait.saturating_mul(2).min(LONGEST),
        };
        let half = self.wait / 2;
        half + half.saturating_mul(jitter.0) / u32::MAX
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
