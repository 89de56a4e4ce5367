//! Certificates by identity: fetched when wanted, renewed at half-life, served until they expire.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use proxy_core::model::Identity;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::warn;

use crate::credentials::{Credentials, Material};
use crate::dump::{Census, CertDump};
use crate::error::{FetchError, IdentityError};
use crate::schedule::{Jitter, Now};
use crate::table::{Asked, State, Table, describe};
use crate::trust::TlsContext;

/// Where certificates come from: one attempt per call, retries are the store's. A future that is dropped half-way must
/// leave nothing behind.
pub trait CertSource: Send + Sync + 'static {
    /// Asks for a new key and certificate of `identity`.
    fn fetch(&self, identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>>;
}

/// Whatever a [`CertSource`] fails with.
pub type SourceError = Arc<dyn Error + Send + Sync>;

/// What the store may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fetches at once.
    pub in_flight: usize,
    /// Identities held at once.
    pub identities: usize,
    /// How long one fetch may take: a backstop, longer than the source's own deadline.
    pub fetch: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 8, identities: 4096, fetch: Duration::from_secs(30) }
    }
}

/// Keeps a certificate for every identity of the node.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    worker: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Something in the table may be due.
    wake: Notify,
    clock: Clock,
}

/// Reads wall-clock time, since the Unix epoch.
type Wall = Box<dyn Fn() -> Duration + Send + Sync>;

struct Clock {
    started: Instant,
    wall: Wall,
}

/// Owns the fetches; what it does not finish dies with it.
struct Worker {
    shared: Arc<Shared>,
    source: Arc<dyn CertSource>,
    context: TlsContext,
    limits: Limits,
    flights: JoinSet<Result<Credentials, FetchError>>,
    started: HashMap<Id, (Identity, u64)>,
}

