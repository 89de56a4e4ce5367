//! What becomes of a pod, told to whoever asks why it is not in the mesh: the seam, and the log behind it.

mod book;
mod kubernetes;

use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::book::{Book, Told};
use crate::model::Pod;

pub use kubernetes::{Kubernetes, Writer};

/// Something about a pod that its owner wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is selected and could not be enrolled; it is tried again.
    NotEnrolled { why: String },
    /// It is enrolled.
    Enrolled,
    /// It lives on and is not enrolled any more, as was wanted.
    Withdrawn,
}

/// Receives reports as they happen, however often: it is the reporter that leaves out what was told already, and that
/// never tells more of one pod than a person would read.
pub trait Reporter: Send + Sync + 'static {
    /// Takes a report. Does not block, and loses a report rather than wait.
    fn report(&self, pod: &Arc<Pod>, report: Report);
}

/// Reports go to the log.
#[derive(Debug, Default)]
pub struct Log(Mutex<Book>);

impl Reporter for Log {
    fn report(&self, pod: &Arc<Pod>, report: Report) {
        let uid = PodUid(pod.metadata.uid.clone());
        if let Some(told) = self.0.lock().take(&uid, report, Instant::now()) {
            told.log(pod);
        }
    }
}

impl Told {
    fn log(&self, pod: &Pod) {
        let pod = pod.full_name();
        match self {
            Self::NotEnrolled { why, times } => {
                tracing::warn!(pod, why, times, "a pod cannot be enrolled; it is tried again");
            }
            Self::Recovered => tracing::info!(pod, "a pod that could not be enrolled is enrolled now"),
            Self::Withdrawn => tracing::info!(pod, "a pod was taken out of the mesh"),
        }
    }
}
