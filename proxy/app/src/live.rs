//! The world as it is now: one immutable view for each decision, replaced whole by the writer, waited on when it lacks.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use proxy_core::decide::{Lookup, Step, UnknownWorkload};
use proxy_core::model::{PodInfo, Workload};
use proxy_core::world::{Answer, Change, Effects, NodeContext, World};
use proxy_core::{Moment, Pick, Str};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use xds_client::{Asked, Demand};

use crate::dns::resolver::Resolver;

/// How long a connection waits for the control plane to announce its own workload.
const LOCAL_WORKLOAD: Duration = Duration::from_secs(5);

/// Lookups that one decision may ask for, one after the other: what is wanted, its waypoint, the gateway to that, and
/// names on the way.
const LOOKUPS: usize = 8;

/// Why there is no decision.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undecided {
    #[error("the destination takes more lookups than a connection may cost")]
    Lookups,
    #[error("the control plane does not say what {0} is")]
    Unanswered(Str),
}

/// The current world. Readers never wait; a writer builds the next world aside.
#[derive(Debug)]
pub(crate) struct Live {
    world: ArcSwap<World>,
    /// Held by the writer from reading the old world to publishing the next.
    writer: Mutex<()>,
    workloads: watch::Sender<()>,
    policies: watch::Sender<()>,
    names: Resolver,
    /// Where addresses come on demand.
    demand: Option<Demand>,
    start: Instant,
}

impl Live {
    /// `names` finds what a decision needs of DNS.
    pub(crate) fn new(node: NodeContext, names: Resolver) -> Self {
        Self {
            names,
            world: ArcSwap::from_pointee(World::new(node)),
            writer: Mutex::new(()),
            workloads: watch::Sender::new(()),
            policies: watch::Sender::new(()),
            demand: None,
            start: Instant::now(),
        }
    }

    /// Asks for the addresses that decisions lack.
    pub(crate) fn asking(mut self, demand: Demand) -> Self {
        self.demand = Some(demand);
        self
    }

    /// The view of this moment. Short-lived: do not keep it over an await.
    pub(crate) fn now_known(&self) -> Guard<Arc<World>> {
        self.world.load()
    }

    /// The view of this moment, to keep.
    pub(crate) fn snapshot(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// Time since the process began, as decisions want it.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    /// When `moment` is.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.0
    }

    /// Applies one push and publishes the result.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Effects {
        let writer = self.writer.lock();
        let mut next = World::clone(&self.world.load());
        let effects = next.apply(changes, self.moment());
        self.world.store(Arc::new(next));
        drop(writer);
        if effects.workloads_changed {
            self.workloads.send_replace(());
        }
        if effects.policies_changed {
            self.policies.send_replace(());
        }
        effects
    }

    /// Wakes up when what may connect to a local workload has changed since the last look.
    pub(crate) fn policy_changes(&self) -> watch::Receiver<()> {
        self.policies.subscribe()
    }

    /// The pod's own workload, waited for when the control plane has not announced it yet.
    pub(crate) async fn local_workload(&self, pod: &PodInfo) -> Result<Arc<Workload>, UnknownWorkload> {
        let look = || proxy_core::decide::local(&self.now_known(), pod);
        let unknown = match look() {
            Ok(workload) => return Ok(workload),
            Err(unknown) => unknown,
        };
        let mut changes = self.workloads.subscribe();
        let found = async {
            loop {
                if let Ok(workload) = look() {
                    return workload;
                }
                // The sender lives as long as `self`.
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        timeout(LOCAL_WORKLOAD, found).await.map_err(|_| unknown)
    }

    /// Makes one decision about a connection of `source`, fetching what it lacks.
    ///
    /// # Errors
    /// It keeps asking, or asks what nobody says.
    pub(crate) async fn decide<T>(
        &self,
        source: Option<&Workload>,
        decision: impl Fn(&World) -> Step<T>,
    ) -> Result<T, Undecided> {
        let mut lookup = match decision(&self.now_known()) {
            Step::Done(decided) => return Ok(decided),
            Step::Need(lookup) => lookup,
        };
        let mut answers = Vec::new();
        for _ in 0..LOOKUPS {
            answers.push(self.fetch(source, lookup).await?);
            // What was asked of the control plane is in the world of now, and in no earlier one.
            let world = answers
                .iter()
                .fold(self.snapshot(), |world, answer: &Answer| Arc::new(world.with_answer(answer.clone())));
            lookup = match decision(&world) {
                Step::Done(decided) => return Ok(decided),
                Step::Need(next) => next,
            };
        }
        Err(Undecided::Lookups)
    }

    async fn fetch(&self, source: Option<&Workload>, lookup: Lookup) -> Result<Answer, Undecided> {
        match lookup {
            Lookup::Hostname(name) => {
                let addresses = self.names.resolve(source, &name).await;
                Ok(Answer::Hostname(name, addresses))
            }
            Lookup::Address(key) => {
                let asked = match &self.demand {
                    Some(demand) => demand.ask(&key).await,
                    None => Asked::Unanswered,
                };
                match asked {
                    Asked::Answered => Ok(Answer::Address(key)),
                    // To what is unknown connections go in plain text: silence must not make it so.
                    Asked::Unanswered => Err(Undecided::Unanswered(key)),
                }
            }
        }
    }
}

/// Fresh random bits for one decision.
pub(crate) fn draw() -> Pick {
    Pick(fastrand::u64(..))
}

#[cfg(test)]
mod tests;
