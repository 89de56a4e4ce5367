//! The kubelet's probes reach pods of the mesh past the proxy, and nothing else does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;
use tests::lab::http::curl;
use tests::lab::{Conn, Lab, Pod, Server, Speaks, eventually};

use super::{meshed, uncaptured, url};

/// Nothing in plain text, and nobody at all.
const NOTHING: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: default}
spec: {}
";

pub(crate) fn declared_probes_pass_under_strict_and_deny_all_and_no_other_port_does() {
    let lab = meshed();
    let (web, _servers) = probed(&lab);
    let node = lab.node("a");
    assert_eq!(curl(node.netns(), &[&url(web.at(8080), "/healthz/ready")]).status, 200);
    for port in [7001, 7002] {
        Conn::open(node.netns(), web.at(port)).unwrap_or_else(|e| panic!("{port}: {e}")).echo("probe");
    }
    refused(&node, &web, 7003);
    // The agent's rules on the host are gone, as after somebody's `nft flush ruleset`.
    node.netns().run(|| command("nft", &["flush", "ruleset"]));
    eventually("probes pass again", || probe(&node, &web));
    refused(&node, &web, 7003);
}

pub(crate) fn traffic_that_the_node_masquerades_is_no_probe() {
    let lab = meshed();
    let (web, _servers) = probed(&lab);
    let node = lab.node("a");
    // Whatever leaves this node leaves it with the node's own address, as with many a network plugin.
    for rule in [
        "add table ip others",
        "add chain ip others post { type nat hook postrouting priority 100; }",
        "add rule ip others post masquerade",
    ] {
        node.netns().run(|| command("nft", &[rule]));
    }
    let client = uncaptured(&lab, "client", "a");
    for port in [8080, 7001, 7003] {
        let conn = client.try_connect(web.at(port));
        let heard =
            conn.and_then(|mut conn| conn.try_say("GET / HTTP/1.0").and_then(|()| conn.try_hear("HTTP")));
        assert!(heard.is_err(), "port {port} answers a forwarded client");
    }
    probe(&node, &web).unwrap_or_else(|why| panic!("{why}"));
}

pub(crate) fn probes_pass_on_while_the_agent_restarts() {
    let lab = meshed();
    let (web, _servers) = probed(&lab);
    let node = lab.node("a");
    let (done, probes) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let probing = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                probe(&node, &web)?;
                probes.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(())
        });
        // Also when this fails, lest the probes never end.
        let ended = Ended(&done);
        for _ in 0..2 {
            node.restart_agent();
            let seen = probes.load(Ordering::Relaxed);
            eventually("probes after the restart", || {
                let now = probes.load(Ordering::Relaxed);
                if now > seen + 20 || probing.is_finished() { Ok(()) } else { Err(format!("{seen} {now}")) }
            });
        }
        drop(ended);
        let outcome = probing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.unwrap_or_else(|why| panic!("after {} probes: {why}", probes.load(Ordering::Relaxed)));
    });
}

/// Ends the probes.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A pod with a probe of each kind that nobody may reach otherwise: 8080, 7001 and 7002, and 7003 that no probe names.
fn probed(lab: &Lab) -> (Pod, Vec<Server>) {
    let web = lab
        .pod("web")
        .on("a")
        .probe("livenessProbe", json!({ "httpGet": { "port": "http", "path": "/healthz/ready" } }))
        .probe("readinessProbe", json!({ "tcpSocket": { "port": 7001 } }))
        .probe("startupProbe", json!({ "grpc": { "port": 7002 } }))
        .create();
    web.wait_enrolled();
    web.sample_app("blue");
    let servers = [7001, 7002, 7003].map(|port| web.serve(port, Speaks::Echo));
    lab.apply(NOTHING);
    let node = lab.node("a");
    eventually("the policies are in force", || match reach(&node, &web, 7003) {
        Err(_) => Ok(()),
        Ok(()) => Err("an undeclared port still answers the node".to_owned()),
    });
    eventually("declared probes pass", || probe(&node, &web));
    (web, servers.into())
}

fn probe(node: &tests::lab::Node, web: &Pod) -> Result<(), String> {
    reach(node, web, 7001).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(node: &tests::lab::Node, web: &Pod, port: u16) {
    assert!(reach(node, web, port).is_err(), "port {port} answers the node");
}

fn reach(node: &tests::lab::Node, web: &Pod, port: u16) -> std::io::Result<()> {
    let mut conn = Conn::open(node.netns(), web.at(port))?;
    conn.try_say("probe")?;
    conn.try_hear("probe")
}

fn command(program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output().expect("a program that runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
