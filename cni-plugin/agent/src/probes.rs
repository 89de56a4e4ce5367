//! Which addresses and ports the kubelet may probe past the proxy, kept on the host as the enrolled pods declare them.
//!
//! What is wanted is a level: the driver says what all pods declare, a task brings the host to the sum of it, and again on
//! a timer, as other programs of the node change its rules too. Who needs to know waits until the kernel has it.

mod claims;
mod kernel;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni_plugin_redirect::host::{HandedBack, HostError, Settled, Target};
use cni_plugin_wire::zds::PodUid;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use self::claims::Claims;
use crate::metrics::Metrics;

pub use kernel::KernelHost;
pub use task::Worker;

/// The host's rules and sets. All methods block.
pub trait HostRules: Send + Sync + 'static {
    /// What an earlier agent of ours left.
    ///
    /// # Errors
    /// It cannot be read.
    fn targets(&self) -> Result<BTreeSet<Target>, HostError>;

    /// Brings the host to `targets` by what differs.
    ///
    /// # Errors
    /// It stays as it was.
    fn settle(&self, targets: &BTreeSet<Target>) -> Result<Settled, HostError>;

    /// Takes away what istio-cni left; whether there was anything.
    ///
    /// # Errors
    /// Something may be left.
    fn remove_foreign(&self) -> Result<bool, HostError>;

    /// Takes ours away.
    ///
    /// # Errors
    /// Something may be left.
    fn remove(&self) -> Result<(), HostError>;

    /// Takes ours away if istio-cni's cover them.
    ///
    /// # Errors
    /// It cannot be told, or something may be left.
    fn hand_back(&self) -> Result<HandedBack, HostError>;

    /// Whether the kubelet that the rules match is gone, so that they have to be settled again. Cheap.
    fn kubelet_left(&self) -> bool;
}

/// The handle that the rest of the agent holds; clones are the same.
#[derive(Clone, Debug)]
pub struct Exemptions(Arc<Shared>);

/// Why probes of a pod may not get through.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("let the kubelet's probes past the proxy on the host")]
    Host(#[source] Arc<HostError>),
    #[error("the work on the host's probe rules was given up: {0}")]
    Panicked(String),
    #[error("the host's probe rules are not ours any more: {0}")]
    Over(&'static str),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
    /// What came of the newest pass.
    outcome: watch::Sender<Outcome>,
}

#[derive(Debug, Default)]
struct State {
    claims: Claims,
    /// Counts what was said; an outcome covers everything up to its own.
    generation: u64,
    goal: Goal,
    /// Every pod was said once: what is not claimed now, nobody will claim.
    complete: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Goal {
    #[default]
    Keep,
    Remove,
    HandBack,
}

#[derive(Clone, Debug)]
struct Outcome {
    generation: u64,
    goal: Goal,
    result: Result<(), ProbeError>,
}

impl Exemptions {
    /// The handle, and what works for it.
    #[must_use]
    pub fn new(host: Arc<dyn HostRules>, metrics: Metrics) -> (Self, Worker) {
        let outcome = watch::Sender::new(Outcome { generation: 0, goal: Goal::Keep, result: Ok(()) });
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Notify::new(), outcome });
        (Self(Arc::clone(&shared)), Worker { shared, host, metrics })
    }

    /// Says what every pod declares that is in the mesh or on its way into or out of it. Cheap when nothing is new. Once
    /// `complete`, no pod is missing: what earlier agents left beyond that can go.
    pub fn claim(&self, pods: BTreeMap<PodUid, BTreeSet<Target>>, complete: bool) {
        let mut state = self.0.state.lock();
        let taken = state.claims.replace(pods);
        let news = taken.is_some() || complete && !state.complete;
        for (ip, newer, older) in taken.into_iter().flatten() {
            tracing::warn!(%ip, %newer, %older, "two pods have one address: probes are those of the newer");
        }
        state.complete |= complete;
        if news {
            state.generation = state.generation.wrapping_add(1);
            self.0.wake.notify_one();
        }
    }

    /// Waits until the kernel has all that was claimed.
    ///
    /// # Errors
    /// It has not. It is tried again for as long as it is claimed.
    pub async fn settled(&self) -> Result<(), ProbeError> {
        let generation = self.0.state.lock().generation;
        match self.reached(generation).await? {
            Goal::Keep => Ok(()),
            Goal::Remove | Goal::HandBack => Err(ProbeError::Over("they are handed over")),
        }
    }

    /// Takes everything of ours off the host, for good.
    ///
    /// # Errors
    /// Something may be left; it is tried again.
    pub async fn remove_all(&self) -> Result<(), ProbeError> {
        self.pursue(Goal::Remove).await
    }

    /// Leaves probes to istio-cni: ours go once its rules cover them, and stay where they are if they do not.
    ///
    /// # Errors
    /// It could not be told, or something may be left.
    pub async fn hand_back(&self) -> Result<(), ProbeError> {
        self.pursue(Goal::HandBack).await
    }

    /// How many pods have said something, for a dump.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.0.state.lock().claims.pods()
    }

    async fn pursue(&self, goal: Goal) -> Result<(), ProbeError> {
        let generation = {
            let mut state = self.0.state.lock();
            state.goal = goal;
            state.generation = state.generation.wrapping_add(1);
            state.generation
        };
        self.0.wake.notify_one();
        self.reached(generation).await.map(drop)
    }

    async fn reached(&self, generation: u64) -> Result<Goal, ProbeError> {
        let mut outcomes = self.0.outcome.subscribe();
        let reached = outcomes.wait_for(|outcome| outcome.generation >= generation).await;
        // The sender lives in what this handle holds.
        reached.map_or(Err(ProbeError::Over("the agent ends")), |outcome| {
            outcome.result.clone().map(|()| outcome.goal)
        })
    }
}

#[cfg(test)]
mod tests;