impl Store {
    /// Starts a store whose fetches run on the current tokio runtime, and end with it or with the store.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(source: Arc<dyn CertSource>, context: impl Into<TlsContext>, limits: Limits) -> Arc<Self> {
        // A clock before 1970 is as wrong as can be; every certificate is then not valid yet.
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::with_clock(source, context.into(), limits, Box::new(wall))
    }

    pub(crate) fn with_clock(
        source: Arc<dyn CertSource>,
        context: TlsContext,
        limits: Limits,
        wall: Wall,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            table: Mutex::new(Table::new(limits.identities)),
            wake: Notify::new(),
            clock: Clock { started: Instant::now(), wall },
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            source,
            context,
            limits,
            flights: JoinSet::new(),
            started: HashMap::new(),
        };
        let worker = tokio::spawn(worker.work()).abort_handle();
        Arc::new(Self { shared, worker })
    }

    /// The certificate of `identity`. Waits for the first attempt at it, however long that stands in line: who cannot wait
    /// sets a limit. An identity that nobody prefetched is fetched now and kept while connections ask for it.
    ///
    /// # Errors
    ///
    /// At once when the last attempt failed; when the identity is forgotten meanwhile; when the store is full.
    pub async fn credentials(&self, identity: &Identity) -> Result<Arc<Credentials>, IdentityError> {
        let asked = self.shared.table.lock().ask(identity, self.shared.clock.now())?;
        let state = match asked {
            Asked::Settled(state) => state,
            Asked::Wait(mut state) => {
                self.shared.wake.notify_one();
                let settled = state.wait_for(|state| !matches!(state, State::Initializing)).await;
                settled.map(|state| state.clone()).map_err(|_closed| self.gone(identity))?
            }
        };
        match state {
            State::Available(credentials) => Ok(credentials),
            State::Unavailable(source) => {
                Err(IdentityError::Unavailable { identity: identity.clone(), source })
            }
            State::Initializing => Err(self.gone(identity)),
        }
    }

    /// A workload of `identity` is on the node: have its certificate ready, and keep it until [`Self::forget`].
    pub fn prefetch(&self, identity: &Identity) {
        let wanted = self.shared.table.lock().want(identity, self.shared.clock.now());
        match wanted {
            Ok(()) => self.shared.wake.notify_one(),
            Err(error) => warn!(%error, "certificate not prefetched"),
        }
    }

    /// The last workload of `identity` has left the node: its certificate goes, a fetch under way is abandoned, and who
    /// waits is told.
    pub fn forget(&self, identity: &Identity) {
        self.shared.table.lock().forget(identity);
    }

    /// Every identity with its certificates, sorted.
    #[must_use]
    pub fn dump(&self) -> Vec<CertDump> {
        let states = self.shared.table.lock().dump();
        let mut dump: Vec<_> =
            states.into_iter().map(|(identity, state)| describe(identity, &state)).collect();
        dump.sort_by_cached_key(|entry| entry.identity.to_string());
        dump
    }

    /// How many identities are in which state.
    #[must_use]
    pub fn census(&self) -> Census {
        let wall = self.shared.clock.now().wall;
        self.shared.table.lock().census(wall)
    }

    fn gone(&self, identity: &Identity) -> IdentityError {
        let identity = identity.clone();
        if self.shared.table.lock().stopped() {
            IdentityError::Stopped { identity }
        } else {
            IdentityError::Forgotten { identity }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Worker {
    async fn work(mut self) {
        loop {
            let wait = self.start_due();
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(landed) = self.flights.join_next_with_id() => self.land(landed),
            }
        }
    }

    /// Starts as many due fetches as may fly; answers how long nothing else falls due.
    fn start_due(&mut self) -> Duration {
        let now = self.shared.clock.now();
        let in_flight = self.limits.in_flight.max(1);
        let mut table = self.shared.table.lock();
        let slots = in_flight.saturating_sub(self.flights.len());
        for identity in table.due(now, slots) {
            let fetch =
                fetch(Arc::clone(&self.source), identity.clone(), self.context.clone(), self.limits.fetch);
            let task = self.flights.spawn(fetch);
            let id = task.id();
            let number = table.begin(&identity, task);
            self.started.insert(id, (identity, number));
        }
        // With every slot taken only a landing matters, and that wakes by itself.
        let full = self.flights.len() >= in_flight;
        table.wait(now).filter(|_| !full).unwrap_or(TICK).min(TICK)
    }

    fn land(&mut self, landed: Result<(Id, Result<Credentials, FetchError>), JoinError>) {
        let (id, result) = match landed {
            Ok((id, result)) => (id, result),
            Err(error) if error.is_panic() => (error.id(), Err(FetchError::Panicked)),
            // Aborted: its entry is gone.
            Err(error) => {
                self.started.remove(&error.id());
                return;
            }
        };
        if let Some((identity, number)) = self.started.remove(&id) {
            if let Ok(credentials) = &result {
                // Also for the identities that renew later, and if this one was forgotten meanwhile.
                credentials.publish_roots(number);
            }
            let now = self.shared.clock.now();
            self.shared.table.lock().finish(&identity, number, result, now, Jitter::draw());
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nobody may wait for a store that does not work any more.
        self.shared.table.lock().stop();
    }
}

impl Clock {
    fn now(&self) -> Now {
        Now { uptime: self.started.elapsed(), wall: (self.wall)() }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish()
    }
}

async fn fetch(
    source: Arc<dyn CertSource>,
    identity: Identity,
    context: TlsContext,
    limit: Duration,
) -> Result<Credentials, FetchError> {
    let material = tokio::time::timeout(limit, source.fetch(identity.clone()))
        .await
        .map_err(|_elapsed| FetchError::Timeout { limit })?
        .map_err(|source| FetchError::Source { source })?;
    Ok(Credentials::new(identity, material, &context)?)
}

/// How often the wall clock is looked at: it jumps when a machine wakes or is corrected, and timers do not notice.
const TICK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
