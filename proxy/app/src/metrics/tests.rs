//! The text that Prometheus reads, and series that end with their workloads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;
use proptest::prelude::*;

use super::dns::{DnsLabels, OnDemandLabels};
use super::traffic::{Known, Reporter, Side, TrafficLabels};
use super::{About, Metrics};

/// Series at once, in these tests.
const MOST: usize = 4_096;

fn side(name: &str) -> Side {
    let name = Known::from(name.to_owned());
    Side { workload: name.clone(), canonical_service: name.clone(), app: name, ..Side::default() }
}

fn labels(source: &str, response_flags: &'static str) -> TrafficLabels {
    TrafficLabels {
        reporter: Reporter::Destination,
        source: side(source),
        destination: side("b"),
        service: [Known::default(), Known::default(), Known::default()],
        mutual_tls: true,
        response_flags,
    }
}

fn metrics() -> (tokio::runtime::Runtime, Metrics) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let about = About {
        tag: "1.2.3",
        data_plane: runtime.handle().clone(),
        lines_lost: Counter::default(),
        max_series: MOST,
    };
    let metrics = Metrics::new(about);
    (runtime, metrics)
}

#[test]
fn a_traffic_series_has_every_label_in_order_and_unknown_for_what_nobody_knows() {
    let (_runtime, metrics) = metrics();
    metrics.traffic.series(&labels("a", "-")).opened.fetch_add(2, Ordering::Relaxed);
    let text = metrics.encode().expect("metrics encode");
    let line =
        text.lines().find(|l| l.starts_with("istio_tcp_connections_opened_total{")).expect("the series");
    assert_eq!(
        line,
        "istio_tcp_connections_opened_total{reporter=\"destination\",source_workload=\"a\",\
         source_canonical_service=\"a\",source_canonical_revision=\"unknown\",source_workload_namespace=\"unknown\",\
         source_principal=\"unknown\",source_app=\"a\",source_version=\"unknown\",source_cluster=\"unknown\",\
         destination_service=\"unknown\",destination_service_namespace=\"unknown\",\
         destination_service_name=\"unknown\",destination_workload=\"b\",destination_canonical_service=\"b\",\
         destination_canonical_revision=\"unknown\",destination_workload_namespace=\"unknown\",\
         destination_principal=\"unknown\",destination_app=\"b\",destination_version=\"unknown\",\
         destination_cluster=\"unknown\",request_protocol=\"tcp\",response_flags=\"-\",\
         connection_security_policy=\"mutual_tls\",source_region=\"unknown\",source_zone=\"unknown\",\
         destination_region=\"unknown\",destination_zone=\"unknown\"} 2"
    );
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("istio_build{component=\"ztunnel\",tag=\"1.2.3\"} 1"), "{text}");
}

#[test]
fn a_counter_that_never_counted_is_not_shown() {
    let (_runtime, metrics) = metrics();
    metrics.traffic.series(&labels("a", "DENY")).failed.fetch_add(1, Ordering::Relaxed);
    let text = metrics.encode().expect("metrics encode");
    assert!(text.contains("istio_tcp_connections_failed_total{"), "{text}");
    assert!(!text.contains("istio_tcp_sent_bytes_total{"), "{text}");
}

#[test]
fn where_nothing_is_known_of_either_end_there_are_no_places() {
    let (_runtime, metrics) = metrics();
    let labels = TrafficLabels { source: Side::default(), destination: Side::default(), ..labels("", "-") };
    metrics.traffic.series(&labels).opened.fetch_add(1, Ordering::Relaxed);
    let text = metrics.encode().expect("metrics encode");
    assert!(text.contains("connection_security_policy=\"mutual_tls\"} 1"), "{text}");
}

