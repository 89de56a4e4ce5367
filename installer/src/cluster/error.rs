//! Why the cluster cannot be asked, or refused.

use std::path::PathBuf;

use kube::config::KubeconfigError;
use kube::core::Status;

use crate::Exit;

/// Why the cluster cannot be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kubeconfig cannot be read or used.
    #[error("read the kubeconfig{}", .path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Kubeconfig {
        /// The file that was asked for, if one was.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The kubeconfig names no context to use.
    #[error("the kubeconfig has no current context")]
    NoContext {
        /// Those it has.
        known: Vec<String>,
    },
    /// The kubeconfig has no context of that name.
    #[error("the kubeconfig has no context {context:?}")]
    UnknownContext {
        /// The name.
        context: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// A request cannot be written.
    #[error("{attempt}")]
    BadRequest {
        /// What was attempted.
        attempt: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// The API server answered with an error.
    #[error("{attempt}: {}", refusal(.status))]
    Refused {
        /// What was attempted.
        attempt: String,
        /// What it answered.
        status: Box<Status>,
    },
    /// There was no answer.
    #[error("{attempt}: the API server at {server} cannot be reached")]
    Unreachable {
        /// What was attempted.
        attempt: String,
        /// Where it should be.
        server: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There was no answer in time.
    #[error("{attempt}: the API server does not answer within {seconds} seconds")]
    Late {
        /// What was attempted.
        attempt: String,
        /// How long was waited.
        seconds: u64,
    },
    /// What the kubeconfig says cannot be used to connect.
    #[error("prepare to talk to the API server at {server}")]
    Prepare {
        /// Where it is.
        server: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Kubeconfig { .. } | Self::NoContext { .. } | Self::UnknownContext { .. } => Exit::Usage,
            Self::Prepare { .. }
            | Self::BadRequest { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Late { .. } => Exit::Failed,
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.code),
            Self::Kubeconfig { .. }
            | Self::NoContext { .. }
            | Self::UnknownContext { .. }
            | Self::Prepare { .. }
            | Self::BadRequest { .. }
            | Self::Unreachable { .. }
            | Self::Late { .. } => None,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kubeconfig { .. } => Some(
                "name one with --kubeconfig FILE or $KUBECONFIG; `kind export kubeconfig --name NAME` writes that of a kind cluster"
                    .to_owned(),
            ),
            Self::NoContext { known } | Self::UnknownContext { known, .. } if known.is_empty() => None,
            Self::NoContext { known } | Self::UnknownContext { known, .. } => {
                Some(format!("choose one with --context: {}", known.join(", ")))
            }
            Self::Refused { status, .. } if status.code == 401 => {
                Some("the kubeconfig's credentials are refused: they may have expired".to_owned())
            }
            Self::Refused { status, .. } if status.code == 403 => {
                Some("ask whoever runs the cluster for that right, or use a context that has it".to_owned())
            }
            Self::Unreachable { .. } | Self::Late { .. } => {
                Some("is the cluster running, and is this the context you mean? `kubectl config current-context`".to_owned())
            }
            Self::Prepare { .. } | Self::BadRequest { .. } | Self::Refused { .. } => None,
        }
    }
}

/// What the server says; some of its answers have only a code.
fn refusal(status: &Status) -> String {
    if status.message.is_empty() {
        format!("the API server answers {}", status.code)
    } else {
        status.message.clone()
    }
}
