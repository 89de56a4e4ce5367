//! The installer beside a running agent: it begins once plugin calls are answered, and at the end the node is kept for the
//! next agent, handed back, or left as it was.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use super::ask::Cluster;
use super::depart::Departure;
use super::give_back::{Stub, give_back};
use super::leave::Heir;
use super::{Installer, State};
use crate::app::Handle;
use crate::config::Install;
use crate::health::{Health, Plugin};
use crate::metrics::Installs;
use crate::probes::{Exemptions, ProbeError};
use crate::redirect::chain;

/// What the agent does with its node from start to end.
#[derive(Clone)]
pub struct Lifecycle {
    pub install: Install,
    /// None where pods are read from files: nobody upgrades or uninstalls such an agent.
    pub cluster: Option<Cluster>,
    pub handle: Handle,
    pub exemptions: Exemptions,
    pub health: Health,
    pub metrics: Installs,
}

impl Lifecycle {
    /// Keeps the plugin installed until `stop`, and health informed. A node where somebody else does that is not touched.
    pub async fn keep(self, stop: CancellationToken) {
        if !self.install.keep {
            return;
        }
        self.health.plugin(Plugin::Wrong("the plugin is not installed yet".to_owned()));
        // A chain with a plugin that nobody answers would only stop pods.
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.synced() => {}
        }
        let (installer, mut states) = Installer::new(&self.install.site, self.metrics.clone());
        let told = async {
            while states.changed().await.is_ok() {
                let plugin = match &*states.borrow_and_update() {
                    State::Ready => Plugin::InPlace,
                    State::Waiting(why) | State::Wrong(why) => Plugin::Wrong(why.clone()),
                    State::Unknown => continue,
                };
                self.health.plugin(plugin);
            }
        };
        tokio::join!(installer.run(stop), told);
    }

    /// What becomes of the node now that the agent has been told to end.
    pub async fn departure(&self) -> Departure {
        if !self.install.keep {
            return Departure::Stay { because: "somebody else installs the plugin".to_owned() };
        }
        if !self.install.safe_upgrade {
            return Departure::Uninstall { because: "AMBIENT_DISABLE_SAFE_UPGRADE asks for it".to_owned() };
        }
        match &self.cluster {
            Some(cluster) => cluster.departure().await,
            None => Departure::Stay { because: "there is no cluster that tells otherwise".to_owned() },
        }
    }

    /// Leaves the host's rules for probes to istio-cni, as far as there is time. The agent must run.
    pub async fn hand_back(&self) {
        let handed = tokio::time::timeout(self.install.within, self.exemptions.hand_back()).await;
        told_of_probes(handed);
    }

    /// Takes every pod out of the mesh, and then the host's rules for their probes away, as far as there is time. The agent
    /// must run.
    pub async fn withdraw(&self) {
        let within = self.install.within;
        let left = self.handle.withdraw(within).await;
        if left.is_empty() {
            tracing::info!("every pod has left the mesh");
        } else {
            let pods = left.join(", ");
            tracing::error!(
                pods,
                ?within,
                "pods are still captured, or said to be: restart them where no proxy stays"
            );
        }
        told_of_probes(tokio::time::timeout(PROBES, self.exemptions.remove_all()).await);
    }

    /// Gives the node back once the agent has ended.
    pub async fn give_back(self, heir: Heir) {
        let Install { site, traces, .. } = self.install;
        let given = tokio::task::spawn_blocking(move || give_back(&site, &traces, heir)).await;
        match given {
            Ok(Ok(Stub::Removed)) => tracing::info!(?heir, "the node is as it was"),
            Ok(Ok(Stub::Kept { attachments })) => tracing::info!(
                ?heir,
                attachments,
                "the node is as it was, but for the plugin's binary: sandboxes may end with a call of it"
            ),
            Ok(Err(errors)) => {
                for error in errors {
                    tracing::error!("the node is not as it was: {}", chain(&error));
                }
            }
            Err(error) => tracing::error!(%error, "the node may not be as it was"),
        }
    }

    /// Waits until pods have been read and plugin calls are decided.
    pub async fn synced(&self) {
        while !self.health.facts().synced {
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn told_of_probes(outcome: Result<Result<(), ProbeError>, Elapsed>) {
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("rules for probes may be left on the host: {}", chain(&error)),
        Err(_) => tracing::error!("rules for probes may be left on the host: it takes too long"),
    }
}

/// For the host's rules alone.
const PROBES: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);
