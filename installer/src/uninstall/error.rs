//! Why an installation is still there.

use std::time::Duration;

use crate::{Exit, cluster, release, wait};

/// Why an installation is still there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked, or refused.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// What the installation kept cannot be used.
    #[error(transparent)]
    Record(#[from] release::Error),
    /// The installation replaced nothing.
    #[error("there is nothing to put back: the installation replaced nothing")]
    NothingReplaced,
    /// A person said no.
    #[error("nothing was changed: it was not confirmed")]
    NotConfirmed,
    /// There is nobody to ask.
    #[error("nothing was changed: there is no terminal to confirm it on")]
    NobodyToAsk,
    /// Pods are still in the mesh. The proxies still serve them.
    #[error("after {} seconds pods are still in the mesh, and proxies serve them on:{}{}", .after.as_secs(), lines("agent", .agents), lines("pod", .pods))]
    StillCaptured {
        /// How long was waited.
        after: Duration,
        /// Agents that have not ended.
        agents: Vec<String>,
        /// Pods that are in the mesh.
        pods: Vec<String>,
    },
    /// Proxies do not end.
    #[error("after {} seconds proxies still run:{}", .after.as_secs(), lines("pod", .pods))]
    StillRunning {
        /// How long was waited.
        after: Duration,
        /// Which.
        pods: Vec<String>,
    },
    /// What was put back is not ready.
    #[error("what was put back is")]
    Wait(#[from] wait::Error),
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) | Self::Wait(wait::Error::Cluster(error)) => error.exit(),
            Self::NothingReplaced => Exit::Usage,
            Self::NotConfirmed | Self::NobodyToAsk => Exit::Refused,
            Self::StillCaptured { .. }
            | Self::StillRunning { .. }
            | Self::Wait(wait::Error::TimedOut { .. }) => Exit::TimedOut,
            Self::Record(_) => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Cluster(error) | Self::Wait(wait::Error::Cluster(error)) => return error.hint(),
            Self::NothingReplaced => "leave --restore away",
            Self::NobodyToAsk => "say --yes",
            Self::StillCaptured { .. } => {
                "restart those pods, or bring their nodes back, then run `adit uninstall` again: it goes on where it stopped"
            }
            Self::StillRunning { .. } => "run `adit uninstall` again: it goes on where it stopped",
            Self::Wait(wait::Error::TimedOut { .. }) => {
                "`adit status` shows how it goes on; `adit uninstall --restore` again finishes the rest"
            }
            Self::Record(error) => return error.hint(),
            Self::NotConfirmed => return None,
        };
        Some(hint.to_owned())
    }
}

fn lines(what: &str, of: &[String]) -> String {
    let more = of.len().saturating_sub(SHOWN);
    let mut text: String = of.iter().take(SHOWN).map(|one| format!("\n  {what} {one}")).collect();
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

/// More of them help nobody.
const SHOWN: usize = 20;
