//! Where pods and namespaces come from: the seam, and the sources behind it.

mod directory;
mod documents;
mod feed;
mod kubernetes;

use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::model::{Namespace, Pod};

pub use directory::Directory;
pub use documents::DocumentError;
pub use feed::{Feed, FeedSource};
pub use kubernetes::{Kubernetes, Lookups};

/// One thing that became different in the source.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    NamespaceSeen(Namespace),
    NamespaceGone(String),
    /// New, or different from before. Its UID is never empty.
    PodSeen(Arc<Pod>),
    PodGone(PodUid),
    /// Everything that was there in the beginning has been told. Said once.
    Synced,
}

/// Tells all pods and namespaces, then how they change. Pods of other nodes may be among them.
pub trait PodSource: Send + 'static {
    /// Runs until `changes` has no receiver any more, or the source has no more to say.
    fn run(self: Box<Self>, changes: mpsc::Sender<Change>) -> BoxFuture<'static, ()>;
}
