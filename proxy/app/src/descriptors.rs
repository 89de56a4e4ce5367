//! The process's descriptors as something that pods share: when they run short, whoever has the most gets no more.
//!
//! Estimates suffice. What they keep back is for the control plane, the admin server, and pods that have little.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use proxy_core::model::PodInfo;
use tokio::time::Instant;

/// Descriptors of the process, and who has how many.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// What connections may take together before anybody is refused.
    enough: usize,
    open: AtomicUsize,
    holders: Mutex<Vec<Weak<Holder>>>,
}

/// One pod's part.
#[derive(Debug)]
pub(crate) struct Holder {
    pod: PodInfo,
    all: Arc<Descriptors>,
    open: AtomicUsize,
    told: Mutex<Option<Instant>>,
}

/// The descriptors of one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    holder: Arc<Holder>,
    count: usize,
}

/// A pod that has the most descriptors of a node that is short of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "descriptors are short and this pod has the most, {has} of {used}; raise the proxy's limit of open files, or the pod leaks connections"
)]
pub(crate) struct Short {
    has: usize,
    used: usize,
}

impl Descriptors {
    /// For a process that may have `limit` open, of which connections may take `percent` before anybody is refused.
    pub(crate) fn new(limit: usize, percent: u8) -> Arc<Self> {
        let enough = (limit / 100).saturating_mul(usize::from(percent)).saturating_sub(RESERVE);
        Arc::new(Self { enough, open: AtomicUsize::new(0), holders: Mutex::default() })
    }

    /// A pod, with nothing open.
    pub(crate) fn holder(self: &Arc<Self>, pod: PodInfo) -> Arc<Holder> {
        let holder = Arc::new(Holder {
            pod,
            all: Arc::clone(self),
            open: AtomicUsize::new(0),
            told: Mutex::default(),
        });
        let mut holders = self.holders.lock();
        holders.retain(|other| other.strong_count() > 0);
        holders.push(Arc::downgrade(&holder));
        holder
    }

    fn most(&self) -> usize {
        let holders = self.holders.lock();
        let open = |holder: &Weak<Holder>| holder.upgrade().map_or(0, |h| h.open.load(Ordering::Relaxed));
        holders.iter().map(open).max().unwrap_or_default()
    }

    /// What the pods' listeners and namespaces take.
    fn standing(&self) -> usize {
        self.holders.lock().len().saturating_mul(PER_POD)
    }
}

impl Holder {
    /// Takes `count` descriptors.
    ///
    /// # Errors
    /// There are few left, and no pod has more than this one.
    pub(crate) fn take(self: &Arc<Self>, count: usize) -> Result<Share, Short> {
        let share = Share { holder: Arc::clone(self), count };
        let has = self.open.fetch_add(count, Ordering::Relaxed);
        let used = self.all.open.fetch_add(count, Ordering::Relaxed);
        // Most of the time there is plenty, and no lock is taken.
        if used + count <= self.all.enough / 2 || used + count + self.all.standing() <= self.all.enough {
            return Ok(share);
        }
        if has + count < self.all.most() {
            return Ok(share);
        }
        self.tell(has, used);
        Err(Short { has, used })
    }

    fn tell(&self, has: usize, used: usize) {
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() >= SILENCE) {
            *told = Some(Instant::now());
            tracing::warn!(
                "descriptors are short: about {used} of {} are in use by connections. Pod {} has the most, {has}, and gets \
                 no further ones until some of its connections end",
                self.all.enough,
                self.pod
            );
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.holder.open.fetch_sub(self.count, Ordering::Relaxed);
        self.holder.all.open.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// For the control plane, the admin servers, logs and timers.
const RESERVE: usize = 64;
/// Three listeners, a namespace, and what DNS needs.
const PER_POD: usize = 8;
/// Between two log lines about one pod.
const SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
