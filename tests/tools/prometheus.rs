//! Prometheus itself, as Debian has it: its linter, and a server that scrapes a lab's proxy.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::lab::http::{self, curl};
use tests::lab::{Node, Process, Program, eventually};

use super::telling::Telling;

pub(crate) fn promtool_finds_no_mistake_that_ztunnel_does_not_make() {
    let telling = Telling::start();
    let stats = "127.0.0.1:15020".parse().expect("an address");
    let (_, text) = http::get(telling.lab.node("a").netns(), stats, "/metrics").expect("metrics");
    let mut lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start promtool (Debian's package prometheus): {e}"));
    lint.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let output = lint.wait_with_output().expect("it ends");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    for line in told.lines() {
        // Of OpenMetrics read as the older format, and of names that dashboards ask for.
        let known = line.ends_with("_total no help text") || line.contains("_proxy_count non-histogram");
        assert!(known, "{line}");
    }
    assert!(!told.contains("error while linting"), "{told}");
}

/// The tutorial's PodMonitor, with a fixed target for its discovery.
const SCRAPE: &str = r#"
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: prometheus/istio-ambient-stats
  honor_labels: true
  metrics_path: /metrics
  static_configs:
  - targets: ['127.0.0.1:15020']
    labels: {app: ztunnel, namespace: istio-system, pod: ztunnel-a}
  metric_relabel_configs:
  - {action: drop, source_labels: [__name__], regex: 'istio_agent_.*|istiod_.*|istio_build|citadel_.*|galley_.*|pilot_[^p].*|envoy_cluster_[^u].*'}
  - {action: labeldrop, regex: 'chart|destination_app|destination_version|heritage|.*operator.*|istio.*|release|source_app|source_version'}
"#;

pub(crate) fn a_server_scrapes_us_with_the_tutorials_relabelling() {
    let telling = Telling::start();
    let node = telling.lab.node("a");
    let _server = serve(&node, SCRAPE);

    let up = query(&node, "up");
    assert_eq!(up[0]["value"][1], "1", "{up}");
    // What Kiali groups an edge by, and what it leaves out unless all are there.
    let edge = query(&node, EDGE);
    let labels = &edge[0]["metric"];
    for (label, want) in [
        ("source_workload", "web-a"),
        ("source_workload_namespace", "default"),
        ("source_canonical_service", "web-a"),
        ("source_canonical_revision", "latest"),
        ("source_cluster", "Kubernetes"),
        ("destination_workload", "web-b"),
        ("destination_cluster", "Kubernetes"),
        ("response_flags", "-"),
        ("app", "ztunnel"),
    ] {
        assert_eq!(labels[label], want, "{label} of {edge}");
    }
    let secured = query(
        &node,
        "sum(istio_tcp_connections_opened_total{app=\"ztunnel\"}) by (connection_security_policy)",
    );
    assert_eq!(secured[0]["metric"]["connection_security_policy"], "mutual_tls", "{secured}");
    let pods = query(&node, "workload_manager_active_proxy_count{pod=~\"ztunnel-.*\"}");
    assert_eq!(pods[0]["value"][1], "2", "{pods}");
    // Prometheus asks for gzip; an answer that it could not read would not be `up`.
    let packed = query(&node, "scrape_samples_scraped");
    assert_ne!(packed[0]["value"][1], "0", "{packed}");
}

const EDGE: &str = "sum(istio_tcp_received_bytes_total{reporter=\"source\",source_workload=\"web-a\",destination_workload=\"web-b\"}) \
    by (app, source_cluster, source_workload_namespace, source_workload, source_canonical_service, \
    source_canonical_revision, destination_cluster, destination_service_namespace, destination_service, \
    destination_service_name, destination_workload_namespace, destination_workload, \
    destination_canonical_service, destination_canonical_revision, response_flags) > 0";

/// Starts a server on the node.
#[track_caller]
pub(crate) fn serve(node: &Node, config: &str) -> Process {
    let folder = node.home().join("prometheus");
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).expect("write its configuration");
    let program = Program::new("prometheus")
        .args([format!("--config.file={}", file.display())])
        .args([format!("--storage.tsdb.path={}", folder.join("data").display())])
        .args(["--web.listen-address=127.0.0.1:9090"]);
    program.start("prometheus", node.netns(), &node.home().join("prometheus.log"))
}

/// What the node's server answers to a call of its API.
pub(crate) fn ask(node: &Node, call: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
    let url = format!("http://127.0.0.1:9090/api/v1/{call}");
    let parameters: Vec<_> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments = vec!["--get"];
    for parameter in &parameters {
        arguments.extend(["--data-urlencode", parameter]);
    }
    arguments.push(&url);
    let answer = curl(node.netns(), &arguments);
    let parsed: Value = serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {answer:?}"))?;
    if parsed["status"] == "success" { Ok(parsed["data"].clone()) } else { Err(answer.body) }
}

/// The result of a query, once there is one.
#[track_caller]
fn query(node: &Node, query: &str) -> Value {
    eventually(format_args!("Prometheus answers {query}"), || {
        let result = ask(node, "query", &[("query", query)])?["result"].clone();
        if result.as_array().is_some_and(|all| !all.is_empty()) {
            Ok(result)
        } else {
            Err(result.to_string())
        }
    })
}