#[test]
fn every_family_has_its_type_and_says_whether_it_is_stable() {
    let (_runtime, metrics) = metrics();
    let series = metrics.traffic.series(&labels("a", "-"));
    for count in [&series.opened, &series.closed, &series.failed, &series.sent, &series.received] {
        count.fetch_add(1, Ordering::Relaxed);
    }
    let _socket = metrics.socket(Reporter::Source);
    let url = super::UrlLabel { url: "u".to_owned() };
    metrics.xds_messages.get_or_create(&url).inc();
    metrics.xds_bytes.get_or_create(&url).inc();
    metrics.xds_terminations.get_or_create(&super::TerminationLabel { reason: "Error" }).inc();
    metrics.xds_refused.get_or_create(&url).inc();
    metrics.pending.get_or_create(&super::TaskLabel { task: "t" }).set(1);
    metrics.hit(crate::limits::Limit::Handshakes);
    let asked = dns_labels("a");
    for count in [metrics.dns.requests(&asked), metrics.dns.upstream_requests(&asked)] {
        count.inc();
    }
    metrics.dns.upstream_failures(&asked).inc();
    metrics.dns.upstream_duration(&asked).observe(0.02);
    metrics.dns.on_demand(&OnDemandLabels::default()).inc();
    let text = metrics.encode().expect("metrics encode");
    for (family, kind, stable) in FAMILIES {
        assert!(text.contains(&format!("\n# TYPE {family} {kind}\n")), "{family} is a {kind}: {text}");
        let suffix = match kind {
            "counter" => "_total",
            "histogram" => "_count",
            _ => "",
        };
        let sample = format!("\n{family}{suffix}");
        assert!(text.contains(&format!("{sample}{{")) || text.contains(&format!("{sample} ")), "{family}");
        let help = text.lines().find(|line| line.starts_with(&format!("# HELP {family} "))).expect("a help");
        assert_eq!(help.contains("unstable"), !stable, "{help}");
        assert!(help.ends_with('.'), "{help}");
    }
    let told = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(told, FAMILIES.len(), "a family that this table does not know: {text}");
}

/// Name, type, and whether ztunnel calls it stable.
const FAMILIES: [(&str, &str, bool); 39] = [
    ("istio_build", "gauge", true),
    ("istio_tcp_connections_opened", "counter", true),
    ("istio_tcp_connections_closed", "counter", true),
    ("istio_tcp_received_bytes", "counter", true),
    ("istio_tcp_sent_bytes", "counter", true),
    ("process_open_fds", "gauge", true),
    ("process_max_fds", "gauge", true),
    ("tokio_num_workers", "gauge", true),
    ("tokio_global_queue_depth", "gauge", true),
    ("tokio_num_alive_tasks", "gauge", true),
    ("tokio_worker_total_busy_duration_seconds", "counter", true),
    ("tokio_worker_park_count", "counter", true),
    ("tokio_worker_park_unpark_count", "counter", true),
    ("istio_tcp_connections_failed", "counter", false),
    ("istio_tcp_sockets_open", "gauge", false),
    ("istio_xds_connection_terminations", "counter", false),
    ("istio_xds_message", "counter", false),
    ("istio_xds_message_bytes", "counter", false),
    ("workload_manager_active_proxy_count", "gauge", false),
    ("workload_manager_pending_proxy_count", "gauge", false),
    ("workload_manager_proxies_started", "counter", false),
    ("workload_manager_proxies_stopped", "counter", false),
    ("istio_dns_requests", "counter", false),
    ("istio_dns_upstream_requests", "counter", false),
    ("istio_dns_upstream_failures", "counter", false),
    ("istio_dns_upstream_request_duration_seconds", "histogram", false),
    ("istio_on_demand_dns", "counter", false),
    ("adit_dns_pods_without_listener", "gauge", false),
    ("adit_pending", "gauge", false),
    ("adit_xds_refused_resources", "counter", false),
    ("adit_limits_hit", "counter", false),
    ("adit_unknown_policies", "counter", false),
    ("adit_log_lines_lost", "counter", false),
    ("adit_unknown_destinations", "counter", false),
    ("adit_canaries", "counter", false),
    ("adit_series_without_room", "counter", false),
    ("adit_snapshot_serving", "gauge", false),
    ("adit_snapshot_writes", "counter", false),
    ("adit_snapshot_failed_writes", "counter", false),
];

#[test]
fn a_series_ends_some_sweeps_after_its_last_connection_when_its_workload_is_gone() {
    let (_runtime, metrics) = metrics();
    let held = metrics.traffic.series(&labels("a", "-"));
    let gone = |labels: &TrafficLabels| labels.source == side("a");
    let same = |held: &Arc<_>| Arc::ptr_eq(held, &metrics.traffic.series(&labels("a", "-")));
    for _ in 0..5 {
        metrics.traffic.sweep(2, gone);
    }
    assert!(same(&held), "a connection holds it");
    let weak = Arc::downgrade(&held);
    drop(held);
    metrics.traffic.series(&labels("b", "-"));
    for _ in 0..2 {
        metrics.traffic.sweep(2, gone);
        assert!(weak.upgrade().is_some(), "it stays for a scrape");
    }
    metrics.traffic.sweep(2, gone);
    assert!(weak.upgrade().is_none());
    metrics.traffic.sweep(2, gone);
    let kept = metrics.traffic.series(&labels("b", "-"));
    kept.opened.fetch_add(1, Ordering::Relaxed);
    assert!(metrics.encode().expect("metrics encode").contains("source_workload=\"b\""));
}

