//! The one client of the API server, and how patiently it is asked.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::config::{Kubernetes, Server};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("read the kubeconfig {path}")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: KubeconfigError,
    },
    #[error("prepare to talk to the API server at {url}")]
    Prepare {
        url: String,
        #[source]
        source: kube::Error,
    },
}

/// Why an answer of the API server did not come, or is no help.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("ask the API server")]
    Asked(#[source] kube::Error),
    #[error("the API server does not answer within {} seconds", .0.as_secs())]
    Late(Duration),
}

/// A client for the whole process. Nothing is sent yet. Needs a tokio runtime.
///
/// # Errors
/// A file that tells how to reach the API server, or who we are to it, cannot be read or used.
pub async fn client(settings: &Kubernetes) -> Result<Client, ClientError> {
    let mut config = match &settings.server {
        Server::Kubeconfig(path) => kubeconfig(path.clone()).await?,
        Server::InCluster { url, token, ca } => {
            let mut config = Config::new(url.clone());
            // Both files are read again as they are rotated.
            config.auth_info.token_file = Some(token.to_string_lossy().into_owned());
            if url.scheme_str() == Some("https") && !settings.skip_tls_verify {
                config.root_cert_file = Some(ca.clone());
            }
            config
        }
    };
    config.accept_invalid_certs |= settings.skip_tls_verify;
    config.connect_timeout = Some(CONNECT);
    // A watch is never silent for long: there are bookmarks every minute.
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config.write_timeout = Some(ANSWER);
    // Whoever asks decides whether to ask again.
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ClientError::Prepare { url, source })
}

async fn kubeconfig(path: PathBuf) -> Result<Config, ClientError> {
    let read = match Kubeconfig::read_from(&path) {
        Ok(read) => Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await,
        Err(error) => Err(error),
    };
    read.map_err(|source| ClientError::Kubeconfig { path, source })
}

/// Waits for an answer, but not for ever.
///
/// # Errors
/// The API server refuses, cannot be reached, or takes too long.
pub(crate) async fn answer<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(ApiError::Asked),
        Err(_) => Err(ApiError::Late(ANSWER)),
    }
}

impl ApiError {
    /// The HTTP status of a refusal.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Asked(kube::Error::Api(status)) => Some(status.code),
            Self::Asked(_) | Self::Late(_) => None,
        }
    }
}

/// Pauses between attempts that fail: doubling, up to ten seconds, none of them what another agent waits.
#[derive(Debug)]
pub(crate) struct Pace {
    next: Duration,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { next: SHORTEST }
    }

    /// How long to wait after one more failure.
    pub(crate) fn pause(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(LONGEST);
        most.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It worked.
    pub(crate) const fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

const CONNECT: Duration = Duration::from_secs(5);
/// For one request and its answer.
const ANSWER: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(100);
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
