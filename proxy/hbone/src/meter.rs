//! Counts the bytes of one connection while they flow.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Hears of bytes as they are handed on, once per chunk: an atomic addition is the right amount of work.
pub trait Observer: Send + Sync + 'static {
    /// `bytes` went from downstream to upstream.
    fn sent(&self, bytes: u64);
    /// `bytes` went from upstream to downstream.
    fn received(&self, bytes: u64);
}

/// What one connection has carried so far.
#[derive(Default)]
pub struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    observer: Option<Arc<dyn Observer>>,
}

impl Meter {
    /// A meter that somebody reads.
    #[must_use]
    pub const fn new() -> Self {
        Self { sent: AtomicU64::new(0), received: AtomicU64::new(0), observer: None }
    }

    /// A meter that also tells `observer`.
    #[must_use]
    pub const fn observed(observer: Arc<dyn Observer>) -> Self {
        Self { sent: AtomicU64::new(0), received: AtomicU64::new(0), observer: Some(observer) }
    }

    /// Bytes from downstream to upstream.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes from upstream to downstream.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, toward: Toward, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let total = match toward {
            Toward::Upstream => &self.sent,
            Toward::Downstream => &self.received,
        };
        total.fetch_add(bytes, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            match toward {
                Toward::Upstream => observer.sent(bytes),
                Toward::Downstream => observer.received(bytes),
            }
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("sent", &self.sent()).field("received", &self.received()).finish()
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Upstream,
    Downstream,
}