#[test]
fn a_peer_that_makes_up_names_does_not_make_a_series_of_each() {
    let (_runtime, metrics) = metrics();
    for name in 0..10_000 {
        let mut labels = labels(&format!("n{name}"), "-");
        labels.source.principal = Known::from("spiffe://cluster.local/ns/x/sa/y".to_owned());
        metrics.traffic.series_by_hearsay(&labels).opened.fetch_add(1, Ordering::Relaxed);
    }
    let count =
        |text: &str| text.lines().filter(|line| line.starts_with("istio_tcp_connections_opened")).count();
    let text = metrics.encode().expect("metrics encode");
    assert_eq!(count(&text), MOST / 4 + 1);
    let rest = text.lines().find(|line| line.contains("source_workload=\"unknown\"")).expect("the others");
    assert!(
        rest.contains("source_principal=\"spiffe://cluster.local/ns/x/sa/y\""),
        "what is proven stays: {rest}"
    );
    assert!(rest.ends_with(&format!(" {}", 10_000 - MOST / 4)), "{rest}");

    let gone = |labels: &TrafficLabels| labels.source.workload != Known::default();
    for _ in 0..2 {
        metrics.traffic.sweep(1, gone);
    }
    metrics.traffic.series_by_hearsay(&labels("later", "-")).opened.fetch_add(1, Ordering::Relaxed);
    let text = metrics.encode().expect("metrics encode");
    assert!(text.contains("source_workload=\"later\""), "what ended makes room");
    assert_eq!(count(&text), 2);
}

#[test]
fn open_sockets_are_counted_while_they_are_open() {
    let (_runtime, metrics) = metrics();
    let open = |metrics: &Metrics| {
        let text = metrics.encode().expect("metrics encode");
        text.lines().find(|l| l.starts_with("istio_tcp_sockets_open{")).map(str::to_owned)
    };
    let socket = metrics.socket(Reporter::Source);
    assert_eq!(open(&metrics).as_deref(), Some("istio_tcp_sockets_open{reporter=\"source\"} 1"));
    drop(socket);
    assert_eq!(open(&metrics).as_deref(), Some("istio_tcp_sockets_open{reporter=\"source\"} 0"));
}

fn lines(text: &str, family: &str) -> usize {
    text.lines().filter(|line| line.starts_with(family)).count()
}

