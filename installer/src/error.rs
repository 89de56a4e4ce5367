//! Why a command did not do what was asked: one enum over the commands' own, with the exit code and what to do next.

use crate::render::RenderError;
use crate::render::values::ValuesError;
use crate::{Exit, cluster, docs, inspect, install, status, uninstall, upgrade, why};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be reached, or refused.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// It is not upgraded.
    #[error(transparent)]
    Upgrade(#[from] upgrade::Error),
    /// It is not installed.
    #[error(transparent)]
    Install(#[from] install::Error),
    /// It is not uninstalled.
    #[error(transparent)]
    Uninstall(#[from] uninstall::Error),
    /// There is no status.
    #[error(transparent)]
    Status(#[from] status::Error),
    /// Values cannot be taken as they were given.
    #[error(transparent)]
    Values(#[from] ValuesError),
    /// A chart cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// There is nothing to inspect.
    #[error(transparent)]
    Inspect(#[from] inspect::Error),
    /// Nobody can say why.
    #[error(transparent)]
    Why(#[from] why::Error),
    /// Documentation cannot be written.
    #[error(transparent)]
    Docs(#[from] docs::Error),
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) => error.exit(),
            Self::Upgrade(error) => error.exit(),
            Self::Install(error) => error.exit(),
            Self::Uninstall(error) => error.exit(),
            Self::Status(error) => error.exit(),
            Self::Values(_) => Exit::Usage,
            Self::Render(error) => error.exit(),
            Self::Inspect(error) => error.exit(),
            Self::Why(error) => error.exit(),
            Self::Docs(docs::Error::Write { .. }) => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Upgrade(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::Uninstall(error) => error.hint(),
            Self::Status(error) => error.hint(),
            Self::Inspect(error) => error.hint(),
            Self::Why(error) => error.hint(),
            Self::Values(_) | Self::Render(_) | Self::Docs(_) => None,
        }
    }
}
