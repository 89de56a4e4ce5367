//! The alerts and the dashboard of the charts: promtool runs their tests, and a server evaluates them over a lab's node.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::lab::{Node, eventually};

use super::prometheus::{ask, serve};
use super::telling::Telling;

pub(crate) fn promtool_finds_each_alert_firing_where_it_must_and_silent_elsewhere() {
    for arguments in
        [["check", "rules", "charts/adit/files/rules.yaml"], ["test", "rules", "tests/alerts/tests.yaml"]]
    {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(root())
            .output()
            .unwrap_or_else(|e| panic!("start promtool (Debian's package prometheus): {e}"));
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told));
    }
}

pub(crate) fn a_server_evaluates_every_alert_and_panel_over_a_node() {
    let telling = Telling::start();
    let node = telling.lab.node("a");
    let rules = root().join("charts/adit/files/rules.yaml");
    let _server = serve(&node, &SCRAPE.replace("RULES", &rules.display().to_string()));

    let wanted = std::fs::read_to_string(&rules).expect("the rules").matches("- alert: ").count();
    eventually("every alert is evaluated", || {
        let all = alerts(&node)?;
        let bad: Vec<_> = all.iter().filter(|rule| rule["health"] != "ok").collect();
        if all.len() == wanted && bad.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of {wanted}, bad: {bad:?}", all.len()))
        }
    });
    eventually("the node is well", || match state(&node, "AditProxyNotReady")?.as_str() {
        "inactive" => Ok(()),
        other => Err(other.to_owned()),
    });

    let board =
        std::fs::read_to_string(root().join("charts/adit/files/dashboard.json")).expect("the dashboard");
    let board: Value = serde_json::from_str(&board).expect("it is JSON");
    let queries = queries(&board);
    for title in ALWAYS_THERE {
        assert!(queries.iter().any(|(panel, _)| panel == title), "no panel {title:?}");
    }
    for (panel, expression) in queries {
        let expression =
            expression.replace("$__rate_interval", "30s").replace("$proxy", ".*").replace("$agent", ".*");
        eventually(format_args!("{panel:?} shows {expression}"), || {
            let result = ask(&node, "query", &[("query", &expression)])?["result"].clone();
            let shown = result.as_array().is_some_and(|all| !all.is_empty());
            if shown || !ALWAYS_THERE.contains(&panel.as_str()) { Ok(()) } else { Err(result.to_string()) }
        });
    }

    // What an operator is told when the agent goes: its proxy is no longer ready. It fires minutes later.
    node.agent().kill();
    eventually("the alert counts", || match state(&node, "AditProxyNotReady")?.as_str() {
        "pending" => Ok(()),
        other => Err(other.to_owned()),
    });
    let told = alerts(&node).expect("the alerts");
    let alert = told.iter().find(|rule| rule["name"] == "AditProxyNotReady").expect("it is there");
    let summary = alert["alerts"][0]["annotations"]["summary"].as_str().expect("words");
    assert!(summary.contains("127.0.0.1:15020") && summary.contains("workload proxy manager"), "{summary}");
}

/// Panels that show something on a node where all is well and connections were made.
const ALWAYS_THERE: [&str; 8] = [
    "Proxies that are not ready",
    "First certificate to expire",
    "Agents without their plugin",
    "Pods captured",
    "Connections opened",
    "Certificates by state",
    "Pods by state",
    "Descriptors in use",
];

const SCRAPE: &str = "
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: ['RULES']
scrape_configs:
- job_name: ztunnel
  static_configs: [{targets: ['127.0.0.1:15020']}]
- job_name: istio-cni-node
  static_configs: [{targets: ['127.0.0.1:15014']}]
";

fn alerts(node: &Node) -> Result<Vec<Value>, String> {
    let data = ask(node, "rules", &[("type", "alert")])?;
    let groups = data["groups"].as_array().ok_or("no groups")?;
    Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
}

fn state(node: &Node, alert: &str) -> Result<String, String> {
    let all = alerts(node)?;
    let rule = all.iter().find(|rule| rule["name"] == alert).ok_or_else(|| format!("no {alert}"))?;
    rule["state"].as_str().map(str::to_owned).ok_or_else(|| rule.to_string())
}

/// Every query of a dashboard, with the title of its panel.
fn queries(board: &Value) -> BTreeSet<(String, String)> {
    let panels = board["panels"].as_array().expect("panels");
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .filter_map(move |target| Some((title.clone(), target["expr"].as_str()?.to_owned())))
    };
    panels.iter().flat_map(of).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_path_buf()
}
