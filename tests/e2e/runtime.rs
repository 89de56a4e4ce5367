//! A real containerd calls the plugin, with runc and the reference plugins of the CNI project.

pub(crate) mod containerd;
pub(crate) mod cri;

use std::process::Stdio;

use tests::lab::http::curl;
use tests::lab::{Lab, Netns, Program, Speaks, eventually, eventually_is, within};

use super::{assert_plain, enrolled, one_node};
use containerd::Containerd;

/// A lab whose node `a` runs containerd, in a mesh.
fn with_containerd(cni_version: &str) -> (Lab, Containerd) {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let containerd = Containerd::start(&lab.node("a"), cni_version);
    (lab, containerd)
}

pub(crate) fn a_selected_pod_comes_up_enrolled_and_is_forgotten_when_it_ends() {
    let (lab, containerd) = with_containerd("1.0.0");
    let web = enrolled(&lab, "default", "web");
    web.sample_app("blue");
    let uid = lab.pod("client").declare();
    let sandbox =
        within(PATIENCE, "containerd makes the sandbox", || containerd.run("default", "client", &uid));
    let inside = sandbox.netns().clone();
    // The chain has answered, so the pod's first connection is captured.
    assert!(rules(&inside).contains("REDIRECT"), "{}", rules(&inside));
    containerd.tell(&lab, "default", "client", &sandbox);
    lab.node("a").proxy().wait_workload("default", "client", "HBONE");
    let before = super::tunnelled(&web);
    let answer = curl(&inside, &[&format!("http://{}/", web.at(8080))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("the request went through the tunnel", || {
        if super::tunnelled(&web) > before { Ok(()) } else { Err("not counted") }
    });

    drop(inside);
    lab.delete("Pod", "default", "client");
    containerd.remove(&sandbox).unwrap_or_else(|e| panic!("{e}"));
    eventually("the proxy has let the pod go", || {
        let dump = lab.node("a").proxy().config_dump()?.to_string();
        if dump.contains(&uid) { Err("still in the dump".to_owned()) } else { Ok(()) }
    });
}

pub(crate) fn while_the_agent_is_away_a_selected_sandbox_says_why_it_waits_and_others_start_and_end() {
    let (lab, containerd) = with_containerd("1.0.0");
    lab.create_namespace("plain");
    let uid = lab.pod("early").declare();
    let early = within(PATIENCE, "a sandbox before", || containerd.run("default", "early", &uid));
    lab.node("a").agent().kill();

    let uid = lab.pod("waits").declare();
    let why = containerd.run("default", "waits", &uid).expect_err("a sandbox that waits for the agent");
    for part in ["adit-cni", "node agent", "plugin.sock", "default/waits"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    let other = lab.pod("starts").in_namespace("plain").declare();
    let starts = containerd.run("plain", "starts", &other).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(rules(starts.netns()), "");
    for sandbox in [&early, &starts] {
        containerd.remove(sandbox).unwrap_or_else(|e| panic!("DEL needs nobody: {e}"));
    }
    lab.node("a").restart_agent();
    let late = within(PATIENCE, "the sandbox comes up", || containerd.run("default", "waits", &uid));
    assert!(rules(late.netns()).contains("REDIRECT"));
}

pub(crate) fn lists_of_older_versions_of_cni_are_served_as_well() {
    let (lab, containerd) = with_containerd("0.4.0");
    let uid = lab.pod("client").declare();
    let sandbox =
        within(PATIENCE, "containerd makes the sandbox", || containerd.run("default", "client", &uid));
    assert!(rules(sandbox.netns()).contains("REDIRECT"));
    containerd.remove(&sandbox).unwrap_or_else(|e| panic!("{e}"));
}

pub(crate) fn a_running_sandbox_is_enrolled_and_withdrawn_by_its_namespace_s_label() {
    let lab = one_node().start();
    let containerd = Containerd::start(&lab.node("a"), "1.0.0");
    let outsider = lab.pod("outsider").label("istio.io/dataplane-mode", "none").create();
    let uid = lab.pod("web").declare();
    let sandbox = containerd.run("default", "web", &uid).unwrap_or_else(|e| panic!("{e}"));
    containerd.tell(&lab, "default", "web", &sandbox);
    let inside = sandbox.netns().clone();
    assert_eq!(rules(&inside), "");
    // Nobody told the agent of this namespace: it finds it by the cgroup of the sandbox's process.
    lab.enroll_namespace("default");
    lab.node("a").proxy().wait_workload("default", "web", "HBONE");
    assert!(rules(&inside).contains("REDIRECT"));
    let _echo = tests::lab::Server::start(&inside, 7001, Speaks::Echo);
    let at = format!("{}:7001", sandbox.ip()).parse().expect("an address");
    outsider.connect(at).echo("still served");
    lab.withdraw_namespace("default");
    lab.node("a").proxy().wait_workload("default", "web", "TCP");
    eventually_is("rules in the sandbox", String::new(), || rules(&inside));
    outsider.connect(at).echo("and served again");
    let plain = lab.pod("plain").label("istio.io/dataplane-mode", "none").create();
    plain.sample_app("blue");
    assert_plain(&outsider, &plain);
}

/// The redirection rules inside a sandbox; empty without any.
pub(crate) fn rules(inside: &Netns) -> String {
    let output = inside.run(|| {
        let mut save = Program::new("iptables-save").command();
        save.stdin(Stdio::null()).output().expect("start iptables-save")
    });
    let all = String::from_utf8_lossy(&output.stdout);
    all.lines().filter(|line| line.contains("ISTIO") && line.starts_with("-A")).collect::<Vec<_>>().join("\n")
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
