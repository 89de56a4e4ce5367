//! A source that another part of the same process feeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{Change, PodSource};
use crate::model::{Labels, Metadata, Namespace, Pod};

/// The end that is fed. The source ends when all clones of it are gone.
#[derive(Clone, Debug)]
pub struct Feed(mpsc::UnboundedSender<Change>);

/// The end that the agent reads.
#[derive(Debug)]
pub struct FeedSource(mpsc::UnboundedReceiver<Change>);

impl Feed {
    /// Both ends. Nothing is known and [`Feed::synced`] has not been said.
    #[must_use]
    pub fn new() -> (Self, FeedSource) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), FeedSource(receiver))
    }

    /// Adds a pod or replaces what was known of it.
    pub fn pod(&self, mut pod: Pod) {
        pod.ensure_uid();
        self.say(Change::PodSeen(Arc::new(pod)));
    }

    pub fn remove_pod(&self, uid: &str) {
        self.say(Change::PodGone(PodUid(uid.to_owned())));
    }

    /// Adds a namespace or replaces its labels.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: Labels =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata =
            Metadata { name: name.to_owned(), labels, annotations: BTreeMap::new(), ..Metadata::default() };
        self.say(Change::NamespaceSeen(Namespace { metadata }));
    }

    pub fn remove_namespace(&self, name: &str) {
        self.say(Change::NamespaceGone(name.to_owned()));
    }

    /// Says that what was told so far is everything there was in the beginning.
    pub fn synced(&self) {
        self.say(Change::Synced);
    }

    /// An agent that ended needs no more to be told.
    fn say(&self, change: Change) {
        let _ = self.0.send(change);
    }
}

impl PodSource for FeedSource {
    fn run(mut self: Box<Self>, changes: mpsc::Sender<Change>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(change) = self.0.recv().await {
                if changes.send(change).await.is_err() {
                    return;
                }
            }
        })
    }
}
