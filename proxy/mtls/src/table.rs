//! The store's book: one entry per identity, what it holds, and what is to be done next. No I/O and no clock.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::model::Identity;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use crate::credentials::Credentials;
use crate::dump::{Census, CertDump, CertInfo};
use crate::error::{Chain, FetchError, IdentityError};
use crate::schedule::{Backoff, Due, Jitter, Now, Priority, Turn, Validity, retry};

/// What an identity has.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Initializing,
    Available(Arc<Credentials>),
    Unavailable(Arc<FetchError>),
}

/// The answer to a connection that needs a certificate.
#[derive(Debug)]
pub(crate) enum Asked {
    Settled(State),
    /// Closes without a value when the entry goes away.
    Wait(watch::Receiver<State>),
}

#[derive(Debug)]
pub(crate) struct Table {
    entries: HashMap<Identity, Entry>,
    limit: usize,
    attempts: u64,
    failures: u64,
    stopped: bool,
}

#[derive(Debug)]
struct Entry {
    state: watch::Sender<State>,
    priority: Priority,
    due: Due,
    attempt: Option<Attempt>,
    backoff: Backoff,
    /// The certificate had ended when it came: by our clock no better one is to be had.
    came_ended: bool,
    /// A workload of this identity is on the node.
    wanted: bool,
    /// Uptime of the last connection that asked.
    used: Duration,
}

#[derive(Debug)]
struct Attempt {
    number: u64,
    task: AbortHandle,
}

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit, attempts: 0, failures: 0, stopped: false }
    }

    /// A connection needs the certificate of `identity` now.
    pub(crate) fn ask(&mut self, identity: &Identity, now: Now) -> Result<Asked, IdentityError> {
        let entry = self.enter(identity, Priority::RealTime, now)?;
        entry.used = now.uptime;
        entry.retire_ended(identity, now);
        let state = entry.state.borrow().clone();
        Ok(match state {
            State::Initializing => Asked::Wait(entry.state.subscribe()),
            State::Available(_) | State::Unavailable(_) => Asked::Settled(state),
        })
    }

    /// A workload of `identity` is on the node, until [`Self::forget`].
    pub(crate) fn want(&mut self, identity: &Identity, now: Now) -> Result<(), IdentityError> {
        self.enter(identity, Priority::Warmup, now)?.wanted = true;
        Ok(())
    }

    /// Drops the entry; who waits for it and what is under way for it end with it.
    pub(crate) fn forget(&mut self, identity: &Identity) {
        if let Some(Attempt { task, .. }) = self.entries.remove(identity).and_then(|entry| entry.attempt) {
            task.abort();
        }
    }

    /// Takes no more questions, and wakes who waits for an answer.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.entries.clear();
    }

    /// At most `slots` identities to fetch now, the most urgent first.
    pub(crate) fn due(&mut self, now: Now, slots: usize) -> Vec<Identity> {
        self.entries.retain(|identity, entry| {
            let keep = !entry.abandoned(now);
            if !keep {
                debug!(%identity, "dropping the certificate of an identity that nobody uses");
            }
            keep
        });
        let mut ready: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.attempt.is_none())
            .filter_map(|(identity, entry)| Some((Turn::new(entry.priority, entry.due.late(now)?), identity)))
            .collect();
        ready.sort_by_key(|(turn, _)| *turn);
        ready.into_iter().take(slots).map(|(_, identity)| identity.clone()).collect()
    }

    /// How long until something falls due, `None` with nothing to wait for.
    pub(crate) fn wait(&self, now: Now) -> Option<Duration> {
        self.entries.values().filter(|entry| entry.attempt.is_none()).map(|entry| entry.due.wait(now)).min()
    }

    /// Notes that `task` fetches for `identity`; answers the number of the attempt.
    pub(crate) fn begin(&mut self, identity: &Identity, task: AbortHandle) -> u64 {
        self.attempts += 1;
        let number = self.attempts;
        if let Some(entry) = self.entries.get_mut(identity) {
            entry.attempt = Some(Attempt { number, task });
        }
        number
    }

    /// Files the result of an attempt, unless its entry was forgotten meanwhile.
    pub(crate) fn finish(
        &mut self,
        identity: &Identity,
        number: u64,
        result: Result<Credentials, FetchError>,
        now: Now,
        jitter: Jitter,
    ) {
        let entry = self
            .entries
            .get_mut(identity)
            .filter(|entry| entry.attempt.as_ref().is_some_and(|attempt| attempt.number == number));
        let Some(entry) = entry else {
            debug!(%identity, "discarding the certificate of a forgotten identity");
            return;
        };
        entry.attempt = None;
        match result {
            Ok(credentials) => entry.succeed(credentials, now, jitter),
            Err(error) => {
                self.failures += 1;
                entry.fail(identity, error, now, jitter);
            }
        }
    }

    pub(crate) fn dump(&self) -> Vec<(Identity, State)> {
        self.entries
            .iter()
            .map(|(identity, entry)| (identity.clone(), entry.state.borrow().clone()))
            .collect()
    }

    /// How the certificates are, for an operator's alarms.
    pub(crate) fn census(&self, wall: Duration) -> Census {
        let mut census = Census { failures: self.failures, ..Census::default() };
        for entry in self.entries.values() {
            let Some(validity) = entry.validity() else {
                match *entry.state.borrow() {
                    State::Unavailable(_) => census.unavailable += 1,
                    State::Initializing | State::Available(_) => census.initializing += 1,
                }
                continue;
            };
            let count = if validity.ended(wall) {
                &mut census.expired
            } else if validity.overdue(wall) {
                &mut census.overdue
            } else {
                &mut census.available
            };
            *count += 1;
            let first = census.first_end.get_or_insert(validity.not_after);
            *first = validity.not_after.min(*first);
        }
        census
    }

    pub(crate) const fn stopped(&self) -> bool {
        self.stopped
    }

    /// The entry of `identity`, made or hurried as `priority` asks.
    fn enter(
        &mut self,
        identity: &Identity,
        priority: Priority,
        now: Now,
    ) -> Result<&mut Entry, IdentityError> {
        if self.stopped {
            return Err(IdentityError::Stopped { identity: identity.clone() });
        }
        let full = self.entries.len() >= self.limit;
        let entry = match self.entries.entry(identity.clone()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(_) if full => {
                return Err(IdentityError::Full { identity: identity.clone(), limit: self.limit });
            }
            Slot::Vacant(slot) => slot.insert(Entry::new(priority, now)),
        };
        if matches!(*entry.state.borrow(), State::Initializing) {
            entry.priority = entry.priority.max(priority);
        }
        Ok(entry)
    }
}

