//! The five TCP families: one set of counters per distinct pair of source and destination, found once per connection.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelSetEncoder, LabelValueEncoder,
    MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use proxy_core::Str;

/// A label's value, `unknown` when nobody knows it: readers skip a series with an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Known(Option<Str>);

impl From<&Str> for Known {
    fn from(text: &Str) -> Self {
        Self((!text.is_empty()).then(|| Arc::clone(text)))
    }
}

impl From<Option<&Str>> for Known {
    fn from(text: Option<&Str>) -> Self {
        text.map_or_else(Self::default, Self::from)
    }
}

impl From<String> for Known {
    fn from(text: String) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }
}

impl EncodeLabelValue for Known {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.as_deref().unwrap_or("unknown").encode(encoder)
    }
}

/// Which of a connection's two proxies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reporter {
    Source,
    Destination,
}

impl Reporter {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// One end of a connection, as labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Side {
    pub(crate) workload: Known,
    pub(crate) canonical_service: Known,
    pub(crate) canonical_revision: Known,
    pub(crate) namespace: Known,
    pub(crate) principal: Known,
    pub(crate) app: Known,
    pub(crate) version: Known,
    pub(crate) cluster: Known,
    pub(crate) region: Known,
    pub(crate) zone: Known,
}

impl Side {
    /// Whether nothing is known of this end.
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// The labels of one series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TrafficLabels {
    pub(crate) reporter: Reporter,
    pub(crate) source: Side,
    pub(crate) destination: Side,
    /// Hostname, namespace and name of the destination service.
    pub(crate) service: [Known; 3],
    pub(crate) mutual_tls: bool,
    /// `-` while a connection lives and when it ended well; else how it ended.
    pub(crate) response_flags: &'static str,
}

impl EncodeLabelSet for &TrafficLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let mut put = |name: &str, value: &dyn Fn(&mut LabelValueEncoder<'_>) -> fmt::Result| {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            prometheus_client::encoding::EncodeLabelKey::encode(&name, &mut key)?;
            let mut encoder = key.encode_label_value()?;
            value(&mut encoder)?;
            encoder.finish()
        };
        let known = |value: &Known| {
            let value = value.clone();
            move |e: &mut LabelValueEncoder<'_>| value.encode(e)
        };
        let fixed = |value: &'static str| move |e: &mut LabelValueEncoder<'_>| value.encode(e);
        let [host, service_namespace, service_name] = &self.service;
        put("reporter", &fixed(self.reporter.as_str()))?;
        let s = &self.source;
        put("source_workload", &known(&s.workload))?;
        put("source_canonical_service", &known(&s.canonical_service))?;
        put("source_canonical_revision", &known(&s.canonical_revision))?;
        put("source_workload_namespace", &known(&s.namespace))?;
        put("source_principal", &known(&s.principal))?;
        put("source_app", &known(&s.app))?;
        put("source_version", &known(&s.version))?;
        put("source_cluster", &known(&s.cluster))?;
        put("destination_service", &known(host))?;
        put("destination_service_namespace", &known(service_namespace))?;
        put("destination_service_name", &known(service_name))?;
        let d = &self.destination;
        put("destination_workload", &known(&d.workload))?;
        put("destination_canonical_service", &known(&d.canonical_service))?;
        put("destination_canonical_revision", &known(&d.canonical_revision))?;
        put("destination_workload_namespace", &known(&d.namespace))?;
        put("destination_principal", &known(&d.principal))?;
        put("destination_app", &known(&d.app))?;
        put("destination_version", &known(&d.version))?;
        put("destination_cluster", &known(&d.cluster))?;
        put("request_protocol", &fixed("tcp"))?;
        put("response_flags", &fixed(self.response_flags))?;
        put("connection_security_policy", &fixed(if self.mutual_tls { "mutual_tls" } else { "unknown" }))?;
        // As ztunnel has it: where nothing is known of either end, there are no places.
        if s.is_unknown() && d.is_unknown() {
            return Ok(());
        }
        put("source_region", &known(&s.region))?;
        put("source_zone", &known(&s.zone))?;
        put("destination_region", &known(&d.region))?;
        put("destination_zone", &known(&d.zone))
    }
}

/// What is counted under one set of labels.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Upstream to downstream.
    pub(crate) sent: AtomicU64,
    /// Downstream to upstream.
    pub(crate) received: AtomicU64,
    /// Sweeps since a connection last held this.
    idle: AtomicU64,
    /// A peer chose the labels.
    hearsay: bool,
}

/// All series. A connection looks its own up once and then only counts.
#[derive(Debug)]
pub(crate) struct Traffic {
    // Sharded, so that connections that begin at once on several threads do not meet in one lock.
    shards: [RwLock<Shard>; 16],
    hasher: RandomState,
    most: usize,
    count: AtomicUsize,
    /// Series whose labels peers chose.
    hearsay: AtomicUsize,
    /// Connections that are counted without their names.
    pub(crate) without_room: Counter,
}

type Shard = HashMap<Arc<TrafficLabels>, Arc<Series>>;

/// Of `most`, what is kept for connections that find no room for a series of their own: those differ in nothing but
/// reporter, security and ending.
const REST: usize = 64;

impl TrafficLabels {
    /// The same, of a source of which only the identity it proved is told.
    fn without_hearsay(&self) -> Self {
        let source = Side { principal: self.source.principal.clone(), ..Side::default() };
        Self { source, ..self.clone() }
    }

    /// The same of anybody.
    fn without_names(&self) -> Self {
        Self {
            reporter: self.reporter,
            source: Side::default(),
            destination: Side::default(),
            service: Default::default(),
            mutual_tls: self.mutual_tls,
            response_flags: self.response_flags,
        }
    }
}

