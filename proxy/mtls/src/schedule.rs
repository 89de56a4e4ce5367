//! When to fetch which certificate: half-life renewal, paced retries, and who goes first.
//!
//! Pure: the clocks and the jitter are inputs.

use std::cmp::Reverse;
use std::time::Duration;

/// Both clocks, read at one moment. Renewals follow the wall clock, which goes on while a machine sleeps; retries follow
/// uptime, which nobody sets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since the store began.
    pub(crate) uptime: Duration,
    /// Since the Unix epoch.
    pub(crate) wall: Duration,
}

/// When something is to happen, on the clock that decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Uptime(Duration),
    Wall(Duration),
}

/// The validity period of a certificate, since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: Duration,
    pub(crate) not_after: Duration,
}

/// Who waits for a certificate; the greater goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Nobody: the present certificate serves.
    Background,
    /// A workload that will need it.
    Warmup,
    /// A connection.
    RealTime,
}

/// Orders fetches that are due: by priority, then the one that has been due for longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(Reverse<(Priority, Duration)>);

/// How many failures in a row, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failing: Option<Failing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failing {
    /// Uptime of the first failure.
    since: Duration,
    /// Before jitter.
    next: Duration,
}

/// Randomness as an input: 0 stretches a delay by -20 %, 1000 by +20 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jitter(u32);

impl Due {
    /// How long ago this was, or `None` while it is still ahead.
    pub(crate) fn late(self, now: Now) -> Option<Duration> {
        match self {
            Self::Uptime(at) => now.uptime.checked_sub(at),
            Self::Wall(at) => now.wall.checked_sub(at),
        }
    }

    /// How long until then.
    pub(crate) fn wait(self, now: Now) -> Duration {
        match self {
            Self::Uptime(at) => at.saturating_sub(now.uptime),
            Self::Wall(at) => at.saturating_sub(now.wall),
        }
    }
}

impl Validity {
    /// Whether no peer would accept it any more. One that has not begun is no reason to do anything: time will tell.
    pub(crate) fn ended(&self, wall: Duration) -> bool {
        wall >= self.not_after
    }

    /// Whether it should have been renewed for long: three quarters of its time are over.
    pub(crate) fn overdue(&self, wall: Duration) -> bool {
        wall >= self.not_after.saturating_sub(self.lifetime() / 4)
    }

    /// When to renew: at half-life, or now when the dates make no sense. Clocks that differ a little do.
    pub(crate) fn renewal(&self, now: Now) -> Due {
        let ahead = self.not_before.saturating_sub(now.wall);
        if self.ended(now.wall) || ahead > SKEW || self.lifetime().is_zero() {
            return Due::Wall(now.wall);
        }
        Due::Wall(self.not_before.saturating_add(self.lifetime() / 2))
    }

    fn lifetime(&self) -> Duration {
        self.not_after.saturating_sub(self.not_before)
    }
}

impl Turn {
    pub(crate) const fn new(priority: Priority, late: Duration) -> Self {
        Self(Reverse((priority, late)))
    }
}

impl Jitter {
    pub(crate) fn draw() -> Self {
        Self(fastrand::u32(0..=Self::MOST))
    }

    const MOST: u32 = 1000;

    /// Between 80 % and 120 % of `delay`.
    fn stretch(self, delay: Duration) -> Duration {
        delay * (800 + self.0.min(Self::MOST) * 2 / 5) / 1000
    }
}

impl Backoff {
    /// Notes a failure and answers how long to wait for the next attempt: one second and doubling, and after a quarter of
    /// an hour an even pace.
    pub(crate) fn failed(&mut self, now: Now, jitter: Jitter) -> Duration {
        let failing = self.failing.get_or_insert(Failing { since: now.uptime, next: FIRST_DELAY });
        if now.uptime.saturating_sub(failing.since) >= PATIENCE {
            return LONGEST_DELAY;
        }
        let delay = jitter.stretch(failing.next).min(LONGEST_DELAY);
        failing.next = (failing.next * 2).min(LONGEST_DELAY);
        delay
    }

    pub(crate) const fn succeeded(&mut self) {
        self.failing = None;
    }
}

/// When to try again after a failure: in `delay`, and not later than the end of the certificate that still serves.
pub(crate) fn retry(delay: Duration, serving: Option<Validity>, now: Now) -> Due {
    let left =
        serving.map(|validity| validity.not_after.saturating_sub(now.wall)).filter(|left| !left.is_zero());
    Due::Uptime(now.uptime + left.map_or(delay, |left| left.min(delay)))
}

/// How far the authority's clock may be ahead of ours without our asking again.
const SKEW: Duration = Duration::from_secs(5 * 60);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(150);
const PATIENCE: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests;
