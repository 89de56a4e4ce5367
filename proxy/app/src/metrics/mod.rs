//! What Prometheus reads: names, types and label values as ztunnel's dashboards and Kiali expect them.

pub(crate) mod dns;
mod identities;
mod process;
mod scrape;
mod snapshot;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use proxy_mtls::{Revocations, Store};
use tokio::runtime::Handle;

use crate::limits::Limit;
use dns::DnsMetrics;
use identities::Identities;
use process::Process;
use traffic::{Traffic, TrafficCollector};

pub(crate) use scrape::Scrape;
pub(crate) use snapshot::SnapshotMetrics;

/// Every metric of the process. Cheap to clone.
///
/// A family that is not in ztunnel's stable set says `unstable` in its help, as ztunnel's do.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) dns: Arc<DnsMetrics>,
    pub(crate) sockets_open: Family<ReporterLabel, Gauge>,
    pub(crate) xds_terminations: Family<TerminationLabel, Counter>,
    pub(crate) xds_messages: Family<UrlLabel, Counter>,
    pub(crate) xds_bytes: Family<UrlLabel, Counter>,
    /// Resources that could not be read, and were left out.
    pub(crate) xds_refused: Family<UrlLabel, Counter>,
    /// What readiness waits for.
    pub(crate) pending: Family<TaskLabel, Gauge>,
    /// Decisions made without a policy that the workload names.
    pub(crate) unknown_policies: Counter,
    /// Connections in plain text to addresses that are the mesh's and not known.
    pub(crate) unknown_destinations: Counter,
    /// The node agent's connections, by which it proves that pods are captured.
    pub(crate) canaries: Counter,
    limits: Family<LimitLabel, Counter>,
    pub(crate) pods: PodMetrics,
    identities: Identities,
    pub(crate) snapshot: SnapshotMetrics,
}

/// What is told of the process from the start.
#[derive(Debug, Clone)]
pub(crate) struct About<'a> {
    /// The version that `istio_build` names.
    pub(crate) tag: &'a str,
    /// The runtime whose workers carry traffic.
    pub(crate) data_plane: Handle,
    /// Log lines that were left out.
    pub(crate) lines_lost: Counter,
    /// Traffic series at once.
    pub(crate) max_series: usize,
}

