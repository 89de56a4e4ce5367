//! One look at the node and what follows from it: nothing, a repair, or a wait.

use std::time::Duration;

use super::binaries::Binaries;
use super::decide::{Fault, Plan, Seen, Settings, Standing, Wait, decide};
use super::leave::Journal;
use super::node::{ConfDir, NodeError, Step};
use super::pace::Pace;
use super::writer::writer;
use super::{Event, State};
use crate::redirect::chain;

/// What the installer knows from one look to the next.
#[derive(Debug)]
pub(super) struct Rounds {
    dir: ConfDir,
    binaries: Binaries,
    settings: Settings,
    journal: Option<Journal>,
    /// The chain that was ours too when all was in order.
    primary: Option<String>,
    /// When that chain became unreadable.
    unusable: Option<Duration>,
    pace: Pace,
    skipped: Vec<String>,
}

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// `None`: what was last said still holds.
    pub(super) state: Option<State>,
    pub(super) events: Vec<Event>,
    /// When to look again though nothing has changed.
    pub(super) again: Duration,
}

impl Rounds {
    pub(super) fn new(dir: ConfDir, binaries: Binaries, settings: Settings) -> Self {
        Self {
            dir,
            binaries,
            settings,
            journal: None,
            primary: None,
            unusable: None,
            pace: Pace::default(),
            skipped: Vec::new(),
        }
    }

    /// Looks and repairs. Blocking.
    pub(super) fn look(&mut self, now: Duration) -> Looked {
        let mut events = Vec::new();
        let binaries = self.binaries(now, &mut events);
        if let Err(looked) = binaries {
            return *looked;
        }
        match self.configuration(now, &mut events) {
            Ok((state, again)) => Looked { state, events, again },
            Err(error) => {
                events.push(Event::ConfigFailed);
                Looked::wrong(&error, events)
            }
        }
    }

    fn binaries(&mut self, now: Duration, events: &mut Vec<Event>) -> Result<(), Box<Looked>> {
        let mut install = || -> Result<Option<Duration>, NodeError> {
            if self.journal.is_none() {
                self.binaries.sweep()?;
            }
            if self.binaries.are_in_place()? {
                return Ok(None);
            }
            let wait = self.pace.wait(now);
            if wait.is_zero() {
                let written = self.binaries.install()?;
                self.pace.wrote(now);
                tracing::info!(written, "the plugin's binary is in place");
                return Ok(None);
            }
            Ok(Some(wait))
        };
        match install() {
            Ok(None) => Ok(()),
            Ok(Some(again)) => {
                let state = Some(State::Wrong("the plugin's binary is missing or another".to_owned()));
                Err(Box::new(Looked { state, events: std::mem::take(events), again }))
            }
            Err(error) => {
                events.push(Event::BinaryFailed);
                Err(Box::new(Looked::wrong(&error, std::mem::take(events))))
            }
        }
    }

    fn configuration(
        &mut self,
        now: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(Option<State>, Duration), NodeError> {
        if self.journal.is_none() {
            self.dir.sweep()?;
            self.journal = Some(self.dir.journal()?);
        }
        let seen = self.dir.look()?;
        let plan = decide(&seen, &self.settings, self.primary.as_deref());
        self.tell_skipped(&plan);
        match &plan.standing {
            Standing::InOrder => {
                self.unusable = None;
                if plan.primary.is_some() {
                    self.primary = plan.primary;
                }
                Ok((Some(State::Ready), RELOOK))
            }
            Standing::Waiting(wait @ Wait::Unusable { .. }) => {
                let since = *self.unusable.get_or_insert(now);
                if now.saturating_sub(since) < PATIENCE {
                    return Ok((None, PATIENCE));
                }
                // Runtimes have gone to the next file by now.
                tracing::warn!("{wait}: it is passed over");
                self.primary = None;
                Ok((None, Duration::ZERO))
            }
            Standing::Waiting(wait) => Ok((Some(State::Waiting(wait.to_string())), RELOOK)),
            Standing::Wrong(fault) => self.repair(now, fault, &plan, &seen, events),
        }
    }

    fn repair(
        &mut self,
        now: Duration,
        fault: &Fault,
        plan: &Plan,
        seen: &Seen,
        events: &mut Vec<Event>,
    ) -> Result<(Option<State>, Duration), NodeError> {
        let wrong = Some(State::Wrong(fault.to_string()));
        if plan.changes.is_empty() {
            return Ok((wrong, RELOOK));
        }
        let wait = self.pace.wait(now);
        if !wait.is_zero() {
            return Ok((wrong, wait));
        }
        self.tell(now, fault, plan, seen, events);
        let journal = self.journal.clone().unwrap_or_default().with(plan, seen);
        self.pace.wrote(now);
        for step in steps(journal.clone(), plan) {
            self.dir.carry_out(&step)?;
        }
        self.journal = Some(journal);
        self.primary.clone_from(&plan.primary);
        self.unusable = None;
        events.push(Event::Written);
        tracing::info!(primary = plan.primary.as_deref(), was = %fault, "the network configuration has our plugin");
        Ok((wrong, Duration::ZERO))
    }

    /// Who takes us out is told apart from a node that has never had us.
    fn tell(&mut self, now: Duration, fault: &Fault, plan: &Plan, seen: &Seen, events: &mut Vec<Event>) {
        if self.primary.is_none() {
            return;
        }
        if matches!(fault, Fault::Preempted { .. }) {
            events.push(Event::Preempted);
            tracing::warn!("{fault}: pods that started meanwhile did so without the plugin");
        }
        events.push(Event::Undone);
        let Some(times) = self.pace.undone(now) else { return };
        if let Some(writer) = writer(&plan.standing, seen) {
            let advice = writer.advice();
            tracing::error!(
                "the plugin's configuration has been undone {times} times within a minute by {writer}: {advice}. \
                 It is repaired again and again; pods that start in between are enrolled after their start"
            );
            events.push(Event::War { writer: writer.to_string(), advice });
        }
    }

    fn tell_skipped(&mut self, plan: &Plan) {
        let skipped: Vec<_> = plan.skipped.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        if skipped != self.skipped {
            for file in &skipped {
                tracing::warn!("runtimes pass over {file}");
            }
            self.skipped = skipped;
        }
    }
}

impl Looked {
    fn wrong(error: &NodeError, events: Vec<Event>) -> Self {
        Self { state: Some(State::Wrong(chain(error))), events, again: RETRY }
    }
}

/// What a plan does to the node, in an order in which every part of it can be undone.
pub(super) fn steps(journal: Journal, plan: &Plan) -> Vec<Step> {
    let changes = plan.changes.iter().cloned().map(Step::Change);
    std::iter::once(Step::Keep(journal)).chain(changes).collect()
}

/// Notices can get lost; the state of the directory cannot.
const RELOOK: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(3);
/// How long a chain may be half written.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(super) mod tests;
