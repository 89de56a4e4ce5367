//! The connections of a pod that are open, for the dump.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The connections of one pod.
#[derive(Debug, Default)]
pub(crate) struct Open {
    next: AtomicU64,
    connections: Mutex<BTreeMap<u64, OpenConnection>>,
}

/// One open connection.
#[derive(Debug, Clone)]
pub(crate) struct OpenConnection {
    pub(crate) outbound: bool,
    pub(crate) source: SocketAddr,
    /// Where the client wanted to go: an address, or the service it named.
    pub(crate) original: Option<String>,
    pub(crate) actual: Option<SocketAddr>,
    pub(crate) protocol: &'static str,
}

impl Open {
    pub(crate) fn insert(&self, connection: OpenConnection) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(id, connection);
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        self.connections.lock().remove(&id);
    }

    pub(crate) fn list(&self) -> Vec<OpenConnection> {
        self.connections.lock().values().cloned().collect()
    }
}