impl Traffic {
    /// Holds at most so many series, and of those a quarter whose labels peers chose: enough for honest ones of other
    /// networks, and no way to fill our memory with names.
    pub(crate) fn of_at_most(most: usize) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            most,
            count: AtomicUsize::new(0),
            hearsay: AtomicUsize::new(0),
            without_room: Counter::default(),
        }
    }

    /// The series of `labels`, made when it is new. Without room for it, the series of connections without names.
    pub(crate) fn series(&self, labels: &TrafficLabels) -> Arc<Series> {
        self.found(labels).or_else(|| self.added(labels, false)).unwrap_or_else(|| self.rest(labels))
    }

    /// The series of `labels` whose source is as the peer describes itself; without that description once peers have made up
    /// too many.
    pub(crate) fn series_by_hearsay(&self, labels: &TrafficLabels) -> Arc<Series> {
        let own = self.found(labels).or_else(|| self.added(labels, true));
        own.unwrap_or_else(|| self.series(&labels.without_hearsay()))
    }

    fn rest(&self, labels: &TrafficLabels) -> Arc<Series> {
        self.without_room.inc();
        let labels = labels.without_names();
        if let Some(series) = self.found(&labels) {
            return series;
        }
        let Some(shard) = self.shard(&labels) else {
            return Arc::default();
        };
        match shard.write().entry(Arc::new(labels)) {
            Entry::Occupied(there) => Arc::clone(there.get()),
            Entry::Vacant(free) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                Arc::clone(free.insert(Arc::default()))
            }
        }
    }

    fn found(&self, labels: &TrafficLabels) -> Option<Arc<Series>> {
        self.shard(labels)?.read().get(labels).map(Arc::clone)
    }

    /// A new series, when there is room; another's, when it was there first.
    fn added(&self, labels: &TrafficLabels, hearsay: bool) -> Option<Arc<Series>> {
        let mut shard = self.shard(labels)?.write();
        if let Some(series) = shard.get(labels) {
            return Some(Arc::clone(series));
        }
        if hearsay && !reserved(&self.hearsay, self.most / 4) {
            return None;
        }
        if !reserved(&self.count, self.most.saturating_sub(REST)) {
            if hearsay {
                self.hearsay.fetch_sub(1, Ordering::Relaxed);
            }
            return None;
        }
        let series = Arc::new(Series { hearsay, ..Series::default() });
        shard.insert(Arc::new(labels.clone()), Arc::clone(&series));
        Some(series)
    }

    fn shard(&self, labels: &TrafficLabels) -> Option<&RwLock<Shard>> {
        let count = u64::try_from(self.shards.len()).ok()?;
        self.shards.get(usize::try_from(self.hasher.hash_one(labels) % count).ok()?)
    }

    /// Drops every series that no connection holds, that was idle for `sweeps` calls, and that `gone` says has lost its
    /// workloads; when little room is left, also those that were idle for much longer. A series must outlive its last
    /// connection for a while, or its last counts are never scraped.
    pub(crate) fn sweep(&self, sweeps: u64, gone: impl Fn(&TrafficLabels) -> bool) {
        let crowded = self.count.load(Ordering::Relaxed) > self.most / 10 * 9;
        for shard in &self.shards {
            shard.write().retain(|labels, series| {
                if Arc::strong_count(series) > 1 {
                    series.idle.store(0, Ordering::Relaxed);
                    return true;
                }
                let idle = series.idle.fetch_add(1, Ordering::Relaxed);
                let keep = idle < sweeps || !(gone(labels) || crowded && idle >= sweeps * 6);
                if !keep {
                    self.count.fetch_sub(1, Ordering::Relaxed);
                    if series.hearsay {
                        self.hearsay.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                keep
            });
        }
    }

    /// Every series, held by reference count: no lock is kept over what is done with them.
    pub(super) fn all(&self) -> Vec<(Arc<TrafficLabels>, Arc<Series>)> {
        let shards = self.shards.iter();
        let copied = |shard: &RwLock<Shard>| {
            shard.read().iter().map(|(l, s)| (Arc::clone(l), Arc::clone(s))).collect::<Vec<_>>()
        };
        shards.flat_map(copied).collect()
    }
}

/// Takes one of `most`, unless all are taken.
fn reserved(taken: &AtomicUsize, most: usize) -> bool {
    taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then(|| n + 1)).is_ok()
}

/// [`Traffic`] as the registry's collector.
#[derive(Debug)]
pub(super) struct TrafficCollector(pub(super) Arc<Traffic>);

type Read = fn(&Series) -> &AtomicU64;

const FAMILIES: [(&str, &str, Read); 5] = [
    ("tcp_connections_opened", "The total number of TCP connections opened.", |s| &s.opened),
    ("tcp_connections_closed", "The total number of TCP connections closed.", |s| &s.closed),
    ("tcp_received_bytes", "The total number of bytes received from the client.", |s| &s.received),
    ("tcp_sent_bytes", "The total number of bytes sent to the client.", |s| &s.sent),
    ("tcp_connections_failed", "The total number of TCP connections that failed (unstable).", |s| &s.failed),
];

impl Collector for TrafficCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let held = self.0.all();
        for (name, help, read) in FAMILIES {
            // A counter that never counted is left out, so that a refused client shows no bytes and no closed series.
            let mut counted = held
                .iter()
                .map(|(labels, series)| (labels, read(series).load(Ordering::Relaxed)))
                .filter(|(_, count)| *count > 0)
                .peekable();
            if counted.peek().is_none() {
                continue;
            }
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, count) in counted {
                CounterValue(count).encode(family.encode_family(&&**labels)?)?;
            }
        }
        Ok(())
    }
}

struct CounterValue(u64);

impl EncodeMetric for CounterValue {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<prometheus_client::encoding::NoLabelSet, _, u64>(&self.0, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
