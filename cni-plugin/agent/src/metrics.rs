//! What Prometheus reads of the agent: istio-cni's families under their names, and what they leave unsaid.
//!
//! Every label's values are an enum here, so that no pod and no peer can make series without bound.

mod labels;
mod probes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HeaderMap};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;

use self::labels::{
    AckErrorLabel, CallLabel, CodeLabel, DegradedLabel, InstallResultLabel, PodStateLabel, ProofLabel,
    ReconciledLabel, StepLabel, TurnedAwayLabel,
};
use crate::http_server::{self, Answer};

pub use self::labels::{
    AckError, Call, Code, Degraded, InstallResult, PodState, Proof, Reconciled, Step, TurnedAway,
};
pub use self::probes::Probes;

/// Every metric of the agent; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    pub installs: Installs,
    pub pods: Pods,
    pub plugin: Plugin,
    pub proxies: Proxies,
    pub probes: Probes,
    reconciled: Family<ReconciledLabel, Counter>,
}

/// The plugin and its configuration on the node.
#[derive(Clone, Debug, Default)]
pub struct Installs {
    done: Family<InstallResultLabel, Counter>,
    ready: Gauge,
    undone: Counter,
    preempted: Counter,
}

/// The pods, and what is done for them.
#[derive(Clone, Debug)]
pub struct Pods {
    states: Family<PodStateLabel, Gauge>,
    degraded: Family<DegradedLabel, Gauge>,
    steps: Family<StepLabel, Histogram, Buckets>,
    failed_steps: Family<StepLabel, Counter>,
    failed_proofs: Family<ProofLabel, Counter>,
    netns_search: Histogram,
    ipv6_left_alone: Counter,
}

/// The plugin's calls.
#[derive(Clone, Debug)]
pub struct Plugin {
    answered: Family<CodeLabel, Counter>,
    duration: Family<CallLabel, Histogram, Buckets>,
    turned_away: Family<TurnedAwayLabel, Counter>,
}

/// The proxies' connections.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    connected: Gauge,
    ack_errors: Family<AckErrorLabel, Counter>,
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            installs: Installs::default(),
            pods: Pods::new(),
            plugin: Plugin::new(),
            proxies: Proxies::default(),
            probes: Probes::default(),
            reconciled: Family::default(),
        };
        let mut registry = Registry::default();
        metrics.installs.register(&mut registry);
        metrics.plugin.register(&mut registry);
        metrics.proxies.register(&mut registry);
        registry.register(
            "nodeagent_reconcile_events",
            "The total number of changes of pods that were looked at.",
            metrics.reconciled.clone(),
        );
        metrics.probes.register(registry.sub_registry_with_prefix(PREFIX));
        metrics.pods.register(registry.sub_registry_with_prefix(PREFIX));
        metrics.registry = Arc::new(registry);
        metrics
    }

    pub fn reconciled(&self, what: Reconciled) {
        self.reconciled.get_or_create(&what.label()).inc();
    }

    /// The text of all families.
    ///
    /// # Errors
    /// A family does not encode.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut body = String::new();
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }

    /// Answers scrapes until the task is dropped.
    pub async fn serve(self, listener: TcpListener) {
        http_server::serve(listener, move |request: Request<Incoming>| {
            std::future::ready(self.answer(request.method(), request.uri().path(), request.headers()))
        })
        .await;
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
        if method != Method::GET || !matches!(path, "/metrics" | "/stats/prometheus") {
            return http_server::text(StatusCode::NOT_FOUND, "only GET /metrics is served\n");
        }
        match self.encode() {
            Ok(body) => http_server::typed(StatusCode::OK, content_type(headers), body),
            Err(_) => http_server::text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics do not encode\n"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Installs {
    pub fn ended(&self, result: InstallResult) {
        self.done.get_or_create(&result.label()).inc();
    }

    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Somebody took out what we had put in.
    pub fn undone(&self) {
        self.undone.inc();
    }

    /// A file came to be loaded before the one with our plugin.
    pub fn preempted(&self) {
        self.preempted.inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "adit_agent_installs_undone",
            "How often another program took the plugin out of the node's network configuration.",
            self.undone.clone(),
        );
        registry.register(
            "adit_agent_installs_preempted",
            "How often a network configuration came to be loaded before the one with the plugin.",
            self.preempted.clone(),
        );
        registry.register(
            "istio_cni_installs",
            "The total number of installations of the plugin, by how they ended.",
            self.done.clone(),
        );
        registry.register(
            "istio_cni_install_ready",
            "Whether the plugin and its configuration are in place.",
            self.ready.clone(),
        );
    }
}

impl Pods {
    fn new() -> Self {
        Self {
            states: Family::default(),
            degraded: Family::default(),
            steps: Family::new_with_constructor(Buckets),
            failed_steps: Family::default(),
            failed_proofs: Family::default(),
            netns_search: Buckets.new_metric(),
            ipv6_left_alone: Counter::default(),
        }
    }

