//! `istioctl ztunnel-config` as Istio ships it, over the dump of a lab's proxy.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::lab::{Node, Program, binaries};

use super::telling::Telling;

pub(crate) fn every_table_shows_what_the_proxy_knows() {
    let telling = Telling::start();
    let [web_a, web_b] = &telling.web;
    let service = telling.service.at(80).ip().to_string();
    let node = telling.lab.node("a");
    for (table, rows) in [
        (
            "workload",
            vec![
                vec!["NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL"],
                vec!["default", "web-a", &web_a.ip().to_string(), "a", "None", "HBONE"],
                vec!["default", "web-b", &web_b.ip().to_string(), "b", "None", "HBONE"],
            ],
        ),
        (
            "service",
            vec![
                vec!["NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"],
                vec!["default", "web", &service, "None", "2/2"],
            ],
        ),
        (
            "policy",
            vec![
                vec!["default", "everything-for-all", "Allow", "Namespace"],
                vec!["default", "no-strangers", "Deny", "WorkloadSelector"],
            ],
        ),
        (
            "certificate",
            vec![
                vec![&web_a.identity(), "Leaf", "Available", "true"],
                vec![&web_a.identity(), "Root", "Available", "true"],
            ],
        ),
        (
            "connections",
            vec![
                vec!["web-a.default", "Outbound", "web-b.default:15008", "web-b.default:7001", "HBONE"],
                vec!["web-a.default", "Inbound", "web-a.default:7001", "web-b.default", "HBONE"],
            ],
        ),
    ] {
        let told = ask(&node, &[table]);
        for row in rows {
            // Cells in their order; others may be between.
            let shown = told.lines().any(|line| {
                let mut rest = line;
                row.iter().all(|cell| match rest.split_once(cell) {
                    Some((_, after)) => {
                        rest = after;
                        true
                    }
                    None => false,
                })
            });
            assert!(shown, "{row:?} in\n{told}");
        }
        let all = ask(&node, &["all"]);
        assert!(told.lines().all(|line| all.contains(line.trim_end())), "{told}\nis in\n{all}");
    }
    // The node's own pods alone have connections and certificates.
    assert!(!ask(&node, &["connections"]).lines().any(|line| line.starts_with("web-b")));
    let other = ask(&telling.lab.node("b"), &["workload", "--workload-namespace", "nobody"]);
    assert!(!other.contains("web-a"), "{other}");
}

pub(crate) fn every_part_is_there_as_json_and_yaml() {
    let telling = Telling::start();
    let node = telling.lab.node("a");
    for (part, names) in [
        ("workload", ["web-a", "web-b"]),
        ("service", ["web", "web.default.svc.cluster.local"]),
        ("policy", ["no-strangers", "everything-for-all"]),
        ("certificate", ["sa/web-a", "sa/stranger"]),
        ("connections", ["web-a", "HBONE"]),
    ] {
        let json = ask(&node, &[part, "-o", "json"]);
        let parsed: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{part}: {e}: {json}"));
        assert!(parsed.as_array().is_some_and(|all| !all.is_empty()) || parsed.is_object(), "{part}: {json}");
        let yaml = ask(&node, &[part, "-o", "yaml"]);
        for name in names {
            assert!(json.contains(name) && yaml.contains(name), "{part} names {name}: {json}{yaml}");
        }
    }
}

pub(crate) fn adit_inspect_shows_the_same_tables_of_the_same_dump() {
    let telling = Telling::start();
    for node in telling.lab.nodes() {
        let file = kept(node);
        for (part, ours) in [
            ("workload", "workloads"),
            ("service", "services"),
            ("policy", "policies"),
            ("certificate", "certificates"),
            ("connections", "connections"),
        ] {
            let stock = told_of(istioctl(), &["ztunnel-config", part], &file);
            let shown = told_of(binaries::find("adit"), &["inspect", ours], &file);
            assert_eq!(rows(&shown), rows(&stock), "{part}:\n{stock}\n{shown}");
        }
    }
}

/// The cells of each row, whatever stands between them; pods of one name may stand in any order.
fn rows(table: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut rows: Vec<_> = table.lines().map(cells).filter(|row| !row.is_empty()).collect();
    rows.sort();
    rows
}

fn istioctl() -> PathBuf {
    std::env::var_os("ADIT_ISTIOCTL").expect("ADIT_ISTIOCTL names istioctl").into()
}

/// Runs istioctl over the dump that the node's proxy gives now.
#[track_caller]
fn ask(node: &Node, args: &[&str]) -> String {
    let file = kept(node);
    let args: Vec<_> = ["ztunnel-config"].iter().chain(args).copied().collect();
    told_of(istioctl(), &args, &file)
}

/// The dump that the node's proxy gives now, in a file.
#[track_caller]
fn kept(node: &Node) -> PathBuf {
    let dump = node.proxy().config_dump().unwrap_or_else(|e| panic!("{e}"));
    let file = node.home().join("dump.json");
    std::fs::write(&file, dump.to_string()).expect("write the dump");
    file
}

#[track_caller]
fn told_of(program: PathBuf, args: &[&str], file: &Path) -> String {
    let program = Program::new(program)
        .args(args.iter().copied())
        .args(["--file".to_owned(), file.display().to_string()]);
    let output = program.command().output().expect("the program runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {}{told}", String::from_utf8_lossy(&output.stderr));
    told
}
