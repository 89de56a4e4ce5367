//! What Prometheus reads: names, types and label values as ztunnel's dashboards and Kiali expect them.

#[cfg(test)]
mod tests;
pub(crate) mod traffic;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use traffic::{Traffic, TrafficCollector};

/// Every metric of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) sockets_open: Family<ReporterLabel, Gauge>,
    pub(crate) xds_terminations: Family<TerminationLabel, Counter>,
    pub(crate) xds_messages: Family<UrlLabel, Counter>,
    pub(crate) xds_bytes: Family<UrlLabel, Counter>,
    /// Decisions made without a policy that the workload names.
    pub(crate) unknown_policies: Counter,
    pub(crate) pods: PodMetrics,
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
pub(crate) struct UrlLabel {
    pub(crate) url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    component: &'static str,
    tag: String,
}

impl Metrics {
    /// Registers everything. `data_plane` is the runtime whose workers carry traffic.
    #[must_use]
    pub(crate) fn new(tag: &str, data_plane: Handle) -> Self {
        let traffic = Arc::new(Traffic::default());
        let mut metrics = Self {
            registry: Arc::default(),
            traffic: Arc::clone(&traffic),
            sockets_open: Family::default(),
            xds_terminations: Family::default(),
            xds_messages: Family::default(),
            xds_bytes: Family::default(),
            unknown_policies: Counter::default(),
            pods: PodMetrics::default(),
        };
        let mut registry = Registry::default();
        let build: Family<BuildLabels, Gauge> = Family::default();
        build.get_or_create(&BuildLabels { component: "ztunnel", tag: tag.to_owned() }).set(1);
        let istio = registry.sub_registry_with_prefix("istio");
        istio.register("build", "Istio component build info", build);
        istio.register_collector(Box::new(TrafficCollector(traffic)));
        istio.register(
            "tcp_sockets_open",
            "The number of accepted TCP sockets that are open (unstable)",
            metrics.sockets_open.clone(),
        );
        istio.register(
            "xds_connection_terminations",
            "The total number of ended xDS streams (unstable)",
            metrics.xds_terminations.clone(),
        );
        istio.register(
            "xds_message",
            "The total number of xDS messages (unstable)",
            metrics.xds_messages.clone(),
        );
        istio.register(
            "xds_message_bytes",
            "The total number of bytes of xDS resources (unstable)",
            metrics.xds_bytes.clone(),
        );
        registry.register(
            "adit_unknown_policies",
            "The total number of decisions made without a policy that the workload names (unstable)",
            metrics.unknown_policies.clone(),
        );
        register_pods(&mut registry, &metrics.pods);
        registry.register_collector(Box::new(Process { data_plane }));
        metrics.registry = Arc::new(registry);
        metrics
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

    /// Counts an accepted socket for as long as the guard lives.
    pub(crate) fn socket(&self, reporter: traffic::Reporter) -> OpenSocket {
        let gauge = self.sockets_open.get_or_create(&ReporterLabel { reporter: reporter.as_str() }).clone();
        gauge.inc();
        OpenSocket(gauge)
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

fn register_pods(registry: &mut Registry, pods: &PodMetrics) {
    let manager = registry.sub_registry_with_prefix("workload_manager");
    manager.register("active_proxy_count", "The number of pods with a proxy (unstable)", pods.active.clone());
    manager.register(
        "pending_proxy_count",
        "The number of pods whose proxy could not start yet (unstable)",
        pods.pending.clone(),
    );
    manager.register(
        "proxies_started",
        "The total number of proxies started (unstable)",
        pods.started.clone(),
    );
    manager.register(
        "proxies_stopped",
        "The total number of proxies stopped (unstable)",
        pods.stopped.clone(),
    );
}

/// Descriptors and runtime, read when they are asked for.
#[derive(Debug)]
struct Process {
    data_plane: Handle,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let max =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(0, |(s, _)| s);
        let runtime = self.data_plane.metrics();
        let gauges = [
            ("process_open_fds", "Number of open file descriptors", signed(open)),
            (
                "process_max_fds",
                "Maximum number of open file descriptors",
                i64::try_from(max).unwrap_or(i64::MAX),
            ),
            ("tokio_num_workers", "Worker threads of the data plane", signed(runtime.num_workers())),
            (
                "tokio_global_queue_depth",
                "Tasks waiting for any worker",
                signed(runtime.global_queue_depth()),
            ),
            ("tokio_num_alive_tasks", "Tasks of the data plane", signed(runtime.num_alive_tasks())),
        ];
        for (name, help, value) in gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let workers = 0..runtime.num_workers();
        let mut busy = encoder.encode_descriptor(
            "tokio_worker_total_busy_duration_seconds",
            "Time a worker was busy",
            None,
            MetricType::Counter,
        )?;
        for worker in workers.clone() {
            let seconds = runtime.worker_total_busy_duration(worker).as_secs_f64();
            ConstCounter::new(seconds).encode(busy.encode_family(&[("worker", worker.to_string())])?)?;
        }
        let mut parks = encoder.encode_descriptor(
            "tokio_worker_park_count",
            "Times a worker parked",
            None,
            MetricType::Counter,
        )?;
        for worker in workers.clone() {
            let count = runtime.worker_park_count(worker);
            ConstCounter::new(count).encode(parks.encode_family(&[("worker", worker.to_string())])?)?;
        }
        let mut unparks = encoder.encode_descriptor(
            "tokio_worker_park_unpark_count",
            "Times a worker parked or unparked",
            None,
            MetricType::Counter,
        )?;
        for worker in workers {
            let count = runtime.worker_park_unpark_count(worker);
            ConstCounter::new(count).encode(unparks.encode_family(&[("worker", worker.to_string())])?)?;
        }
        Ok(())
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
