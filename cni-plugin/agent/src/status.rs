//! Where the control plane reads whether a pod is captured: the seam and the sinks behind it.

mod directory;
mod kubernetes;
mod memory;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::BoxFuture;

use crate::kubernetes::ApiError;
use crate::model::{Pod, Redirection};

pub use directory::Directory;
pub use kubernetes::Kubernetes;
pub use memory::InProcess;

/// Receives the redirection annotation of each pod.
pub trait StatusSink: Send + Sync + 'static {
    /// What the sink last said of the pod, besides the pod's own annotation.
    ///
    /// # Errors
    /// It cannot be read.
    fn recorded(&self, pod: Arc<Pod>) -> BoxFuture<'_, Result<Option<Redirection>, StatusError>>;

    /// Says it; `None` takes it back, also when nothing had been said. Another pod's word, one of the same name with
    /// another UID, is never taken back.
    ///
    /// # Errors
    /// It cannot be written.
    fn record(&self, pod: Arc<Pod>, value: Option<Redirection>) -> BoxFuture<'_, Result<(), StatusError>>;

    /// Takes back what was said of pods other than `known`.
    ///
    /// # Errors
    /// It cannot be read or written.
    fn prune(&self, known: BTreeSet<PodUid>) -> BoxFuture<'_, Result<(), StatusError>>;
}

/// Why a status could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("{attempt} {path}")]
    Io {
        attempt: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not a status that this agent wrote")]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("annotate pod {pod}")]
    Api {
        pod: String,
        #[source]
        source: ApiError,
    },
    #[error("pod {pod} does not exist any more")]
    Gone { pod: String },
    /// The task that would have done it panicked, or the process ends.
    #[error("use the statuses")]
    Task(#[source] tokio::task::JoinError),
}
