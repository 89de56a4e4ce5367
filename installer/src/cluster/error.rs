//! Why the cluster cannot be asked, or refused.

use std::path::PathBuf;

use kube::config::KubeconfigError;

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
            Self::Prepare { .. } => Exit::Failed,
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
            Self::Prepare { .. } => None,
        }
    }
}
