//! The DNS families: what pods asked, what was passed on, how long that took, and names that connections needed.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::AtomicI64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use proxy_core::model::Workload;

use super::traffic::Known;

/// The labels of a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DnsLabels {
    pub(crate) request_query_type: &'static str,
    pub(crate) request_protocol: &'static str,
    pub(crate) source_canonical_service: Known,
    pub(crate) source_canonical_revision: Known,
}

/// The labels of a name that a connection needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OnDemandLabels {
    source_workload: Known,
    source_canonical_service: Known,
    source_canonical_revision: Known,
    source_workload_namespace: Known,
    source_principal: Known,
    source_app: Known,
    source_version: Known,
    source_cluster: Known,
    hostname: Known,
}

impl OnDemandLabels {
    pub(crate) fn new(source: &Workload, hostname: &str) -> Self {
        Self {
            source_workload: (&source.workload_name).into(),
            source_canonical_service: (&source.canonical_name).into(),
            source_canonical_revision: (&source.canonical_revision).into(),
            source_workload_namespace: (&source.namespace).into(),
            source_principal: source.identity().to_string().into(),
            source_app: (&source.canonical_name).into(),
            source_version: (&source.canonical_revision).into(),
            source_cluster: (&source.cluster_id).into(),
            hostname: hostname.to_owned().into(),
        }
    }
}

/// Everything that is counted of DNS.
#[derive(Debug, Default)]
pub(crate) struct DnsMetrics {
    requests: Aging<DnsLabels, Counter>,
    upstream_requests: Aging<DnsLabels, Counter>,
    upstream_failures: Aging<DnsLabels, Counter>,
    upstream_duration: Aging<DnsLabels, Histogram, Buckets>,
    on_demand: Aging<OnDemandLabels, Counter>,
    /// Pods whose DNS cannot be listened for.
    without_listener: Gauge,
}

impl DnsMetrics {
    pub(crate) fn requests(&self, labels: &DnsLabels) -> Counter {
        self.requests.of(labels)
    }

    pub(crate) fn upstream_requests(&self, labels: &DnsLabels) -> Counter {
        self.upstream_requests.of(labels)
    }

    pub(crate) fn upstream_failures(&self, labels: &DnsLabels) -> Counter {
        self.upstream_failures.of(labels)
    }

    pub(crate) fn upstream_duration(&self, labels: &DnsLabels) -> Histogram {
        self.upstream_duration.of(labels)
    }

    pub(crate) fn on_demand(&self, labels: &OnDemandLabels) -> Counter {
        self.on_demand.of(labels)
    }

    /// Counts a pod for as long as the guard lives.
    pub(crate) fn without_listener(&self) -> Unserved {
        self.without_listener.inc();
        Unserved(self.without_listener.clone())
    }

    /// Drops every series whose source is gone, some sweeps after that.
    pub(crate) fn sweep(&self, sweeps: u32, lives: impl Fn(&Known) -> bool) {
        for family in [&self.requests, &self.upstream_requests, &self.upstream_failures] {
            family.sweep(sweeps, |labels| lives(&labels.source_canonical_service));
        }
        self.upstream_duration.sweep(sweeps, |labels| lives(&labels.source_canonical_service));
        self.on_demand.sweep(sweeps, |labels| lives(&labels.source_canonical_service));
    }

    pub(super) fn register_own(&self, adit: &mut Registry) {
        adit.register(
            "dns_pods_without_listener",
            "The number of pods whose DNS could not be listened for and that resolve without the mesh (unstable)",
            self.without_listener.clone(),
        );
    }

    pub(super) fn register(&self, istio: &mut Registry) {
        istio.register(
            "dns_requests",
            "Total number of DNS requests (unstable)",
            self.requests.family.clone(),
        );
        istio.register(
            "dns_upstream_requests",
            "Total number of DNS requests passed on to upstream (unstable)",
            self.upstream_requests.family.clone(),
        );
        istio.register(
            "dns_upstream_failures",
            "Total number of DNS requests that upstream did not answer (unstable)",
            self.upstream_failures.family.clone(),
        );
        istio.register_with_unit(
            "dns_upstream_request_duration",
            "Total time in seconds from a DNS request to its response from upstream (unstable)",
            Unit::Seconds,
            self.upstream_duration.family.clone(),
        );
        istio.register(
            "on_demand_dns",
            "Total number of names resolved for a connection (unstable)",
            self.on_demand.family.clone(),
        );
    }
}

/// One pod without DNS, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Unserved(Gauge<i64, AtomicI64>);

impl Drop for Unserved {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Histograms with ztunnel's buckets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.0005, 0.001, 0.01, 0.1, 1.0, 5.0])
    }
}

/// A family whose series end with what they are about.
#[derive(Debug)]
struct Aging<L: Hash + Eq, M, C = fn() -> M> {
    family: Family<L, M, C>,
    /// How many sweeps found the source of each series gone.
    gone: Mutex<HashMap<L, u32>>,
}

impl<L, M> Default for Aging<L, M>
where
    L: Clone + Hash + Eq,
    M: Default,
{
    fn default() -> Self {
        Self { family: Family::default(), gone: Mutex::default() }
    }
}

impl<L> Default for Aging<L, Histogram, Buckets>
where
    L: Clone + Hash + Eq,
{
    fn default() -> Self {
        Self { family: Family::new_with_constructor(Buckets), gone: Mutex::default() }
    }
}

impl<L, M, C> Aging<L, M, C>
where
    L: Clone + Hash + Eq,
    M: Clone,
    C: MetricConstructor<M>,
{
    fn of(&self, labels: &L) -> M {
        if let Some(known) = self.family.get(labels) {
            return known.clone();
        }
        self.gone.lock().insert(labels.clone(), 0);
        self.family.get_or_create_owned(labels)
    }

    fn sweep(&self, sweeps: u32, lives: impl Fn(&L) -> bool) {
        self.gone.lock().retain(|labels, gone| {
            *gone = if lives(labels) { 0 } else { gone.saturating_add(1) };
            let keep = *gone < sweeps;
            if !keep {
                self.family.remove(labels);
            }
            keep
        });
    }
}
