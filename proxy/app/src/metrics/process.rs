//! Descriptors and the data plane's runtime, read when they are asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::runtime::{Handle, RuntimeMetrics};

/// What the process itself uses. `data_plane` is the runtime whose workers carry traffic.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) data_plane: Handle,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let runtime = self.data_plane.metrics();
        for (name, help, value) in gauges(&runtime) {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        worker_counter(
            &mut encoder,
            &runtime,
            ("tokio_worker_total_busy_duration_seconds", "Time a worker was busy."),
            |worker| runtime.worker_total_busy_duration(worker).as_secs_f64(),
        )?;
        worker_counter(
            &mut encoder,
            &runtime,
            ("tokio_worker_park_count", "Times a worker parked."),
            |worker| runtime.worker_park_count(worker),
        )?;
        worker_counter(
            &mut encoder,
            &runtime,
            ("tokio_worker_park_unpark_count", "Times a worker parked or unparked."),
            |worker| runtime.worker_park_unpark_count(worker),
        )
    }
}

fn gauges(runtime: &RuntimeMetrics) -> [(&'static str, &'static str, i64); 5] {
    use nix::sys::resource::{Resource, getrlimit};
    // The folder is open itself while it is read.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count().saturating_sub(1));
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    [
        ("process_open_fds", "Number of open file descriptors.", signed(open)),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            i64::try_from(most).unwrap_or(i64::MAX),
        ),
        ("tokio_num_workers", "Worker threads of the data plane.", signed(runtime.num_workers())),
        ("tokio_global_queue_depth", "Tasks waiting for any worker.", signed(runtime.global_queue_depth())),
        ("tokio_num_alive_tasks", "Tasks of the data plane.", signed(runtime.num_alive_tasks())),
    ]
}

fn worker_counter<N>(
    encoder: &mut DescriptorEncoder<'_>,
    runtime: &RuntimeMetrics,
    (name, help): (&str, &str),
    read: impl Fn(usize) -> N,
) -> fmt::Result
where
    ConstCounter<N>: EncodeMetric,
{
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for worker in 0..runtime.num_workers() {
        ConstCounter::new(read(worker)).encode(family.encode_family(&[("worker", worker.to_string())])?)?;
    }
    Ok(())
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
