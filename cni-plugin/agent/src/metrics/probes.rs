//! What is counted of the kubelet's probes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The host's probe rules.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    exempted: Gauge,
    failures: Counter,
}

impl Probes {
    /// So many addresses with ports are in the kernel.
    pub fn exempted(&self, targets: usize) {
        self.exempted.set(i64::try_from(targets).unwrap_or(i64::MAX));
    }

    pub fn failed(&self) {
        self.failures.inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "probe_exemptions",
            "Addresses with ports that the kubelet probes past the proxies.",
            self.exempted.clone(),
        );
        registry.register(
            "probe_exemption_failures",
            "The total number of times that the host's probe rules could not be brought to what pods declare.",
            self.failures.clone(),
        );
    }
}