    /// How many pods of the node stand there now.
    pub fn count(&self, state: PodState, pods: usize) {
        self.states.get_or_create(&state.label()).set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    /// Whether a person should look at this.
    pub fn degraded(&self, why: Degraded, holds: bool) {
        self.degraded.get_or_create(&why.label()).set(i64::from(holds));
    }

    /// A step for one pod ended after this time.
    pub fn step(&self, step: Step, took: Duration, succeeded: bool) {
        let label = step.label();
        self.steps.get_or_create(&label).observe(took.as_secs_f64());
        if !succeeded {
            self.failed_steps.get_or_create(&label).inc();
        }
    }

    pub fn failed_proof(&self, kind: Proof) {
        self.failed_proofs.get_or_create(&kind.label()).inc();
    }

    /// One search through all processes took this time.
    pub fn searched(&self, took: Duration) {
        self.netns_search.observe(took.as_secs_f64());
    }

    /// A pod that has IPv6 addresses got rules for IPv4 alone.
    pub fn ipv6_left_alone(&self) {
        self.ipv6_left_alone.inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("pods", "Pods of this node that the mesh selects, by state.", self.states.clone());
        registry.register(
            "degraded",
            "Whether something wants a person although the node is ready, by what it is.",
            self.degraded.clone(),
        );
        registry.register_with_unit(
            "step_duration",
            "How long each step of enrolling or withdrawing a pod took.",
            Unit::Seconds,
            self.steps.clone(),
        );
        registry.register(
            "failed_steps",
            "The total number of steps for a pod that failed and are tried again.",
            self.failed_steps.clone(),
        );
        registry.register(
            "failed_proofs",
            "The total number of measurements that found an enrolled pod unprotected, by what was wrong.",
            self.failed_proofs.clone(),
        );
        registry.register_with_unit(
            "netns_search_duration",
            "How long a search of all processes for the pods' network namespaces took.",
            Unit::Seconds,
            self.netns_search.clone(),
        );
        registry.register(
            "ipv6_left_alone",
            "How often a pod with IPv6 addresses got rules for IPv4 alone, as the node cannot load others.",
            self.ipv6_left_alone.clone(),
        );
    }
}

impl Plugin {
    fn new() -> Self {
        Self {
            answered: Family::default(),
            duration: Family::new_with_constructor(Buckets),
            turned_away: Family::default(),
        }
    }

    /// A call was answered so, this long after it came.
    pub fn answered(&self, call: Call, code: Code, took: Duration) {
        self.duration.get_or_create(&call.label()).observe(took.as_secs_f64());
        // istio-cni's plugin makes no other calls, and its dashboards mean pods that start.
        if call == Call::Add {
            self.answered.get_or_create(&code.label()).inc();
        }
    }

    pub fn malformed(&self) {
        self.answered.get_or_create(&Code::Malformed.label()).inc();
    }

    pub fn turned_away(&self, why: TurnedAway) {
        self.turned_away.get_or_create(&why.label()).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "istio_cni_plugin_requests",
            "The total number of pods whose start the plugin asked for, by answer.",
            self.answered.clone(),
        );
        let own = registry.sub_registry_with_prefix(PREFIX);
        own.register_with_unit(
            "plugin_call_duration",
            "How long a plugin waited for its answer.",
            Unit::Seconds,
            self.duration.clone(),
        );
        own.register(
            "plugin_calls_turned_away",
            "The total number of connections to the plugin's socket that were closed without an answer.",
            self.turned_away.clone(),
        );
    }
}

impl Proxies {
    pub fn connected(&self, proxies: usize) {
        self.connected.set(i64::try_from(proxies).unwrap_or(i64::MAX));
    }

    pub fn ack_error(&self, why: AckError) {
        self.ack_errors.get_or_create(&why.label()).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("ztunnel_connected", "Connected proxies.", self.connected.clone());
        registry.sub_registry_with_prefix(PREFIX).register(
            "ack_errors",
            "The total number of requests to a proxy that it refused or did not answer.",
            self.ack_errors.clone(),
        );
    }
}

/// From a cached search to a plugin call's deadline.
#[derive(Clone, Copy, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
    }
}

/// The body is the same: `OpenMetrics` text is what parsers of the plain format read too. Prometheus 3 scrapes nothing
/// whose type it does not know.
fn content_type(headers: &HeaderMap) -> &'static str {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accepts.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let weightless = |part: &str| part.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0);
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"))
            && !parts.any(weightless)
    });
    if open { OPEN_METRICS } else { PLAIN }
}

/// Of the families that istio-cni has none of.
const PREFIX: &str = "adit_agent";
const OPEN_METRICS: &str = "application/openmetrics-text;charset=utf-8;version=1.0.0";
const PLAIN: &str = "text/plain; charset=utf-8; version=0.0.4";

#[cfg(test)]
mod tests;
