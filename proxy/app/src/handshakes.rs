//! How many strangers may be at a pod's door at once, and who has to leave when one more comes.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Handshakes in progress with peers that are not known yet. Whoever comes when all places are taken gets that of who has
/// been there the longest: a stranger who stalls holds a place for as long as nobody needs it, and a friend, who is done in
/// a round trip or two, is not kept waiting.
#[derive(Debug)]
pub(crate) struct Handshakes {
    limit: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// By order of arrival.
    places: BTreeMap<u64, CancellationToken>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    all: &'a Handshakes,
    number: u64,
    left: CancellationToken,
}

impl Handshakes {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, inside: Mutex::new(Inside { next: 0, places: BTreeMap::new() }) }
    }

    /// A place for one more; `None` only when there is to be none at all.
    pub(crate) fn enter(&self) -> Option<Slot<'_>> {
        let mut inside = self.inside.lock();
        if inside.places.len() >= self.limit {
            // The one who leaves still drops its own end, where there is nothing to give back any more.
            inside.places.pop_first()?.1.cancel();
        }
        let number = inside.next;
        inside.next = inside.next.wrapping_add(1);
        let left = CancellationToken::new();
        inside.places.insert(number, left.clone());
        Some(Slot { all: self, number, left })
    }
}

impl Slot<'_> {
    /// Ends when somebody else was given the place.
    pub(crate) async fn taken(&self) {
        self.left.cancelled().await;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.all.inside.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
