//! The text that Prometheus reads, and series that end with their workloads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Metrics;
use super::traffic::{Known, Reporter, Side, TrafficLabels};

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
    let metrics = Metrics::new("1.2.3", runtime.handle().clone());
    (runtime, metrics)
}

#[test]
fn a_traffic_series_has_every_label_in_order_and_unknown_for_what_nobody_knows() {
    let (_runtime, metrics) = metrics();
    metrics.traffic.series(labels("a", "-")).opened.fetch_add(2, Ordering::Relaxed);
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
    metrics.traffic.series(labels("a", "DENY")).failed.fetch_add(1, Ordering::Relaxed);
    let text = metrics.encode().expect("metrics encode");
    assert!(text.contains("istio_tcp_connections_failed_total{"), "{text}");
    assert!(!text.contains("istio_tcp_sent_bytes_total{"), "{text}");
}

#[test]
fn the_unstable_metrics_say_so() {
    let (_runtime, metrics) = metrics();
    metrics.xds_messages.get_or_create(&super::UrlLabel { url: "u".to_owned() }).inc();
    let text = metrics.encode().expect("metrics encode");
    for name in ["istio_xds_message", "workload_manager_active_proxy_count", "istio_tcp_sockets_open"] {
        let help = text.lines().find(|l| l.starts_with(&format!("# HELP {name} ")));
        assert!(help.is_none_or(|help| help.contains("unstable")), "{name}: {help:?}");
    }
    for name in [
        "process_open_fds ",
        "process_max_fds ",
        "tokio_num_workers ",
        "workload_manager_pending_proxy_count 0",
    ] {
        assert!(text.lines().any(|l| l.starts_with(name)), "{name} in {text}");
    }
}

#[test]
fn a_series_ends_some_sweeps_after_its_last_connection_when_its_workload_is_gone() {
    let (_runtime, metrics) = metrics();
    let held = metrics.traffic.series(labels("a", "-"));
    let gone = |labels: &TrafficLabels| labels.source == side("a");
    let same = |held: &Arc<_>| Arc::ptr_eq(held, &metrics.traffic.series(labels("a", "-")));
    for _ in 0..5 {
        metrics.traffic.sweep(2, gone);
    }
    assert!(same(&held), "a connection holds it");
    let weak = Arc::downgrade(&held);
    drop(held);
    metrics.traffic.series(labels("b", "-"));
    for _ in 0..2 {
        metrics.traffic.sweep(2, gone);
        assert!(weak.upgrade().is_some(), "it stays for a scrape");
    }
    metrics.traffic.sweep(2, gone);
    assert!(weak.upgrade().is_none());
    metrics.traffic.sweep(2, gone);
    let kept = metrics.traffic.series(labels("b", "-"));
    kept.opened.fetch_add(1, Ordering::Relaxed);
    assert!(metrics.encode().expect("metrics encode").contains("source_workload=\"b\""));
}

#[test]
fn a_peer_that_makes_up_names_does_not_make_a_series_of_each() {
    let (_runtime, metrics) = metrics();
    for name in 0..10_000 {
        let mut labels = labels(&format!("n{name}"), "-");
        labels.source.principal = Known::from("spiffe://cluster.local/ns/x/sa/y".to_owned());
        metrics.traffic.series_by_hearsay(labels).opened.fetch_add(1, Ordering::Relaxed);
    }
    let count =
        |text: &str| text.lines().filter(|line| line.starts_with("istio_tcp_connections_opened")).count();
    let text = metrics.encode().expect("metrics encode");
    assert_eq!(count(&text), 4_097);
    let rest = text.lines().find(|line| line.contains("source_workload=\"unknown\"")).expect("the others");
    assert!(
        rest.contains("source_principal=\"spiffe://cluster.local/ns/x/sa/y\""),
        "what is proven stays: {rest}"
    );
    assert!(rest.ends_with(" 5904"), "{rest}");

    let gone = |labels: &TrafficLabels| labels.source.workload != Known::default();
    for _ in 0..2 {
        metrics.traffic.sweep(1, gone);
    }
    metrics.traffic.series_by_hearsay(labels("later", "-")).opened.fetch_add(1, Ordering::Relaxed);
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
