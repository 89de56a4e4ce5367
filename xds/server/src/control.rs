//! The control plane as a value: objects go in through [`Control::update`], everything else follows from them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ca::Ca;
use crate::journal::Journal;
use crate::objects::Objects;
use crate::serve;
use crate::tls::ServerTls;
use crate::translate::{MeshConfig, Remark, Translation, translate};

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A bearer token that every call must carry; `None` accepts every caller.
    pub token: Option<String>,
    /// Bearer tokens of workloads that are for themselves, each with its identity: they get a certificate for that one and
    /// for no other, as a dedicated proxy asks for it.
    pub workloads: BTreeMap<String, String>,
    /// Sign for identities that no pod has. For tests of clients; istiod never does.
    pub any_identity: bool,
}

/// One refusal by a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The `id` of the client's node.
    pub node: String,
    pub type_url: String,
    pub message: String,
}

/// A standalone control plane. Clones are the same one.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) mesh: MeshConfig,
    pub(crate) access: Access,
    pub(crate) ca: Ca,
    pub(crate) journal: Journal,
    pub(crate) world: watch::Sender<World>,
    objects: Mutex<Objects>,
    remarks: Mutex<BTreeSet<Remark>>,
}

/// What the objects come to, and the how manieth time.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) generation: u64,
    pub(crate) translation: Arc<Translation>,
}

impl Control {
    /// A control plane without objects that any caller may use.
    pub fn new(mesh: MeshConfig, ca: Ca) -> Self {
        Self::with_access(mesh, ca, Access::default())
    }

    pub fn with_access(mesh: MeshConfig, ca: Ca, access: Access) -> Self {
        let inner = Inner {
            mesh,
            access,
            ca,
            journal: Journal::default(),
            world: watch::Sender::new(World::default()),
            objects: Mutex::default(),
            remarks: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Changes the objects and lets every stream know what became different. Never waits for a client.
    pub fn update(&self, change: impl FnOnce(&mut Objects)) {
        let mut objects = self.inner.objects.lock();
        change(&mut objects);
        let translation = translate(&objects, &self.inner.mesh);
        self.log(&translation.remarks);
        self.inner.world.send_if_modified(|world| {
            let changed = world.translation.resources != translation.resources;
            if changed {
                let generation = world.generation.saturating_add(1);
                *world = World { generation, translation: Arc::new(translation) };
            }
            changed
        });
    }

    /// Reads something off the objects.
    pub fn inspect<T>(&self, read: impl FnOnce(&Objects) -> T) -> T {
        self.inner.inspect(read)
    }

    /// Serves xDS and the CA on `listener`, with TLS or in plaintext, until the future is dropped; dropping it cuts
    /// every connection. Several listeners may be served at once.
    pub async fn serve(&self, listener: TcpListener, tls: Option<ServerTls>) {
        self.serve_until(listener, tls, std::future::pending()).await;
    }

    /// As [`Control::serve`]; after `stop` no connection is accepted, streams end cleanly, and calls have 5 s to finish.
    pub async fn serve_until(
        &self,
        listener: TcpListener,
        tls: Option<ServerTls>,
        stop: impl Future<Output = ()> + Send,
    ) {
        serve::until(&self.inner, listener, tls, stop).await;
    }

    pub fn ca(&self) -> &Ca {
        &self.inner.ca
    }

    pub fn mesh(&self) -> &MeshConfig {
        &self.inner.mesh
    }

    /// What clients refused, oldest first, the last 1,024.
    pub fn nacks(&self) -> Vec<Nack> {
        self.inner.journal.nacks()
    }

    /// Identities that certificates were issued for, oldest first, the last 1,024.
    pub fn signed(&self) -> Vec<String> {
        self.inner.journal.identities()
    }

    /// The node ids of open xDS streams, each with whether its client has answered everything that follows from the
    /// last update.
    pub fn streams(&self) -> Vec<(String, bool)> {
        let generation = self.inner.world.borrow().generation;
        self.inner.journal.streams(generation)
    }

    /// Says once what is not enforced as written, and again only after it was mended.
    fn log(&self, remarks: &[Remark]) {
        let now: BTreeSet<_> = remarks.iter().cloned().collect();
        let mut before = self.inner.remarks.lock();
        for remark in now.difference(&before) {
            tracing::warn!("{remark}");
        }
        *before = now;
    }
}

impl Inner {
    pub(crate) fn inspect<T>(&self, read: impl FnOnce(&Objects) -> T) -> T {
        read(&self.objects.lock())
    }

    /// Whether a call may go on, by the `authorization` header it carries.
    pub(crate) fn admits(&self, authorization: Option<&str>) -> bool {
        let node = self.access.token.as_ref().is_none_or(|wanted| same(wanted, bearer(authorization)));
        node || self.caller(authorization).is_some()
    }

    /// The identity of a caller that is a workload itself.
    pub(crate) fn caller(&self, authorization: Option<&str>) -> Option<&str> {
        let given = bearer(authorization);
        let known = self.access.workloads.iter().find(|(token, _)| same(token, given));
        known.map(|(_, identity)| identity.as_str())
    }
}

fn bearer(authorization: Option<&str>) -> &str {
    authorization.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default()
}

/// Without an early end, so that the time taken does not tell how much of a guess was right.
fn same(wanted: &str, given: &str) -> bool {
    let differences = wanted.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    differences == 0 && wanted.len() == given.len()
}
