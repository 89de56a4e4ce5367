//! Certificates of this node and revoked ones of its peers, read when they are asked for.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use proxy_mtls::{Revocations, Store};

use super::traffic::Reporter;

/// Where the numbers come from, once that is known. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Identities(Arc<OnceLock<(Arc<Store>, Arc<Revocations>)>>);

impl Identities {
    /// The first call decides.
    pub(super) fn tell(&self, store: &Arc<Store>, revocations: &Arc<Revocations>) {
        self.0.get_or_init(|| (Arc::clone(store), Arc::clone(revocations)));
    }
}

impl Collector for Identities {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some((store, revocations)) = self.0.get() else { return Ok(()) };
        certificates(&mut encoder, store)?;
        revoked(&mut encoder, revocations)
    }
}

fn certificates(encoder: &mut DescriptorEncoder<'_>, store: &Store) -> fmt::Result {
    let census = store.census();
    let mut states = encoder.encode_descriptor(
        "adit_certificates",
        "The number of identities by the state of their certificate; overdue is past three quarters of its life \
         (unstable).",
        None,
        MetricType::Gauge,
    )?;
    for (state, count) in [
        ("available", census.available),
        ("overdue", census.overdue),
        ("expired", census.expired),
        ("initializing", census.initializing),
        ("unavailable", census.unavailable),
    ] {
        ConstGauge::new(signed(count)).encode(states.encode_family(&[("state", state)])?)?;
    }
    if let Some(end) = census.first_end {
        let first = encoder.encode_descriptor(
            "adit_certificate_first_expiry_timestamp_seconds",
            "When the first of the certificates in use expires, since the Unix epoch (unstable).",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(signed(end.as_secs())).encode(first)?;
    }
    counter(
        encoder,
        "adit_certificate_failures",
        "The total number of requests for a certificate that brought none (unstable).",
        census.failures,
    )
}

fn revoked(encoder: &mut DescriptorEncoder<'_>, revocations: &Revocations) -> fmt::Result {
    let counts = revocations.counts();
    for (name, help, count) in [
        (
            "istio_crl_policy_rejections",
            "The total number of connections refused or ended for a revoked certificate (unstable).",
            counts.revoked,
        ),
        (
            "istio_crl_untracked_connections",
            "The total number of connections that a later revocation list cannot end (unstable).",
            counts.untracked,
        ),
        (
            "adit_crl_unchecked_peers",
            "The total number of peers let in while CRL_PATH could not be read (unstable).",
            counts.unchecked,
        ),
    ] {
        let [inbound, outbound] = count;
        let sides = [(Reporter::Destination, inbound), (Reporter::Source, outbound)];
        // As with ztunnel, a family appears with its first event.
        if sides.iter().all(|(_, count)| *count == 0) {
            continue;
        }
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reporter, count) in sides.into_iter().filter(|(_, count)| *count > 0) {
            ConstCounter::new(count).encode(family.encode_family(&[("reporter", reporter.as_str())])?)?;
        }
    }
    let lists = encoder.encode_descriptor(
        "adit_crl_lists",
        "The number of revocation lists in force (unstable).",
        None,
        MetricType::Gauge,
    )?;
    ConstGauge::new(i64::try_from(counts.lists).unwrap_or(i64::MAX)).encode(lists)?;
    counter(
        encoder,
        "adit_crl_refused_files",
        "The total number of versions of CRL_PATH that could not be used (unstable).",
        counts.refused_files,
    )
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
