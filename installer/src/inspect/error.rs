//! Why there is nothing to show.

use std::path::PathBuf;

use crate::{Exit, cluster};

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A file cannot be read.
    #[error("read {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was given for a dump is none.
    #[error("{from} is not JSON")]
    NotJson {
        /// Whose it is.
        from: String,
        /// Where it ends to be.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, and nothing of it is a proxy's.
    #[error("{from} is not a proxy's /config_dump: it has neither workloads nor anything else of one")]
    NotADump {
        /// Whose it is.
        from: String,
    },
    /// No proxy is where one is asked for.
    #[error("{0}")]
    NoProxy(String),
    /// Only one proxy knows what is asked for, and nobody said which.
    #[error("every node has certificates and connections of its own: say which")]
    WhichNode {
        /// The nodes that have proxies.
        nodes: Vec<String>,
    },
    /// A proxy or agent cannot be connected to.
    #[error("connect to {whom}")]
    Connect {
        /// Whom.
        whom: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It does not answer as it should.
    #[error("ask {whom} for {path}: {why}")]
    Answer {
        /// Whom.
        whom: String,
        /// For what.
        path: String,
        /// What came instead.
        why: String,
    },
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) => error.exit(),
            Self::File { .. } | Self::NotJson { .. } | Self::NotADump { .. } | Self::WhichNode { .. } => {
                Exit::Usage
            }
            Self::NoProxy(_) | Self::Connect { .. } | Self::Answer { .. } => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::NotJson { .. } | Self::NotADump { .. } => Some(
                "`kubectl exec` has a proxy write it: curl localhost:15000/config_dump, or use `adit inspect all -o json --node NODE`".to_owned(),
            ),
            Self::WhichNode { nodes } => Some(format!("--node, one of {}", nodes.join(", "))),
            Self::NoProxy(_) => Some("`adit status` lists the proxies and their nodes; -i names their namespace".to_owned()),
            Self::Connect { .. } => {
                Some("is it running, and may you create pods/portforward and pods/exec there? `kubectl auth can-i create pods/portforward -n NAMESPACE`".to_owned())
            }
            Self::File { .. } | Self::Answer { .. } => None,
        }
    }
}
