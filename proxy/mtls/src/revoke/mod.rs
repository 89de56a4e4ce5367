//! Revoked certificates: refused when they come, and their connections ended when a list names them later.

mod file;
mod lists;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use proxy_core::world::Strictness;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tracing::warn;

use crate::trust::{Direction, Presented, Roots};
pub use file::{CrlFile, follow};
pub use lists::CrlError;
use lists::Lists;

/// What is known to be revoked, and which open connections have to hear of it.
#[derive(Debug)]
pub struct Revocations {
    /// Whether anything can ever be revoked.
    on: bool,
    unreadable: Strictness,
    state: RwLock<State>,
    /// Connections by number.
    open: Mutex<HashMap<u64, Weak<Watched>>>,
    next: AtomicU64,
    counts: Counts,
}

/// What there is to judge by.
#[derive(Debug, Clone)]
enum State {
    /// Nobody asked for revocation, or there is no file yet.
    Nothing,
    /// There is a file, and it could not be read once.
    Unreadable,
    /// The lists of the last file that could be read.
    Lists(Arc<Lists>),
}

#[derive(Debug, Default)]
struct Counts {
    revoked: PerDirection,
    untracked: PerDirection,
    unchecked: PerDirection,
    refused_files: AtomicU64,
}

#[derive(Debug, Default)]
struct PerDirection {
    inbound: AtomicU64,
    outbound: AtomicU64,
}

/// How often what has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RevocationCounts {
    /// Lists in force.
    pub lists: usize,
    /// Peers that were refused or cut off because of a revoked certificate: inbound, outbound.
    pub revoked: [u64; 2],
    /// Connections that a later list cannot end, because their peer's chain is not known: inbound, outbound.
    pub untracked: [u64; 2],
    /// Peers that were let in while there was a file that could not be read: inbound, outbound.
    pub unchecked: [u64; 2],
    /// Contents of the file that could not be used.
    pub refused_files: u64,
}

/// One connection's claim to its peer's good standing; clones are the same one.
#[derive(Debug, Clone)]
pub struct Standing(Option<Arc<Watched>>);

#[derive(Debug)]
struct Watched {
    number: u64,
    chain: Vec<CertificateDer<'static>>,
    roots: Roots,
    direction: Direction,
    /// When the chain was found sound: it is judged by that time, as it may have expired since.
    established: UnixTime,
    revoked: watch::Sender<bool>,
    revocations: Arc<Revocations>,
}

