//! What is told of a query: its metric labels, and a line of the DNS log.

use proxy_core::dns::{Transport, asked, record_type};
use proxy_core::model::Workload;
use tokio::time::Instant;

use crate::metrics::dns::{DnsLabels, DnsMetrics};
use crate::pod::Pod;

/// One query, as metrics see it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) labels: DnsLabels,
    began: Instant,
}

impl Asked {
    pub(super) fn new(message: &[u8], transport: Transport, source: Option<&Workload>) -> Self {
        let labels = DnsLabels {
            request_query_type: asked(message).map_or("unknown", |asked| record_type(asked.kind)),
            request_protocol: transport.as_str(),
            source_canonical_service: source.map(|workload| &workload.canonical_name).into(),
            source_canonical_revision: source.map(|workload| &workload.canonical_revision).into(),
        };
        Self { labels, began: Instant::now() }
    }

    /// It was passed on, and this came of it.
    pub(super) fn relayed(&self, metrics: &DnsMetrics, answered: bool) {
        metrics.upstream_requests(&self.labels).inc();
        metrics.upstream_duration(&self.labels).observe(self.began.elapsed().as_secs_f64());
        if !answered {
            metrics.upstream_failures(&self.labels).inc();
        }
    }
}

/// Writes a line of the DNS log.
pub(super) fn write(pod: &Pod, message: &[u8], result: &str, endpoints: usize) {
    if !tracing::enabled!(target: "dns", tracing::Level::DEBUG) {
        return;
    }
    let question = asked(message);
    tracing::event!(
        target: "dns",
        tracing::Level::DEBUG,
        src.workload = &*pod.info.name,
        src.namespace = &*pod.info.namespace,
        query = question.map(|asked| record_type(asked.kind).to_ascii_uppercase()),
        domain = question.map(|asked| asked.name.to_string()),
        result,
        endpoints,
    );
}