/// Pods of this node, by what became of their proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodMetrics {
    pub(crate) active: Gauge,
    pub(crate) pending: Gauge,
    pub(crate) started: Counter,
    pub(crate) stopped: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReporterLabel {
    pub(crate) reporter: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TerminationLabel {
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TaskLabel {
    pub(crate) task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: Limit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UrlLabel {
    pub(crate) url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    component: &'static str,
    tag: String,
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub(crate) fn new(about: About<'_>) -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            traffic: Arc::new(Traffic::of_at_most(about.max_series)),
            dns: Arc::default(),
            sockets_open: Family::default(),
            xds_terminations: Family::default(),
            xds_messages: Family::default(),
            xds_bytes: Family::default(),
            xds_refused: Family::default(),
            pending: Family::default(),
            unknown_policies: Counter::default(),
            unknown_destinations: Counter::default(),
            canaries: Counter::default(),
            limits: Family::default(),
            pods: PodMetrics::default(),
            identities: Identities::default(),
            snapshot: SnapshotMetrics::default(),
        };
        let mut registry = Registry::default();
        let build: Family<BuildLabels, Gauge> = Family::default();
        build.get_or_create(&BuildLabels { component: "ztunnel", tag: about.tag.to_owned() }).set(1);
        registry.sub_registry_with_prefix("istio").register("build", "Istio component build info", build);
        metrics.register_istio(registry.sub_registry_with_prefix("istio"));
        metrics.pods.register(registry.sub_registry_with_prefix("workload_manager"));
        metrics.register_own(registry.sub_registry_with_prefix("adit"), about.lines_lost);
        registry.register_collector(Box::new(metrics.identities.clone()));
        registry.register_collector(Box::new(Process { data_plane: about.data_plane }));
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn register_istio(&self, istio: &mut Registry) {
        istio.register_collector(Box::new(TrafficCollector(Arc::clone(&self.traffic))));
        self.dns.register(istio);
        istio.register(
            "tcp_sockets_open",
            "The number of accepted TCP sockets that are open (unstable)",
            self.sockets_open.clone(),
        );
        istio.register(
            "xds_connection_terminations",
            "The total number of ended xDS streams (unstable)",
            self.xds_terminations.clone(),
        );
        istio.register(
            "xds_message",
            "The total number of xDS messages (unstable)",
            self.xds_messages.clone(),
        );
        istio.register_with_unit(
            "xds_message",
            "The total number of bytes of xDS resources (unstable)",
            Unit::Bytes,
            self.xds_bytes.clone(),
        );
    }

    /// What ztunnel does not count.
    fn register_own(&self, adit: &mut Registry, lines_lost: Counter) {
        adit.register(
            "pending",
            "Whether the proxy waits for this before it is ready, or ready again (unstable)",
            self.pending.clone(),
        );
        adit.register(
            "xds_refused_resources",
            "The total number of resources of the control plane that could not be read (unstable)",
            self.xds_refused.clone(),
        );
        adit.register(
            "unknown_policies",
            "The total number of decisions made without a policy that the workload names (unstable)",
            self.unknown_policies.clone(),
        );
        adit.register(
            "unknown_destinations",
            "The total number of connections that passed to addresses of the mesh that are not known (unstable)",
            self.unknown_destinations.clone(),
        );
        adit.register(
            "canaries",
            "The total number of connections by which the node agent proved that a pod is captured (unstable)",
            self.canaries.clone(),
        );
        self.snapshot.register(adit);
        adit.register(
            "limits_hit",
            "The total number of times that a bound on what peers may cost was reached (unstable)",
            self.limits.clone(),
        );
        adit.register(
            "log_lines_lost",
            "The total number of log lines left out because their reader was too slow (unstable)",
            lines_lost,
        );
        adit.register(
            "series_without_room",
            "The total number of connections counted without their names: all series were taken (unstable)",
            self.traffic.without_room.clone(),
        );
        self.dns.register_own(adit);
    }

    /// From now on the certificates of `store` are counted, and what `revocations` did.
    pub(crate) fn tell_identities(&self, store: &Arc<Store>, revocations: &Arc<Revocations>) {
        self.identities.tell(store, revocations);
    }

    /// The OpenMetrics text of everything.
    ///
    /// # Errors
    /// A metric does not encode, which is a bug.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut body = String::with_capacity(16 * 1024);
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }

    /// Counts a bound that was reached.
    pub(crate) fn hit(&self, limit: Limit) {
        self.limits.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Counts an accepted socket for as long as the guard lives.
    pub(crate) fn socket(&self, reporter: traffic::Reporter) -> OpenSocket {
        let gauge = self.sockets_open.get_or_create(&ReporterLabel { reporter: reporter.as_str() }).clone();
        gauge.inc();
        OpenSocket(gauge)
    }
}

impl PodMetrics {
    fn register(&self, manager: &mut Registry) {
        manager.register(
            "active_proxy_count",
            "The number of pods with a proxy (unstable)",
            self.active.clone(),
        );
        manager.register(
            "pending_proxy_count",
            "The number of pods whose proxy could not start yet (unstable)",
            self.pending.clone(),
        );
        manager.register(
            "proxies_started",
            "The total number of proxies started (unstable)",
            self.started.clone(),
        );
        manager.register(
            "proxies_stopped",
            "The total number of proxies stopped (unstable)",
            self.stopped.clone(),
        );
    }
}

/// One accepted socket, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenSocket(Gauge<i64, AtomicI64>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}