#[test]
fn a_hundred_thousand_pods_that_come_and_go_leave_no_more_series_than_those_of_a_moment() {
    let (_runtime, metrics) = metrics();
    let traffic = &metrics.traffic;
    let mut largest = 0;
    for minute in 0..5_000 {
        let names: Vec<_> = (0..20).map(|pod| format!("job-{minute}-{pod}")).collect();
        for name in &names {
            let series = traffic.series(&labels(name, "-"));
            for count in [&series.opened, &series.closed, &series.sent, &series.received] {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        let alive: HashSet<_> = names.iter().map(|name| side(name)).collect();
        traffic.sweep(10, |labels| !alive.contains(&labels.source));
        if minute % 500 == 499 {
            let body = metrics.encode().expect("metrics encode");
            largest = largest.max(body.len());
            assert!(lines(&body, "istio_tcp_connections_opened_total") <= 20 * 12, "{minute}");
        }
    }
    assert!(largest > 0 && largest < 2 << 20, "{largest} bytes");
}

#[test]
fn at_the_cap_connections_are_counted_without_their_names() {
    let (_runtime, metrics) = metrics();
    let held: Vec<_> = (0..100_000)
        .map(|pod| {
            let series = metrics.traffic.series(&labels(&format!("job-{pod}"), "-"));
            series.opened.fetch_add(1, Ordering::Relaxed);
            series
        })
        .collect();
    let text = metrics.encode().expect("metrics encode");
    let of_name = MOST - 64;
    assert_eq!(lines(&text, "istio_tcp_connections_opened_total"), of_name + 1);
    let rest = text.lines().find(|line| line.contains("source_workload=\"unknown\"")).expect("the others");
    assert!(rest.ends_with(&format!(" {}", 100_000 - of_name)), "{rest}");
    let lost = format!("adit_series_without_room_total {}\n", 100_000 - of_name);
    assert!(text.contains(&lost), "{text}");

    drop(held);
    for _ in 0..2 {
        metrics.traffic.sweep(1, |labels| labels.source != Side::default());
    }
    metrics.traffic.series(&labels("later", "-")).opened.fetch_add(1, Ordering::Relaxed);
    let text = metrics.encode().expect("metrics encode");
    assert!(text.contains("source_workload=\"later\""), "what ended makes room");
}

#[test]
fn what_was_idle_for_long_makes_room_when_little_is_left() {
    let (_runtime, metrics) = metrics();
    for pod in 0..MOST {
        metrics.traffic.series(&labels(&format!("p{pod}"), "-")).opened.fetch_add(1, Ordering::Relaxed);
    }
    let held = metrics.traffic.series(&labels("p0", "-"));
    for _ in 0..7 {
        metrics.traffic.sweep(1, |_| false);
    }
    let text = metrics.encode().expect("metrics encode");
    assert_eq!(lines(&text, "istio_tcp_connections_opened_total"), 1, "the one that is in use");
    drop(held);
}

/// One step of a life of connections.
#[derive(Debug, Clone)]
enum Step {
    Open { name: u8, told: bool },
    Close(usize),
    Sweep { dead: u8 },
    Scrape,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u8>(), any::<bool>()).prop_map(|(name, told)| Step::Open { name, told }),
        2 => any::<usize>().prop_map(Step::Close),
        1 => any::<u8>().prop_map(|dead| Step::Sweep { dead }),
        1 => Just(Step::Scrape),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_counter_that_is_in_use_goes_back_and_no_more_series_than_allowed(steps in steps()) {
        let traffic = super::Traffic::of_at_most(128);
        let mut open: Vec<Arc<super::traffic::Series>> = Vec::new();
        let mut seen: HashMap<usize, u64> = HashMap::new();
        for step in steps {
            match step {
                Step::Open { name, told } => {
                    let labels = labels(&name.to_string(), "-");
                    let series =
                        if told { traffic.series_by_hearsay(&labels) } else { traffic.series(&labels) };
                    series.opened.fetch_add(1, Ordering::Relaxed);
                    open.push(series);
                }
                Step::Close(which) => {
                    if !open.is_empty() {
                        let closed = open.swap_remove(which % open.len());
                        if !open.iter().any(|other| Arc::ptr_eq(other, &closed)) {
                            seen.remove(&Arc::as_ptr(&closed).addr());
                        }
                    }
                }
                Step::Sweep { dead } => {
                    let dead = side(&dead.to_string());
                    traffic.sweep(1, |labels| labels.source == dead);
                }
                Step::Scrape => {
                    let all = traffic.all();
                    prop_assert!(all.len() <= 128, "{} series", all.len());
                    for series in &open {
                        let shown = all.iter().find(|(_, shown)| Arc::ptr_eq(shown, series));
                        prop_assert!(shown.is_some(), "a series in use is gone");
                        let now = series.opened.load(Ordering::Relaxed);
                        let before = seen.insert(Arc::as_ptr(series).addr(), now).unwrap_or(0);
                        prop_assert!(now >= before);
                    }
                }
            }
        }
    }
}

fn dns_labels(service: &str) -> DnsLabels {
    DnsLabels {
        request_query_type: "aaaa",
        request_protocol: "udp",
        source_canonical_service: Known::from(service.to_owned()),
        source_canonical_revision: Known::default(),
    }
}

#[test]
fn a_dns_series_has_the_labels_and_buckets_that_readers_know() {
    let (_runtime, metrics) = metrics();
    metrics.dns.requests(&dns_labels("a")).inc();
    metrics.dns.upstream_duration(&dns_labels("a")).observe(0.02);
    let text = metrics.encode().expect("metrics encode");
    let labels = "request_query_type=\"aaaa\",request_protocol=\"udp\",source_canonical_service=\"a\",\
                  source_canonical_revision=\"unknown\"";
    assert!(text.contains(&format!("istio_dns_requests_total{{{labels}}} 1\n")), "{text}");
    for (bucket, count) in
        [("0.0005", 0), ("0.001", 0), ("0.01", 0), ("0.1", 1), ("1.0", 1), ("5.0", 1), ("+Inf", 1)]
    {
        let family = "istio_dns_upstream_request_duration_seconds_bucket";
        let found = text.lines().any(|line| {
            line.starts_with(family)
                && line.contains(&format!("le=\"{bucket}\""))
                && line.ends_with(&format!(" {count}"))
        });
        assert!(found, "{bucket}: {text}");
    }
}

#[test]
fn a_dns_series_ends_some_sweeps_after_its_source() {
    let (_runtime, metrics) = metrics();
    for service in ["gone", "here"] {
        metrics.dns.requests(&dns_labels(service)).inc();
        metrics.dns.upstream_duration(&dns_labels(service)).observe(1.0);
    }
    let shown = |service: &str| metrics.encode().expect("metrics encode").contains(service);
    let lives = |service: &Known| *service == Known::from("here".to_owned());
    metrics.dns.sweep(3, lives);
    metrics.dns.sweep(3, lives);
    assert!(shown("gone"));
    metrics.dns.sweep(3, lives);
    assert!(!shown("gone") && shown("here"));
    metrics.dns.requests(&dns_labels("gone")).inc();
    assert!(shown("gone"), "a workload that comes back is counted again");
}
