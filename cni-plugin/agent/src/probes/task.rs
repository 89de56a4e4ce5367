//! Brings the host to what was said, one pass at a time, and looks again on a timer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_redirect::host::{HandedBack, HostError, Settled, Target, Who};
use tokio::time::{Instant, sleep};

use super::{Goal, HostRules, Outcome, ProbeError, Shared};
use crate::metrics::Metrics;
use crate::redirect::chain;

/// What the task remembers from pass to pass.
#[derive(Default)]
struct Known {
    /// What an earlier agent left, until every pod was said once; not read yet while `None`.
    leftovers: Option<BTreeSet<Target>>,
    foreign_gone: bool,
    who: Option<Who>,
    failures: u32,
}

/// One pass: what to do.
struct Pass {
    generation: u64,
    goal: Goal,
    targets: BTreeSet<Target>,
    complete: bool,
    leftovers: Option<BTreeSet<Target>>,
    foreign_gone: bool,
}

/// What a pass found out.
struct Passed {
    leftovers: Option<BTreeSet<Target>>,
    settled: Option<Settled>,
    foreign_gone: bool,
    handed_back: Option<HandedBack>,
    count: usize,
}

/// Works for an [`Exemptions`](super::Exemptions).
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Arc<dyn HostRules>,
    pub(super) metrics: Metrics,
}

impl Worker {
    /// Runs until dropped.
    pub async fn run(self) {
        let Self { shared, host, metrics } = self;
        let mut known = Known::default();
        loop {
            let pass = shared.pass(&known);
            let (generation, goal) = (pass.generation, pass.goal);
            let worker = Arc::clone(&host);
            let result = match tokio::task::spawn_blocking(move || pass.carry_out(&*worker)).await {
                Ok(Ok(passed)) => {
                    metrics.probes.exempted(passed.count);
                    known.learn(passed);
                    Ok(())
                }
                Ok(Err(error)) => Err(ProbeError::Host(Arc::new(error))),
                Err(error) => Err(ProbeError::Panicked(error.to_string())),
            };
            if let Err(error) = &result {
                metrics.probes.failed();
                known.failures = known.failures.saturating_add(1);
                let error = chain(error);
                tracing::error!(
                    error,
                    "the kubelet's probes may not get past the proxies; it is tried again"
                );
            }
            shared.outcome.send_replace(Outcome { generation, goal, result });
            rest(&shared, &host, goal, known.failures).await;
        }
    }
}

impl Shared {
    fn pass(&self, known: &Known) -> Pass {
        let state = self.state.lock();
        Pass {
            generation: state.generation,
            goal: state.goal,
            targets: state.claims.targets(),
            complete: state.complete,
            leftovers: known.leftovers.clone(),
            foreign_gone: known.foreign_gone,
        }
    }
}

impl Pass {
    fn carry_out(mut self, host: &dyn HostRules) -> Result<Passed, HostError> {
        let mut passed = Passed {
            leftovers: None,
            settled: None,
            foreign_gone: self.foreign_gone,
            handed_back: None,
            count: 0,
        };
        match self.goal {
            Goal::Remove => host.remove()?,
            Goal::HandBack => passed.handed_back = Some(host.hand_back()?),
            Goal::Keep => {
                // Probes of pods that are yet to be said go on meanwhile.
                if !self.complete {
                    let leftovers = match self.leftovers.take() {
                        Some(leftovers) => leftovers,
                        None => host.targets()?,
                    };
                    self.targets.extend(leftovers.iter().copied());
                    passed.leftovers = Some(leftovers);
                }
                passed.settled = Some(host.settle(&self.targets)?);
                passed.count = self.targets.len();
                if self.complete && !self.foreign_gone {
                    if host.remove_foreign()? {
                        tracing::info!(
                            "istio-cni's probe rules on the host are gone: ours have taken their place"
                        );
                    }
                    passed.foreign_gone = true;
                }
            }
        }
        Ok(passed)
    }
}

impl Known {
    fn learn(&mut self, passed: Passed) {
        self.failures = 0;
        self.leftovers = passed.leftovers;
        self.foreign_gone = passed.foreign_gone;
        if let Some(handed_back) = passed.handed_back {
            tracing::info!(?handed_back, "probes are left to istio-cni");
        }
        let Some(Settled { who, change }) = passed.settled else { return };
        if self.who.as_ref() != Some(&who) {
            tracing::info!(kubelet = %who, "whose connections to declared probe ports pass the proxies");
        } else if change.is_some_and(|change| change.rules) {
            tracing::warn!("somebody changed the host's probe rules; they are as they should be again");
        }
        self.who = Some(who);
    }
}

/// Until something is said, the time has come, or the kubelet is another.
async fn rest(shared: &Shared, host: &Arc<dyn HostRules>, goal: Goal, failures: u32) {
    let wait = match (goal, failures) {
        // Nothing is ours any more: nothing is looked after either.
        (Goal::Remove | Goal::HandBack, 0) => None,
        (Goal::Keep, 0) => Some(LOOK_AGAIN),
        (_, failures) => Some(LOOK_AGAIN.min(FIRST_RETRY * 2_u32.saturating_pow(failures.min(10)))),
    };
    let until = wait.map(|wait| Instant::now() + wait);
    loop {
        tokio::select! {
            () = shared.wake.notified() => return,
            () = sleep(GLANCE) => {}
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
        let glanced = Arc::clone(host);
        if wait.is_some() && tokio::task::spawn_blocking(move || glanced.kubelet_left()).await.unwrap_or(true)
        {
            return;
        }
    }
}

/// Other programs flush and reorder rules without telling.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// A kubelet that restarts takes longer than this until it probes.
const GLANCE: Duration = Duration::from_secs(1);