impl Entry {
    fn new(priority: Priority, now: Now) -> Self {
        Self {
            state: watch::Sender::new(State::Initializing),
            priority,
            due: Due::Uptime(now.uptime),
            attempt: None,
            backoff: Backoff::default(),
            came_ended: false,
            wanted: false,
            used: now.uptime,
        }
    }

    fn succeed(&mut self, credentials: Credentials, now: Now, jitter: Jitter) {
        let renewal = credentials.validity().renewal(now);
        self.came_ended = credentials.validity().ended(now.wall);
        let identity = credentials.identity();
        self.priority = Priority::Background;
        // A certificate that wants renewal on arrival is served, but asking again without a pause would only hammer the
        // authority: either clock may be wrong for a long time.
        self.due = if renewal.late(now).is_some() {
            let delay = self.backoff.failed(now, jitter);
            warn!(%identity, ?delay, "the certificate is due for renewal on arrival; are the clocks right?");
            Due::Uptime(now.uptime + delay)
        } else {
            info!(%identity, renewal = ?renewal.wait(now), "certificate available");
            self.backoff.succeeded();
            renewal
        };
        self.state.send_replace(State::Available(Arc::new(credentials)));
    }

    fn fail(&mut self, identity: &Identity, error: FetchError, now: Now, jitter: Jitter) {
        let serving = self.validity().filter(|validity| !validity.ended(now.wall));
        self.due = retry(self.backoff.failed(now, jitter), serving, now);
        let delay = self.due.wait(now);
        warn!(%identity, ?delay, serving = serving.is_some(), error = %Chain(&error), "no new certificate");
        if serving.is_some() {
            self.priority = Priority::Background;
        } else {
            self.priority = Priority::Warmup;
            self.state.send_replace(State::Unavailable(Arc::new(error)));
        }
    }

    /// A certificate that has ended is not offered, however that came unnoticed: the machine slept, or its clock was set.
    /// Who asks waits for one attempt at the next. What comes ended is another matter: it is our clock that is wrong, and
    /// peers may think so too.
    fn retire_ended(&mut self, identity: &Identity, now: Now) {
        if self.came_ended || !self.validity().is_some_and(|validity| validity.ended(now.wall)) {
            return;
        }
        warn!(%identity, "the certificate has ended, and is asked for anew");
        self.state.send_replace(State::Initializing);
        self.priority = Priority::RealTime;
        self.due = Due::Uptime(now.uptime);
    }

    /// Of the certificate that serves.
    fn validity(&self) -> Option<Validity> {
        match &*self.state.borrow() {
            State::Available(credentials) => Some(credentials.validity()),
            State::Initializing | State::Unavailable(_) => None,
        }
    }

    /// Due, but no workload is known for it and no connection has asked for long: connections that outlive their
    /// workload must not leave certificates behind that are renewed forever.
    fn abandoned(&self, now: Now) -> bool {
        !self.wanted
            && self.attempt.is_none()
            && self.due.late(now).is_some()
            && now.uptime.saturating_sub(self.used) >= IDLE
    }
}

/// The view of one entry for people.
pub(crate) fn describe(identity: Identity, state: &State) -> CertDump {
    let (state, chain, roots) = match state {
        State::Initializing => ("Initializing".to_owned(), Vec::new(), Vec::new()),
        State::Available(credentials) => (
            "Available".to_owned(),
            credentials.chain().iter().map(CertInfo::from).collect(),
            credentials.roots().certificates().into_iter().map(CertInfo::from).collect(),
        ),
        State::Unavailable(error) => {
            (format!("Unavailable: {}", Chain(error.as_ref())), Vec::new(), Vec::new())
        }
    };
    CertDump { identity, state, chain, roots }
}

/// How long an identity without a workload is kept after its last connection.
const IDLE: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
