//! Pushes of the control plane: decoded and indexed beside the data path, then published as the next world.

use std::sync::Arc;

use proxy_core::world::{Change, Effects};
use proxy_core::{Str, decode};
use proxy_mtls::Store;
use xds_client::{AdsEvent, Refusal, ResourceUpdate, Sink, TypeUrl, Update};

use crate::live::Live;
use crate::metrics::{Metrics, TerminationLabel, UrlLabel};
use crate::ready::{self, Ready};

#[cfg(test)]
mod tests;

/// Where pushes go.
pub(crate) struct Ingest {
    pub(crate) live: Arc<Live>,
    /// Where certificates are fetched ahead for the node's pods; none when nobody but the process itself is served.
    pub(crate) certificates: Option<Arc<Store>>,
    pub(crate) metrics: Metrics,
    pub(crate) ready: Ready,
    pub(crate) synced: tokio::sync::watch::Sender<bool>,
}

impl Sink for Ingest {
    fn apply(&self, update: Update) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut changes = Vec::with_capacity(update.resources.len() + update.removed.len());
        for resource in update.resources {
            match update.type_url {
                TypeUrl::Address => address(resource, &mut changes, &mut refusals),
                TypeUrl::Authorization => authorization(resource, &mut changes, &mut refusals),
            }
        }
        changes.extend(update.removed.into_iter().map(|name| removal(update.type_url, name.into())));
        self.follow(self.live.apply(changes));
        refusals
    }

    fn event(&self, event: AdsEvent) {
        match event {
            AdsEvent::Message { type_url, bytes } => {
                let label = UrlLabel { url: type_url.as_str().to_owned() };
                self.metrics.xds_messages.get_or_create(&label).inc();
                self.metrics.xds_bytes.get_or_create(&label).inc_by(bytes);
            }
            AdsEvent::Synced => {
                self.ready.done(ready::STATE);
                self.synced.send_replace(true);
            }
            AdsEvent::Terminated(how) => {
                self.metrics.xds_terminations.get_or_create(&TerminationLabel { reason: how.as_str() }).inc();
            }
        }
    }
}

impl Ingest {
    fn follow(&self, effects: Effects) {
        let Some(certificates) = &self.certificates else { return };
        for identity in &effects.wanted {
            certificates.prefetch(identity);
        }
        for identity in &effects.forgotten {
            certificates.forget(identity);
        }
    }
}

fn address(resource: ResourceUpdate, changes: &mut Vec<Change>, refusals: &mut Vec<Refusal>) {
    match decode::address(&resource.name, &resource.value) {
        Ok(change) => changes.push(change),
        Err(error) => refusals.push(Refusal { name: resource.name, why: error.to_string() }),
    }
}

fn authorization(resource: ResourceUpdate, changes: &mut Vec<Change>, refusals: &mut Vec<Refusal>) {
    match decode::authorization(&resource.name, &resource.value) {
        Ok(change) => changes.push(change),
        Err(refused) => {
            // Refused, and still in force as far as it can be: access never widens because of what we cannot read.
            refusals.push(Refusal { name: resource.name, why: refused.error.to_string() });
            changes.push(refused.instead);
        }
    }
}

const fn removal(type_url: TypeUrl, name: Str) -> Change {
    match type_url {
        TypeUrl::Address => Change::RemoveAddress(name),
        TypeUrl::Authorization => Change::RemovePolicy(name),
    }
}
