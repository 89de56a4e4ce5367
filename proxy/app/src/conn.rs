//! One connection's record: begun when it is accepted, counted when it is routed, closed exactly once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proxy_core::decide::Flow;
use proxy_core::model::{Identity, Service, Workload};
use proxy_core::reason::{Level, flag};
use proxy_core::wire::baggage::Baggage;
use proxy_core::wire::hbone::Authority;
use proxy_hbone::{Meter, Observer};
use tokio::time::Instant;

use crate::descriptors::{Share, Short};
use crate::error::{Chain, ConnError};
use crate::limits::Limit;
use crate::metrics::traffic::{Known, Reporter, Series, Side, TrafficLabels};
use crate::metrics::{Metrics, OpenSocket};
use crate::pod::{OpenConnection, Pod};

/// One end of a connection, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) enum Party {
    #[default]
    Unknown,
    /// As the control plane describes it.
    Workload(Arc<Workload>),
    /// As the peer describes itself.
    Told(Box<Baggage>),
}

/// Everything that log, metrics and dump say about a connection.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) source_addr: SocketAddr,
    pub(crate) source: Party,
    pub(crate) source_identity: Option<Identity>,
    /// Where the bytes go next: for a tunnel, the peer's tunnel port.
    pub(crate) destination_addr: Option<SocketAddr>,
    pub(crate) hbone_target: Option<Authority>,
    /// Whether the tunnel is one inside a tunnel to a network gateway.
    pub(crate) nested: bool,
    pub(crate) destination: Party,
    pub(crate) destination_identity: Option<Identity>,
    pub(crate) service: Option<Arc<Service>>,
    /// Where the client wanted to go, for the dump.
    pub(crate) original: Option<String>,
    /// Where the bytes leave us, for the dump, when that is not the next hop.
    pub(crate) landing: Option<SocketAddr>,
}

/// A connection from accept to its one ending.
#[derive(Debug)]
pub(crate) struct Conn {
    reporter: Reporter,
    began: Instant,
    pod: Arc<Pod>,
    meter: Arc<Meter>,
    series: Option<Arc<Series>>,
    open: Option<u64>,
    closed: bool,
    socket: Option<OpenSocket>,
    share: Result<Share, Short>,
    pub(crate) facts: Facts,
}

impl Conn {
    /// A record of a socket that was accepted.
    pub(crate) fn accepted(pod: &Arc<Pod>, reporter: Reporter, source: SocketAddr) -> Self {
        let socket = pod.node.metrics.socket(reporter);
        // The socket that was accepted, and the one that will lead on.
        let mut conn = Self::begun(pod, reporter, source, 2);
        conn.socket = Some(socket);
        conn
    }

    /// A record of a stream inside an accepted socket.
    pub(crate) fn stream(pod: &Arc<Pod>, reporter: Reporter, source: SocketAddr) -> Self {
        Self::begun(pod, reporter, source, 1)
    }

    fn begun(pod: &Arc<Pod>, reporter: Reporter, source: SocketAddr, descriptors: usize) -> Self {
        Self {
            reporter,
            began: Instant::now(),
            pod: Arc::clone(pod),
            meter: Arc::new(Meter::new()),
            series: None,
            open: None,
            closed: false,
            socket: None,
            share: pod.descriptors.take(descriptors),
            facts: Facts {
                source_addr: source,
                source: Party::Unknown,
                source_identity: None,
                destination_addr: None,
                hbone_target: None,
                nested: false,
                destination: Party::Unknown,
                destination_identity: None,
                service: None,
                original: None,
                landing: None,
            },
        }
    }

    /// Whether the node has descriptors for the connection.
    ///
    /// # Errors
    /// They are short, and the pod has the most.
    pub(crate) fn admitted(&self) -> Result<(), Short> {
        self.share.as_ref().map(drop).map_err(|short| *short)
    }

    /// The socket turned out to carry many connections, each with a record of its own: this one only counts the socket,
    /// and ends without an entry unless it is closed all the same.
    pub(crate) const fn carries_others(&mut self) {
        self.closed = true;
    }

    /// The kernel told where the connection was going.
    pub(crate) fn captured(&mut self, flow: Flow) {
        self.facts.destination_addr = Some(flow.destination);
        self.facts.original = Some(flow.destination.to_string());
    }

