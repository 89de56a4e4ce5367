//! `adit-node-agent facts`: the document, of the kernel that runs this and of a CNI directory of its own.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::rig::TempDir;

#[test]
fn facts_tell_of_this_kernel_and_of_the_cni_directory_and_leave_nothing_behind() {
    let dir = TempDir::new();
    for folder in ["net.d", "bin", "run", "pods"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let chain = r#"{"cniVersion":"0.3.1","name":"kindnet","plugins":[{"type":"ptp"},{"type":"portmap"}]}"#;
    fs::write(dir.path().join("net.d/10-kindnet.conflist"), chain).unwrap();
    fs::write(dir.path().join("net.d/05-broken.conflist"), "{").unwrap();
    fs::write(dir.path().join("net.d/10-x.bak"), "").unwrap();
    fs::write(dir.path().join("bin/ptp"), "").unwrap();
    let before = listing(&dir);
    let tables = rules();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_adit-node-agent"))
        .args(["--node-name", "n1", "--pods-dir", &path("pods"), "--run-dir", &path("run")])
        .args(["--mounted-cni-net-dir", &path("net.d"), "--cni-bin-target-dirs", &path("bin"), "facts"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(facts["format"], 1);
    assert_eq!(facts["node"], "n1");
    assert_eq!(facts["kernel"], fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    let redirection = facts["redirection"].as_array().unwrap();
    let backends: Vec<_> = redirection.iter().map(|one| one["backend"].as_str().unwrap()).collect();
    assert_eq!(backends, ["nftables", "iptables-nft", "iptables-legacy", "iptables"]);
    // The tests of redirection need a kernel that can.
    let chosen = facts["chosen"]["backend"].as_str().unwrap();
    let works = redirection.iter().find(|one| one["backend"] == chosen).unwrap();
    assert_eq!(works["works"], true, "{facts}");
    assert_eq!(facts["cni"]["primary"], "10-kindnet.conflist");
    assert_eq!(facts["cni"]["plugins"], serde_json::json!(["ptp", "portmap"]));
    assert_eq!(facts["cni"]["passed_over"][0]["file"], "05-broken.conflist");
    assert_eq!(facts["cni"]["files"].as_array().unwrap().len(), 3, "{facts}");
    assert_eq!(facts["binaries"][0]["programs"], serde_json::json!(["ptp"]));
    assert_eq!(listing(&dir), before);
    assert_eq!(rules(), tables);
}

/// Every file and folder.
fn listing(dir: &TempDir) -> Vec<String> {
    let output = Command::new("find").arg(dir.path()).output().unwrap();
    let mut all: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    all.sort();
    all
}

/// The rules of this test's own network namespace.
fn rules() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
