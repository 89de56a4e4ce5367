//! Pushes of the control plane: decoded and indexed beside the data path, then published as the next world.

use std::sync::Arc;

use proxy_core::world::{Change, Effects};
use proxy_core::{Str, decode};
use proxy_mtls::Store;
use xds_client::{AdsEvent, Held, Refusal, Report, ResourceUpdate, Sink, TypeUrl, Update};

use crate::live::Live;
use crate::metrics::{Metrics, TerminationLabel, UrlLabel};
use crate::ready::{self, Ready};
use crate::snapshot::{Keeper, Kept, Snapshot};

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
    /// Where the last good resources are kept.
    pub(crate) keeper: Option<Arc<Keeper>>,
}

impl Sink for Ingest {
    fn apply(&self, update: Update) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut changes = Vec::with_capacity(update.resources.len() + update.removed.len());
        for ResourceUpdate { name, version: _, value } in &update.resources {
            decode(update.type_url, name, value, &mut changes, &mut refusals);
        }
        if let Some(keeper) = &self.keeper {
            keeper.note(&update, &refusals);
        }
        changes.extend(update.removed.into_iter().map(|name| removal(update.type_url, name.into())));
        self.follow(self.live.apply(changes));
        if !refusals.is_empty() {
            let label = UrlLabel { url: update.type_url.as_str().to_owned() };
            let refused = u64::try_from(refusals.len()).unwrap_or(u64::MAX);
            self.metrics.xds_refused.get_or_create(&label).inc_by(refused);
        }
        refusals
    }

    fn restore(&self) -> Vec<Held> {
        let Some(keeper) = &self.keeper else {
            return Vec::new();
        };
        match keeper.load() {
            Ok(snapshot) => {
                let note = format!(
                    "serving from the snapshot of {} (Unix time): no control plane answers\n",
                    snapshot.taken
                );
                let held = self.serve(snapshot);
                keeper.serves(true);
                self.ready.note(Some(note));
                self.ready.done(ready::STATE);
                self.synced.send_replace(true);
                held
            }
            Err(error) => {
                tracing::warn!(
                    "no control plane answers, and no snapshot serves instead: {}",
                    Report(&error)
                );
                Vec::new()
            }
        }
    }

    fn event(&self, event: AdsEvent) {
        match event {
            AdsEvent::Message { type_url, bytes } => {
                let label = UrlLabel { url: type_url.as_str().to_owned() };
                self.metrics.xds_messages.get_or_create(&label).inc();
                self.metrics.xds_bytes.get_or_create(&label).inc_by(bytes);
            }
            AdsEvent::Synced => {
                if let Some(keeper) = &self.keeper {
                    keeper.serves(false);
                    self.ready.note(None);
                }
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
    fn serve(&self, snapshot: Snapshot) -> Vec<Held> {
        let Snapshot { context: _, taken, resources } = snapshot;
        let (mut changes, mut refusals) = (Vec::with_capacity(resources.len()), Vec::new());
        let mut held = Vec::with_capacity(resources.len());
        for ((type_url, name), Kept { version, value }) in resources {
            decode(type_url, &name, &value, &mut changes, &mut refusals);
            held.push(Held { type_url, name, version });
        }
        for Refusal { name, why } in refusals {
            tracing::warn!("{name} of the snapshot cannot be read: {why}");
        }
        self.follow(self.live.apply(changes));
        tracing::warn!(
            resources = held.len(),
            taken,
            "no control plane answers: serving from the snapshot until one does"
        );
        held
    }

    /// Applies what was written by hand.
    pub(crate) fn local(&self, changes: Vec<Change>) {
        self.follow(self.live.apply(changes));
    }

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

fn decode(
    type_url: TypeUrl,
    name: &str,
    value: &[u8],
    changes: &mut Vec<Change>,
    refusals: &mut Vec<Refusal>,
) {
    let refusal = |why| Refusal { name: name.to_owned(), why };
    match type_url {
        TypeUrl::Address => match decode::address(name, value) {
            Ok(change) => changes.push(change),
            Err(error) => refusals.push(refusal(error.to_string())),
        },
        TypeUrl::Authorization => match decode::authorization(name, value) {
            Ok(change) => changes.push(change),
            Err(refused) => {
                // Refused, and still in force as far as it can be: access never widens because of what we cannot read.
                refusals.push(refusal(refused.error.to_string()));
                changes.push(refused.instead);
            }
        },
    }
}

const fn removal(type_url: TypeUrl, name: Str) -> Change {
    match type_url {
        TypeUrl::Address => Change::RemoveAddress(name),
        TypeUrl::Authorization => Change::RemovePolicy(name),
    }
}
