//! The cluster that the kubeconfig names, and how it is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

mod ask;
mod error;

pub use ask::{Applied, Conflict, How, MANAGER, Selection};
pub use error::Error;

/// A cluster, and what we call it.
#[derive(Clone)]
pub struct Cluster {
    /// Asks its API server.
    pub client: Client,
    /// The kubeconfig's context, or `in-cluster`.
    pub context: String,
    /// Where its API server is.
    pub server: String,
}

impl Cluster {
    /// The cluster of the kubeconfig's context: of the given file, else as kubectl finds one. Nothing is sent yet. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// There is no usable kubeconfig, or it has no such context.
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, Error> {
        let (mut config, context) = configuration(kubeconfig, context).await?;
        config.connect_timeout = Some(CONNECT);
        config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
        let server = config.cluster_url.to_string();
        match Client::try_from(config) {
            Ok(client) => Ok(Self { client, context, server }),
            Err(source) => Err(Error::Prepare { server, source: Box::new(source) }),
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("context", &self.context).field("server", &self.server).finish()
    }
}

async fn configuration(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(Config, String), Error> {
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let read = match read {
        Ok(read) => read,
        // A pod has no kubeconfig, but an account.
        Err(source) => {
            if kubeconfig.is_none()
                && context.is_none()
                && let Ok(config) = Config::incluster()
            {
                return Ok((config, IN_CLUSTER.to_owned()));
            }
            return Err(Error::Kubeconfig { path: kubeconfig.map(PathBuf::from), source: Box::new(source) });
        }
    };
    let name = context.map(str::to_owned).or_else(|| read.current_context.clone());
    let Some(name) = name else {
        return Err(Error::NoContext { known: names(&read) });
    };
    if !names(&read).contains(&name) {
        return Err(Error::UnknownContext { known: names(&read), context: name });
    }
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    match Config::from_custom_kubeconfig(read, &options).await {
        Ok(config) => Ok((config, name)),
        Err(source) => {
            Err(Error::Kubeconfig { path: kubeconfig.map(PathBuf::from), source: Box::new(source) })
        }
    }
}

fn names(kubeconfig: &Kubeconfig) -> Vec<String> {
    kubeconfig.contexts.iter().map(|context| context.name.clone()).collect()
}

const AGENT: &str = concat!("adit/", env!("CARGO_PKG_VERSION"));
const CONNECT: Duration = Duration::from_secs(10);
const IN_CLUSTER: &str = "in-cluster";
