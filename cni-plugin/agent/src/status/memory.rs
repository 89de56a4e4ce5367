//! Statuses kept in memory, for an agent that tells nobody, and for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::{StatusError, StatusSink};
use crate::model::{Pod, Redirection};

/// Keeps statuses in memory.
#[derive(Debug, Default)]
pub struct InProcess {
    said: Mutex<BTreeMap<PodUid, Redirection>>,
}

impl InProcess {
    /// What was last said of the pod with this UID.
    #[must_use]
    pub fn said(&self, uid: &str) -> Option<Redirection> {
        self.said.lock().get(&PodUid(uid.to_owned())).copied()
    }
}

impl StatusSink for InProcess {
    fn recorded(&self, pod: Arc<Pod>) -> BoxFuture<'_, Result<Option<Redirection>, StatusError>> {
        Box::pin(ready(Ok(self.said(&pod.metadata.uid))))
    }

    fn record(&self, pod: Arc<Pod>, value: Option<Redirection>) -> BoxFuture<'_, Result<(), StatusError>> {
        let uid = PodUid(pod.metadata.uid.clone());
        let mut said = self.said.lock();
        match value {
            Some(value) => said.insert(uid, value),
            None => said.remove(&uid),
        };
        Box::pin(ready(Ok(())))
    }

    fn prune(&self, known: BTreeSet<PodUid>) -> BoxFuture<'_, Result<(), StatusError>> {
        self.said.lock().retain(|uid, _| known.contains(uid));
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;
