//! Why an upgrade is not done, or stopped.

use crate::render::values::ValuesError;
use crate::{Exit, cluster, desired, install, release, wait};

/// Why an upgrade is not done, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As for an installation.
    #[error(transparent)]
    Install(#[from] install::Error),
    /// Nothing is installed.
    #[error("nothing is installed by adit in {namespace}")]
    NotInstalled {
        /// Where.
        namespace: String,
    },
    /// There was no upgrade.
    #[error("there is nothing to go back to: no upgrade has changed anything")]
    NothingBefore,
    /// There is no such node.
    #[error("there is no node {canary:?}")]
    NoSuchNode {
        /// The one that was asked for.
        canary: String,
        /// Those that are there.
        nodes: Vec<String>,
    },
    /// A node failed.
    #[error("{component} stopped at {node}: {why}\n  done before it: {}", if .done.is_empty() { "none".to_owned() } else { .done.join(", ") })]
    Stopped {
        /// Of which DaemonSet.
        component: String,
        /// The node.
        node: String,
        /// What is wrong there.
        why: String,
        /// Nodes that were done before.
        done: Vec<String>,
    },
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Install(error) => error.exit(),
            Self::NothingBefore | Self::NoSuchNode { .. } => Exit::Usage,
            Self::NotInstalled { .. } | Self::Stopped { .. } => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Install(error) => error.hint(),
            Self::NotInstalled { .. } => Some("`adit install` installs".to_owned()),
            Self::NothingBefore => None,
            Self::NoSuchNode { nodes, .. } => Some(format!("the nodes are {}", nodes.join(", "))),
            Self::Stopped { .. } => Some(
                "nodes after it run what they ran; `adit upgrade` again goes on once the reason is gone, `adit upgrade --undo` goes back"
                    .to_owned(),
            ),
        }
    }
}

impl From<cluster::Error> for Error {
    fn from(error: cluster::Error) -> Self {
        Self::Install(error.into())
    }
}

impl From<ValuesError> for Error {
    fn from(error: ValuesError) -> Self {
        Self::Install(error.into())
    }
}

impl From<desired::Error> for Error {
    fn from(error: desired::Error) -> Self {
        Self::Install(error.into())
    }
}

impl From<release::Error> for Error {
    fn from(error: release::Error) -> Self {
        Self::Install(error.into())
    }
}

impl From<wait::Error> for Error {
    fn from(error: wait::Error) -> Self {
        Self::Install(error.into())
    }
}
