//! The connections and attempts of a pool, by key.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::SendRequest;
use proxy_core::model::Identity;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dial::Duty;
use super::reuse::{self, Choice};
use super::{Answer, ConnectionId, Inner, Lease, PoolKey, Taken};
use crate::piece::Piece;

/// Everything a pool holds.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    by_key: HashMap<Arc<PoolKey>, Shelf>,
    last_id: ConnectionId,
    /// Connections without a stream, on all shelves.
    idle: usize,
}

/// What there is for one key.
#[derive(Debug)]
struct Shelf {
    key: Arc<PoolKey>,
    connections: Vec<Shared>,
    attempts: Vec<Attempt>,
    /// How many streams the next connection is expected to take.
    expected: usize,
}

/// A connection that new streams may use.
#[derive(Debug)]
struct Shared {
    id: ConnectionId,
    requests: SendRequest<Piece>,
    peer: Arc<Identity>,
    revoked: CancellationToken,
    active: usize,
    idle_since: Instant,
}

/// A dial in progress and who waits for it, first come first.
#[derive(Debug)]
struct Attempt {
    id: ConnectionId,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Inner {
    /// A place on an open connection, or among those who wait for one. `fresh` asks for a connection that no stream has
    /// used yet.
    pub(super) fn take(self: &Arc<Self>, key: &PoolKey, fresh: bool) -> Taken {
        let cap = self.cap();
        let mut shelves = self.shelves.lock();
        let Shelves { by_key, last_id, idle } = &mut *shelves;
        let shelf = match by_key.get_mut(key) {
            Some(shelf) => shelf,
            None => {
                by_key.entry(Arc::new(key.clone())).or_insert_with_key(|key| Shelf::new(Arc::clone(key), cap))
            }
        };
        shelf.tidy(idle);
        let rooms = shelf.connections.iter().map(|shared| if fresh { 0 } else { shared.room(cap) });
        let waiting = shelf.attempts.iter().map(|attempt| attempt.waiting.len());
        match reuse::choose(rooms, waiting, shelf.expected) {
            Choice::Reuse(at) => {
                if let Some(shared) = shelf.connections.get_mut(at) {
                    return Taken::Lease(shared.lend(self, &shelf.key, idle, true));
                }
            }
            Choice::Join(at) => {
                if let Some(attempt) = shelf.attempts.get_mut(at) {
                    let (answer, waiting) = oneshot::channel();
                    attempt.waiting.push(answer);
                    return Taken::Join(waiting);
                }
            }
            Choice::Dial => {}
        }
        *last_id += 1;
        let (answer, waiting) = oneshot::channel();
        shelf.attempts.push(Attempt { id: *last_id, waiting: vec![answer] });
        Taken::Dial(Duty::new(Arc::clone(self), Arc::clone(&shelf.key), *last_id), waiting)
    }

    /// Puts the connection that an attempt brought on its shelf, and its streams into the hands of who waited.
    pub(super) fn put(
        self: &Arc<Self>,
        key: &Arc<PoolKey>,
        id: ConnectionId,
        requests: SendRequest<Piece>,
        peer: Arc<Identity>,
        revoked: CancellationToken,
    ) {
        let cap = self.cap();
        let mut shelves = self.shelves.lock();
        let Shelves { by_key, idle, .. } = &mut *shelves;
        let Some(shelf) = by_key.get_mut(key) else { return };
        let waiting = shelf.finish(id);
        let mut shared = Shared { id, requests, peer, revoked, active: 0, idle_since: Instant::now() };
        *idle += 1;
        let room = shared.room(cap);
        shelf.expected = room.max(1);
        let served: Vec<_> = waiting
            .into_iter()
            .filter(|answer| !answer.is_closed())
            .take(room)
            .map(|answer| (answer, shared.lend(self, key, idle, false)))
            .collect();
        shelf.connections.push(shared);
        // An opener that just left drops its lease, which takes the lock.
        drop(shelves);
        for (answer, lease) in served {
            drop(answer.send(Ok(lease)));
        }
    }

    fn cap(&self) -> usize {
        usize::from(self.settings.pool_max_streams).max(1)
    }
}

impl Shelves {
    /// Takes an attempt that failed off its shelf; who waits for it must be told.
    pub(super) fn give_up(&mut self, key: &PoolKey, id: ConnectionId) -> Vec<oneshot::Sender<Answer>> {
        let waiting = self.by_key.get_mut(key).map(|shelf| shelf.finish(id)).unwrap_or_default();
        self.remove_if_empty(key);
        waiting
    }

