use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Every family with everything counted once.
fn all() -> Metrics {
    let metrics = Metrics::new();
    metrics.installs.ended(InstallResult::Success);
    metrics.installs.ready(true);
    metrics.reconciled(Reconciled::Add);
    let took = Duration::from_millis(2);
    metrics.plugin.answered(Call::Add, Code::Done, took);
    metrics.plugin.turned_away(TurnedAway::NotRoot);
    metrics.proxies.connected(1);
    metrics.proxies.ack_error(AckError::TimedOut);
    metrics.pods.count(PodState::Enrolled, 3);
    metrics.pods.degraded(Degraded::NoProxy, true);
    metrics.pods.step(Step::Redirect, took, false);
    metrics.pods.failed_proof(Proof::Canary);
    metrics.pods.searched(took);
    metrics.probes.exempted(1);
    metrics.probes.failed();
    metrics.pods.ipv6_left_alone();
    metrics
}

#[test]
fn every_family_has_its_type_its_help_and_a_sample() {
    let text = all().encode().unwrap();
    for (family, kind) in FAMILIES {
        assert!(text.contains(&format!("# TYPE {family} {kind}\n")), "{family} is a {kind}: {text}");
        let suffix = match kind {
            "counter" => "_total",
            "histogram" => "_count",
            _ => "",
        };
        let sample = format!("\n{family}{suffix}");
        assert!(
            text.contains(&format!("{sample}{{")) || text.contains(&format!("{sample} ")),
            "{family}: {text}"
        );
        let help = text.lines().find(|line| line.starts_with(&format!("# HELP {family} "))).expect("a help");
        assert!(help.ends_with('.'), "{help}");
    }
    let told = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(told, FAMILIES.len(), "a family that this table does not know: {text}");
}

#[test]
fn labels_of_istio_cni_have_its_values() {
    let text = all().encode().unwrap();
    for sample in [
        "istio_cni_installs_total{result=\"SUCCESS\"} 1",
        "istio_cni_install_ready 1",
        "istio_cni_plugin_requests_total{response_code=\"200\"} 1",
        "nodeagent_reconcile_events_total{type=\"add\"} 1",
        "ztunnel_connected 1",
        "adit_agent_pods{state=\"enrolled\"} 3",
        "adit_agent_failed_steps_total{step=\"redirect\"} 1",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} in {text}");
    }
}

#[test]
fn only_pods_that_start_count_as_the_plugin_s_requests() {
    let metrics = Metrics::new();
    metrics.plugin.answered(Call::Delete, Code::Done, Duration::ZERO);
    metrics.plugin.answered(Call::Status, Code::Done, Duration::ZERO);
    metrics.plugin.malformed();
    let text = metrics.encode().unwrap();
    let requests: Vec<&str> =
        text.lines().filter(|line| line.starts_with("istio_cni_plugin_requests_total")).collect();
    assert_eq!(requests, ["istio_cni_plugin_requests_total{response_code=\"400\"} 1"]);
}

#[test]
fn a_scrape_gets_the_type_that_it_asked_for() {
    let prometheus_3 =
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.3";
    for (accept, want) in [
        (prometheus_3, OPEN_METRICS),
        ("text/plain", PLAIN),
        ("*/*", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(content_type(&headers), want, "{accept}");
    }
}

#[tokio::test]
async fn metrics_are_served_over_http_and_nothing_else_is() {
    let listener = http_server::listen(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(all().serve(listener));
    for (path, status, part) in
        [("/metrics", "HTTP/1.1 200", "\nztunnel_connected 1\n"), ("/debug", "HTTP/1.1 404", "GET /metrics")]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(status) && text.contains(part), "{path}: {text}");
    }
}

/// Name and type.
const FAMILIES: [(&str, &str); 19] = [
    ("adit_agent_probe_exemptions", "gauge"),
    ("adit_agent_probe_exemption_failures", "counter"),
    ("adit_agent_installs_undone", "counter"),
    ("adit_agent_installs_preempted", "counter"),
    ("istio_cni_installs", "counter"),
    ("istio_cni_install_ready", "gauge"),
    ("istio_cni_plugin_requests", "counter"),
    ("nodeagent_reconcile_events", "counter"),
    ("ztunnel_connected", "gauge"),
    ("adit_agent_plugin_call_duration_seconds", "histogram"),
    ("adit_agent_plugin_calls_turned_away", "counter"),
    ("adit_agent_ack_errors", "counter"),
    ("adit_agent_pods", "gauge"),
    ("adit_agent_degraded", "gauge"),
    ("adit_agent_step_duration_seconds", "histogram"),
    ("adit_agent_failed_steps", "counter"),
    ("adit_agent_failed_proofs", "counter"),
    ("adit_agent_netns_search_duration_seconds", "histogram"),
    ("adit_agent_ipv6_left_alone", "counter"),
];
