//! Go's own pprof reads the profiles.

use std::process::Command;

use tests::lab::http::curl;
use tests::lab::{Lab, Node};

pub(crate) fn pprof_reads_cpu_and_heap() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let proxy = node
        .restart_proxy(|spec| spec.env("_RJEM_MALLOC_CONF", "prof:true,prof_active:true,lg_prof_sample:12"));
    proxy.config_dump().unwrap_or_else(|e| panic!("{e}"));
    for (path, kind) in [
        ("/debug/pprof/profile?seconds=2&frequency=1000", "samples/count cpu/nanoseconds"),
        ("/debug/pprof/heap", "objects/count inuse_space/bytes"),
    ] {
        let told = raw(&node, path);
        assert!(told.contains(kind), "{path}: {told}");
    }
    let heap = raw(&node, "/debug/pprof/heap");
    assert!(heap.contains("adit-proxy"), "its mappings name the program: {heap}");
    let stacks =
        heap.lines().filter(|line| line.contains(": ") && line.trim_start().starts_with(char::is_numeric));
    assert!(stacks.count() > 10, "{heap}");
}

/// A profile as pprof understands it.
#[track_caller]
fn raw(node: &Node, path: &str) -> String {
    let file = node.home().join("profile").display().to_string();
    let answer = curl(node.netns(), &["-o", &file, &format!("http://127.0.0.1:15000{path}")]);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let output = Command::new("go")
        .args(["tool", "pprof", "-raw", "-symbolize=none", &file])
        .output()
        .unwrap_or_else(|e| panic!("start go tool pprof: {e}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{path}: {}{told}", String::from_utf8_lossy(&output.stderr));
    told
}