impl Revocations {
    /// Nothing is ever revoked.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Self::with(false, Strictness::Compat)
    }

    /// Nothing is known yet. `unreadable` says what to do while there is a file that could never be read: let peers in
    /// (`Compat`), let them in and count them (`Report`), or refuse them (`Enforce`).
    #[must_use]
    pub fn new(unreadable: Strictness) -> Arc<Self> {
        Self::with(true, unreadable)
    }

    fn with(on: bool, unreadable: Strictness) -> Arc<Self> {
        Arc::new(Self {
            on,
            unreadable,
            state: RwLock::new(State::Nothing),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// How often what has happened so far.
    #[must_use]
    pub fn counts(&self) -> RevocationCounts {
        let lists = match &*self.state.read() {
            State::Nothing | State::Unreadable => 0,
            State::Lists(lists) => lists.len(),
        };
        RevocationCounts {
            lists,
            revoked: self.counts.revoked.read(),
            untracked: self.counts.untracked.read(),
            unchecked: self.counts.unchecked.read(),
            refused_files: self.counts.refused_files.load(Ordering::Relaxed),
        }
    }

    /// Judges a chain that is sound otherwise; `Err(None)` when it cannot be judged and has to be.
    pub(crate) fn admit(
        &self,
        roots: &Roots,
        chain: Presented<'_>,
        direction: Direction,
        now: UnixTime,
    ) -> Result<(), Option<webpki::Error>> {
        let lists = match self.state.read().clone() {
            State::Nothing => return Ok(()),
            State::Lists(lists) => lists,
            State::Unreadable => {
                return match self.unreadable {
                    Strictness::Compat => Ok(()),
                    Strictness::Report => {
                        self.counts.unchecked.add(direction);
                        Ok(())
                    }
                    Strictness::Enforce => Err(None),
                };
            }
        };
        for list in lists.naming(chain) {
            let verdict = roots.verify(chain, direction, now, Some(list));
            if verdict == Err(webpki::Error::CertRevoked) {
                self.counts.revoked.add(direction);
            }
            // A list that names a certificate of the chain, and is not its issuer's, is no proof of innocence.
            verdict.map_err(Some)?;
        }
        Ok(())
    }

    /// Watches over a connection from now on; a list that came since its handshake is not missed.
    pub(crate) fn watch(
        self: &Arc<Self>,
        chain: Option<&[CertificateDer<'_>]>,
        roots: Roots,
        direction: Direction,
    ) -> Standing {
        if !self.on {
            return Standing(None);
        }
        let Some(chain) = chain else {
            self.counts.untracked.add(direction);
            return Standing(None);
        };
        let watched = Arc::new(Watched {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
            roots,
            direction,
            established: UnixTime::now(),
            revoked: watch::Sender::new(false),
            revocations: Arc::clone(self),
        });
        self.open.lock().insert(watched.number, Arc::downgrade(&watched));
        // After it is on the list: whichever of the two comes last sees the other.
        if let State::Lists(lists) = self.state.read().clone() {
            watched.judge(&lists);
        }
        Standing(Some(watched))
    }

    /// From now on these lists are in force, for open connections too.
    fn adopt(&self, lists: Lists) {
        let lists = Arc::new(lists);
        *self.state.write() = State::Lists(Arc::clone(&lists));
        let open: Vec<_> = self.open.lock().values().filter_map(Weak::upgrade).collect();
        let cut = open.iter().filter(|watched| watched.judge(&lists)).count();
        if cut > 0 {
            warn!(cut, "connections end: a certificate in their peer's chain has been revoked");
        }
    }

    /// The file cannot be used. Lists that are in force stay.
    fn file_refused(&self) {
        self.counts.refused_files.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.write();
        if matches!(*state, State::Nothing) {
            *state = State::Unreadable;
        }
    }

    /// There is no file. Lists that are in force stay.
    fn file_gone(&self) {
        let mut state = self.state.write();
        if matches!(*state, State::Unreadable) {
            *state = State::Nothing;
        }
    }
}

impl Standing {
    /// Of a peer that nobody can revoke.
    #[must_use]
    pub const fn unwatched() -> Self {
        Self(None)
    }

    /// Whether a certificate of the peer's chain has been revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| *watched.revoked.borrow())
    }

    /// Resolves when a certificate of the peer's chain is revoked.
    pub async fn revoked(&self) {
        let Some(watched) = &self.0 else { return pending().await };
        // The sender is in `watched`.
        if watched.revoked.subscribe().wait_for(|revoked| *revoked).await.is_err() {
            pending().await
        }
    }
}

impl Watched {
    /// Whether these lists would refuse the chain, and nobody knew yet.
    fn judge(&self, lists: &Lists) -> bool {
        let Some((leaf, intermediates)) = self.chain.split_first() else { return false };
        let chain = Presented { leaf, intermediates };
        // As at the handshake: a list that names the chain and proves nothing is no reason to let the peer stay.
        let revoked = lists
            .naming(chain)
            .into_iter()
            .any(|list| self.roots.verify(chain, self.direction, self.established, Some(list)).is_err());
        let news = revoked && !self.revoked.send_replace(true);
        if news {
            self.revocations.counts.revoked.add(self.direction);
        }
        news
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.revocations.open.lock().remove(&self.number);
    }
}

impl PerDirection {
    fn add(&self, direction: Direction) {
        let count = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> [u64; 2] {
        [&self.inbound, &self.outbound].map(|count| count.load(Ordering::Relaxed))
    }
}
