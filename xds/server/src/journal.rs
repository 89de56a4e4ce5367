//! What clients did, kept for whoever watches the control plane: bounded, so that it may run for years.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::control::Nack;

/// Refusals, signed identities, and how far each stream is.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    nacks: VecDeque<Nack>,
    signed: VecDeque<String>,
    streams: BTreeMap<u64, Stream>,
    opened: u64,
}

#[derive(Debug)]
struct Stream {
    node: String,
    /// The last world that its client has answered in full.
    answered: Option<u64>,
}

impl Journal {
    pub(crate) fn nack(&self, nack: Nack) {
        push(&mut self.book.lock().nacks, nack);
    }

    pub(crate) fn signed(&self, identity: &str) {
        push(&mut self.book.lock().signed, identity.to_owned());
    }

    pub(crate) fn opened(&self, node: &str) -> u64 {
        let mut book = self.book.lock();
        book.opened = book.opened.saturating_add(1);
        let id = book.opened;
        book.streams.insert(id, Stream { node: node.to_owned(), answered: None });
        id
    }

    pub(crate) fn answered(&self, stream: u64, world: u64) {
        if let Some(stream) = self.book.lock().streams.get_mut(&stream) {
            stream.answered = Some(world);
        }
    }

    pub(crate) fn closed(&self, stream: u64) {
        self.book.lock().streams.remove(&stream);
    }

    pub(crate) fn nacks(&self) -> Vec<Nack> {
        self.book.lock().nacks.iter().cloned().collect()
    }

    pub(crate) fn identities(&self) -> Vec<String> {
        self.book.lock().signed.iter().cloned().collect()
    }

    /// Node ids of open streams, with whether each has answered this world.
    pub(crate) fn streams(&self, world: u64) -> Vec<(String, bool)> {
        let book = self.book.lock();
        book.streams.values().map(|stream| (stream.node.clone(), stream.answered == Some(world))).collect()
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

const KEPT: usize = 1024;