    /// All that will be known is known: from here on the connection counts as opened, and its bytes are counted.
    pub(crate) fn opened(&mut self) {
        let series = self.series("-");
        series.opened.fetch_add(1, Ordering::Relaxed);
        self.meter = Arc::new(Meter::observed(Arc::clone(&series) as Arc<dyn Observer>));
        self.series = Some(series);
        self.open = Some(self.pod.open.insert(OpenConnection {
            outbound: self.reporter == Reporter::Source,
            source: self.facts.source_addr,
            original: self.facts.original.clone(),
            actual: self.facts.landing.or(self.facts.destination_addr),
            protocol: match (&self.facts.hbone_target, self.facts.nested) {
                (None, _) => "TCP",
                (Some(_), false) => "HBONE",
                (Some(_), true) => "DOUBLEHBONE",
            },
        }));
        if tracing::enabled!(target: "access", tracing::Level::DEBUG) {
            self.log_opened();
        }
    }

    pub(crate) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Records the ending. The only place that counts and logs one.
    pub(crate) fn close(mut self, result: Result<(), ConnError>) {
        self.finish(result);
    }

    fn finish(&mut self, result: Result<(), ConnError>) {
        self.closed = true;
        if let Some(id) = self.open.take() {
            self.pod.open.remove(id);
        }
        let reason = result.as_ref().err().map(ConnError::reason);
        let ended = match (&self.series, reason) {
            (Some(series), None) => Arc::clone(series),
            (_, reason) => self.series(flag(reason)),
        };
        // Closed pairs with opened; a connection that failed before it was routed only counts as failed.
        if self.series.is_some() {
            ended.closed.fetch_add(1, Ordering::Relaxed);
        }
        if reason.is_some_and(|reason| reason.level() == Level::Error) {
            ended.failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(limit) = result.as_ref().err().and_then(|error| Limit::behind(error)) {
            self.metrics().hit(limit);
        }
        match (&self.series, &result) {
            (None, Err(error)) => self.log_failed(error),
            _ => self.log(reason.map_or(Level::Info, proxy_core::Reason::level), result.as_ref().err()),
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.pod.node.metrics
    }

    fn is_tunneled(&self) -> bool {
        self.facts.hbone_target.is_some()
    }

    fn series(&self, response_flags: &'static str) -> Arc<Series> {
        let (traffic, labels) = (&self.metrics().traffic, self.labels(response_flags));
        match (&self.facts.source, &self.facts.destination) {
            (Party::Told(_), _) | (_, Party::Told(_)) => traffic.series_by_hearsay(&labels),
            _ => traffic.series(&labels),
        }
    }

    fn labels(&self, response_flags: &'static str) -> TrafficLabels {
        let facts = &self.facts;
        let service = facts.service.as_ref();
        let mut source = side(&facts.source);
        source.principal = principal(facts.source_identity.as_ref());
        let mut destination = side(&facts.destination);
        destination.principal = match (&facts.destination_identity, &facts.destination) {
            (Some(identity), _) => principal(Some(identity)),
            // Known from the control plane even where the connection proves nothing.
            (None, Party::Workload(workload)) => principal(Some(&workload.identity())),
            (None, Party::Unknown | Party::Told(_)) => Known::default(),
        };
        TrafficLabels {
            reporter: self.reporter,
            source,
            destination,
            service: [
                service.map(|s| s.hostname()).into(),
                service.map(|s| s.namespace()).into(),
                service.map(|s| &s.name).into(),
            ],
            mutual_tls: self.is_tunneled(),
            response_flags,
        }
    }

    fn log_opened(&self) {
        let Names { source, destination, facts, direction } = self.names();
        tracing::event!(
            target: "access",
            parent: None,
            tracing::Level::DEBUG,
            src.addr = %facts.source_addr,
            src.workload = source.workload,
            src.namespace = source.namespace,
            src.identity = facts.source_identity.as_ref().map(tracing::field::display),
            src.cluster = source.cluster,
            dst.addr = facts.destination_addr.map(tracing::field::display),
            dst.hbone_addr = facts.hbone_target.as_ref().map(tracing::field::display),
            dst.service = facts.service.as_ref().map(|s| &**s.hostname()),
            dst.workload = destination.workload,
            dst.namespace = destination.namespace,
            dst.identity = facts.destination_identity.as_ref().map(tracing::field::display),
            dst.cluster = destination.cluster,
            direction,
            "connection opened"
        );
    }

    /// A connection that ended before it was known where it goes. ztunnel names only the addresses, the direction and the
    /// error; what else was learnt by then is told too.
    fn log_failed(&self, error: &ConnError) {
        let Names { source, destination, facts, direction } = self.names();
        tracing::event!(
            target: "access",
            parent: None,
            tracing::Level::WARN,
            src.addr = %facts.source_addr,
            src.workload = source.workload,
            src.namespace = source.namespace,
            src.identity = facts.source_identity.as_ref().map(tracing::field::display),
            src.cluster = source.cluster,
            dst.addr = facts.destination_addr.map(tracing::field::display),
            dst.hbone_addr = facts.hbone_target.as_ref().map(tracing::field::display),
            dst.workload = destination.workload,
            dst.namespace = destination.namespace,
            dst.identity = facts.destination_identity.as_ref().map(tracing::field::display),
            dst.cluster = destination.cluster,
            direction,
            error = &*Chain(error).to_string(),
            "connection failed"
        );
    }

    fn log(&self, level: Level, error: Option<&ConnError>) {
        let Names { source, destination, facts, direction } = self.names();
        let (up, down) = (self.meter.sent(), self.meter.received());
        // From the local application's point of view.
        let (bytes_sent, bytes_recv) = match self.reporter {
            Reporter::Source => (up, down),
            Reporter::Destination => (down, up),
        };
        let text = |value: Option<String>| value;
        let source_identity = text(facts.source_identity.as_ref().map(ToString::to_string));
        let destination_identity = text(facts.destination_identity.as_ref().map(ToString::to_string));
        let error = error.map(|error| Chain(error).to_string());
        let duration = format!("{}ms", self.began.elapsed().as_millis());
        macro_rules! line {
            ($level:ident) => {
                tracing::event!(
                    target: "access",
                    parent: None,
                    tracing::Level::$level,
                    src.addr = %facts.source_addr,
                    src.workload = source.workload,
                    src.namespace = source.namespace,
                    src.identity = source_identity.as_deref(),
                    src.cluster = source.cluster,
                    dst.addr = facts.destination_addr.map(tracing::field::display),
                    dst.hbone_addr = facts.hbone_target.as_ref().map(tracing::field::display),
                    dst.service = facts.service.as_ref().map(|s| &**s.hostname()),
                    dst.workload = destination.workload,
                    dst.namespace = destination.namespace,
                    dst.identity = destination_identity.as_deref(),
                    dst.cluster = destination.cluster,
                    direction,
                    bytes_sent,
                    bytes_recv,
                    duration,
                    error = error.as_deref(),
                    "connection complete"
                )
            };
        }
        match level {
            Level::Info => line!(INFO),
            Level::Error => line!(ERROR),
        }
    }

    fn names(&self) -> Names<'_> {
        Names {
            source: named(&self.facts.source),
            destination: named(&self.facts.destination),
            facts: &self.facts,
            direction: match self.reporter {
                Reporter::Source => "outbound",
                Reporter::Destination => "inbound",
            },
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if !self.closed {
            // The task was dropped with the connection in it.
            self.finish(Err(ConnError::Drained));
        }
    }
}

impl Observer for Series {
    fn sent(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    fn received(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

struct Names<'a> {
    source: Named<'a>,
    destination: Named<'a>,
    facts: &'a Facts,
    direction: &'static str,
}

#[derive(Default)]
struct Named<'a> {
    workload: Option<&'a str>,
    namespace: Option<&'a str>,
    cluster: Option<&'a str>,
}

fn named(party: &Party) -> Named<'_> {
    fn filled(text: &str) -> Option<&str> {
        (!text.is_empty()).then_some(text)
    }
    match party {
        Party::Unknown => Named::default(),
        Party::Workload(w) => Named {
            workload: filled(&w.name).or_else(|| filled(&w.canonical_name)),
            namespace: filled(&w.namespace),
            cluster: filled(&w.cluster_id),
        },
        Party::Told(b) => Named {
            workload: b.workload.as_ref().map(|(_, name)| &**name).or(b.service.as_deref()),
            namespace: b.namespace.as_deref(),
            cluster: b.cluster.as_deref(),
        },
    }
}

fn side(party: &Party) -> Side {
    match party {
        Party::Unknown => Side::default(),
        Party::Workload(w) => Side {
            workload: (&w.workload_name).into(),
            canonical_service: (&w.canonical_name).into(),
            canonical_revision: (&w.canonical_revision).into(),
            namespace: (&w.namespace).into(),
            principal: Known::default(),
            app: (&w.canonical_name).into(),
            version: (&w.canonical_revision).into(),
            cluster: (&w.cluster_id).into(),
            region: (&w.locality.region).into(),
            zone: (&w.locality.zone).into(),
        },
        Party::Told(b) => Side {
            workload: b.workload.as_ref().map(|(_, name)| name).into(),
            canonical_service: b.service.as_ref().into(),
            canonical_revision: b.version.as_ref().into(),
            namespace: b.namespace.as_ref().into(),
            principal: Known::default(),
            app: b.workload.as_ref().map(|(_, name)| name).into(),
            version: b.version.as_ref().into(),
            cluster: b.cluster.as_ref().into(),
            region: b.region.as_ref().into(),
            zone: b.zone.as_ref().into(),
        },
    }
}

fn principal(identity: Option<&Identity>) -> Known {
    identity.map(ToString::to_string).map_or_else(Known::default, Known::from)
}
