//! The last good resources on disk: whether they serve, and whether they are kept.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Default)]
pub(crate) struct SnapshotMetrics {
    pub(crate) serving: Gauge,
    pub(crate) written: Counter,
    pub(crate) failed: Counter,
}

impl SnapshotMetrics {
    pub(super) fn register(&self, adit: &mut Registry) {
        let snapshot = adit.sub_registry_with_prefix("snapshot");
        snapshot.register(
            "serving",
            "Whether what is known comes from disk, no control plane having answered yet (unstable)",
            self.serving.clone(),
        );
        snapshot.register(
            "writes",
            "The total number of times that the resources were kept on disk (unstable)",
            self.written.clone(),
        );
        snapshot.register(
            "failed_writes",
            "The total number of times that the resources could not be kept on disk (unstable)",
            self.failed.clone(),
        );
    }
}