    /// A stream has ended.
    pub(super) fn give_back(&mut self, key: &PoolKey, id: ConnectionId, max_idle: usize, now: Instant) {
        // A connection that is not on its shelf any more takes no new streams, and nobody counts its old ones.
        let Some(shared) = self.by_key.get_mut(key).and_then(|shelf| shelf.find(id)) else { return };
        shared.active = shared.active.saturating_sub(1);
        if shared.active > 0 {
            return;
        }
        shared.idle_since = now;
        self.idle += 1;
        if self.idle > max_idle
            && let Some((key, id)) = self.longest_idle()
        {
            self.remove(&key, id);
        }
    }

    /// Takes a connection without streams off its shelf when its time is over; else says when to ask again.
    pub(super) fn look_again(
        &mut self,
        key: &PoolKey,
        id: ConnectionId,
        keep: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let shared = self.by_key.get_mut(key)?.find(id)?;
        let again = reuse::look_again(shared.active, shared.idle_since, keep, now);
        if again.is_none() {
            self.remove(key, id);
        }
        again
    }

    /// Takes a connection off its shelf, if it is still there.
    pub(super) fn remove(&mut self, key: &PoolKey, id: ConnectionId) {
        let Some(shelf) = self.by_key.get_mut(key) else { return };
        if let Some(at) = shelf.connections.iter().position(|shared| shared.id == id) {
            let shared = shelf.connections.remove(at);
            self.idle -= usize::from(shared.active == 0);
        }
        self.remove_if_empty(key);
    }

    pub(super) fn connections(&self) -> usize {
        self.by_key.values().map(|shelf| shelf.connections.len()).sum()
    }

    fn remove_if_empty(&mut self, key: &PoolKey) {
        if self.by_key.get(key).is_some_and(|shelf| shelf.connections.is_empty() && shelf.attempts.is_empty())
        {
            self.by_key.remove(key);
        }
    }

    fn longest_idle(&self) -> Option<(Arc<PoolKey>, ConnectionId)> {
        let idle = self.by_key.values().flat_map(|shelf| {
            shelf.connections.iter().filter(|shared| shared.active == 0).map(|shared| (&shelf.key, shared))
        });
        idle.min_by_key(|(_, shared)| shared.idle_since).map(|(key, shared)| (Arc::clone(key), shared.id))
    }
}

impl Shelf {
    const fn new(key: Arc<PoolKey>, expected: usize) -> Self {
        Self { key, connections: Vec::new(), attempts: Vec::new(), expected }
    }

    fn find(&mut self, id: ConnectionId) -> Option<&mut Shared> {
        self.connections.iter_mut().find(|shared| shared.id == id)
    }

    fn finish(&mut self, attempt: ConnectionId) -> Vec<oneshot::Sender<Answer>> {
        match self.attempts.iter().position(|a| a.id == attempt) {
            Some(at) => self.attempts.remove(at).waiting,
            None => Vec::new(),
        }
    }

    /// Drops connections that are closed or told to go away, and openers that left.
    fn tidy(&mut self, idle: &mut usize) {
        self.connections.retain_mut(|shared| {
            let open = shared.is_open();
            *idle -= usize::from(!open && shared.active == 0);
            open
        });
        for attempt in &mut self.attempts {
            attempt.waiting.retain(|answer| !answer.is_closed());
        }
    }
}

impl Shared {
    fn is_open(&mut self) -> bool {
        if self.revoked.is_cancelled() {
            return false;
        }
        // Never pending on a handle that made no request itself; an error once GOAWAY came or the connection closed.
        let ready = self.requests.poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    fn room(&self, cap: usize) -> usize {
        reuse::room(self.active, cap, self.requests.current_max_send_streams())
    }

    fn lend(&mut self, inner: &Arc<Inner>, key: &Arc<PoolKey>, idle: &mut usize, reused: bool) -> Lease {
        *idle -= usize::from(self.active == 0);
        self.active += 1;
        Lease {
            inner: Arc::clone(inner),
            key: Arc::clone(key),
            id: self.id,
            requests: self.requests.clone(),
            peer: Arc::clone(&self.peer),
            revoked: self.revoked.clone(),
            reused,
        }
    }
}
