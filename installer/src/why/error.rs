//! Why nobody can say why.

use crate::{Exit, cluster, inspect};

/// Why nobody can say why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A proxy cannot be asked.
    #[error(transparent)]
    Proxy(#[from] inspect::Error),
    /// The source is not of a form that is known.
    #[error("SOURCE {0:?} is neither a pod, something that has pods, nor an address")]
    Source(String),
    /// The destination is not of a form that is known.
    #[error("DESTINATION {0:?} is neither a service's name, a pod nor an address")]
    Destination(String),
    /// Nobody can tell which port is meant.
    #[error("DESTINATION {0:?} has no port")]
    Port(String),
    /// What is named is not there.
    #[error("{0}")]
    Nobody(String),
    /// No proxy runs.
    #[error("no proxy runs that could be asked")]
    NoProxy,
    /// The proxy does not take the question.
    #[error("{whom}: {why}")]
    Refused {
        /// Who.
        whom: String,
        /// Its words.
        why: String,
    },
    /// The proxy is another, or an older one.
    #[error("{whom} has no /why")]
    TooOld {
        /// Who.
        whom: String,
    },
    /// The proxy answers otherwise.
    #[error("{whom} answers {status}")]
    Status {
        /// Who.
        whom: String,
        /// With what status.
        status: u16,
    },
    /// The answer cannot be read.
    #[error("what {whom} answers is not JSON")]
    NotJson {
        /// Who.
        whom: String,
        /// Where it ends to be.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) => error.exit(),
            Self::Proxy(error) => error.exit(),
            Self::Source(_)
            | Self::Destination(_)
            | Self::Port(_)
            | Self::Nobody(_)
            | Self::Refused { .. } => Exit::Usage,
            Self::NoProxy | Self::TooOld { .. } | Self::Status { .. } | Self::NotJson { .. } => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Proxy(error) => error.hint(),
            Self::Source(_) => Some("for example curl.default, deploy/curl.default or 10.244.1.7".to_owned()),
            Self::Destination(_) => {
                Some("for example web.default:80, pod/web-1.default:8080 or 10.96.0.7:443".to_owned())
            }
            Self::Port(destination) => Some(format!("name it: {destination}:80")),
            Self::NoProxy => Some("`adit status` lists the proxies; -i names their namespace".to_owned()),
            Self::TooOld { .. } => {
                Some("only adit-proxy has it: `adit status` says which proxies run".to_owned())
            }
            Self::Nobody(_) | Self::Refused { .. } | Self::Status { .. } | Self::NotJson { .. } => None,
        }
    }
}
