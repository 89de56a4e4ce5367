//! The agent comes and goes, its settings differ, and pods are served as they were.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use tests::lab::{Families, Lab, Program, Speaks, binaries, eventually};

use super::pods::rules;
use super::takeover::load::Load;
use super::{assert_tunnelled, enrolled, one_node};

pub(crate) fn pods_of_a_node_without_an_agent_are_served_on() {
    let lab = Lab::new().kubernetes().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = lab.pod("web").on("b").create();
    server.wait_enrolled();
    server.sample_app("blue");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut old = client.connect(server.at(7001));
    old.echo("before");
    for node in lab.nodes() {
        node.agent().kill();
    }
    old.echo("without an agent");
    assert_tunnelled(&client, &server);
    // Whoever ends then is let go when the agent is back.
    server.delete();
    for node in lab.nodes() {
        node.begin_agent();
        node.wait_agent();
    }
    let uid = server.uid().to_owned();
    eventually("the proxy has let the pod go", || {
        let dump = lab.node("b").proxy().config_dump()?.to_string();
        if dump.contains(&uid) { Err("still in the dump".to_owned()) } else { Ok(()) }
    });
    client.wait_enrolled();
}

pub(crate) fn a_pod_that_leaves_the_mesh_and_returns_under_load_fails_no_new_connection() {
    let lab = Lab::new().kubernetes().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = lab.pod("web").on("b").create();
    server.wait_enrolled();
    let _echo = server.serve(7001, Speaks::Echo);
    let load = Load::start(client.netns(), vec![server.at(7001)]);
    let goes_on = |when: &str| {
        let before = load.served();
        eventually(format_args!("traffic goes on {when}"), || {
            let more = load.served() - before;
            if more >= 20 { Ok(()) } else { Err(format!("{more} served")) }
        });
    };
    goes_on("inside");
    for round in 0..3 {
        server.relabel("istio.io/dataplane-mode", Some("none"));
        server.wait_withdrawn();
        goes_on("outside");
        server.relabel("istio.io/dataplane-mode", None);
        server.wait_enrolled();
        goes_on(&format!("inside again, {round}"));
    }
    // What was carried through the pod's own proxy ends with it, when the drain is over; the callers come again.
    let mut outcome = load.finish();
    outcome.failed.retain(|why| !why.contains("long connection"));
    assert_eq!(outcome.failed, [""; 0], "beside {} served", outcome.served);
}

pub(crate) fn a_captured_pod_talks_to_the_api_server_as_itself() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = lab.kubernetes();
    server.mount_account("default", "client");
    let token =
        std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/token").expect("a token");
    let answer = client.curl(&[
        "--insecure",
        "--header",
        &format!("Authorization: Bearer {token}"),
        &format!("https://{}/api/v1/namespaces/default/pods", server.address()),
    ]);
    // It may not list pods, and the refusal names who asked.
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body.contains("system:serviceaccount:default:client"), "{answer:?}");
}

pub(crate) fn native_nftables_carry_a_pod_as_iptables_do() {
    let lab = one_node().agent_env("NATIVE_NFTABLES", "true").start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = enrolled(&lab, "default", "web");
    server.sample_app("blue");
    assert_tunnelled(&client, &server);
    assert!(ruleset(&server).contains("istio-ambient"), "{}", ruleset(&server));
    lab.withdraw_namespace("default");
    server.wait_withdrawn();
    eventually("the tables are gone", || match ruleset(&server) {
        rules if rules.contains("istio") => Err(rules),
        _ => Ok(()),
    });
}

pub(crate) fn both_families_of_a_pod_are_carried() {
    let lab = one_node().families(Families::Dual).start();
    lab.enroll_namespace("default");
    let client = enrolled(&lab, "default", "client");
    let server = enrolled(&lab, "default", "web");
    server.sample_app("blue");
    for ip in server.ips() {
        let before = super::tunnelled(&server);
        let at = std::net::SocketAddr::new(ip, 8080);
        assert_eq!(client.curl(&["--globoff", &format!("http://{at}/")]).status, 200, "{at}");
        eventually(format_args!("{at} is served over mTLS"), || {
            if super::tunnelled(&server) > before { Ok(()) } else { Err("not counted") }
        });
    }
    assert!(rules(&server).contains("REDIRECT"));
}

pub(crate) fn a_runtime_of_cni_1_1_is_told_how_the_agent_is_and_collects_garbage() {
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let pod = enrolled(&lab, "default", "web");
    let node = lab.node("a");
    let mut config = json!({
        "cniVersion": "1.1.0", "name": "lab", "type": "adit-cni", "status_needs_agent": true,
        "agent_socket": node.home().join("run/plugin.sock"),
        "cni.dev/valid-attachments": [{ "containerID": format!("{}-0", pod.uid()), "ifname": "eth0" }],
    });
    assert_eq!(call(&lab, "STATUS", &config), Ok(Value::Null));
    assert_eq!(call(&lab, "GC", &config), Ok(Value::Null));
    pod.wait_enrolled();
    pod.cni_check().unwrap_or_else(|e| panic!("{e}"));
    node.agent().kill();
    let refused = call(&lab, "STATUS", &config).expect_err("no agent");
    assert_eq!(refused["code"], 50, "{refused}");
    // Nobody is told, and nobody is blamed: the next collection comes.
    config["status_needs_agent"] = json!(false);
    assert_eq!(call(&lab, "STATUS", &config), Ok(Value::Null));
}

/// One call of the plugin that concerns no container, as a runtime of CNI 1.1 makes it.
fn call(lab: &Lab, command: &str, config: &Value) -> Result<Value, Value> {
    let plugin = binaries::find("adit-cni");
    let program = Program::new(&plugin).env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
    let output = lab.node("a").netns().run(|| {
        let mut child = program
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the plugin");
        let _ = child.stdin.take().expect("a pipe").write_all(config.to_string().as_bytes());
        child.wait_with_output().expect("the plugin's output")
    });
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if output.status.success() { Ok(document) } else { Err(document) }
}

fn ruleset(pod: &tests::lab::Pod) -> String {
    let output = pod.run(|| {
        let mut list = Program::new("nft").args(["list", "ruleset"]).command();
        list.stdin(Stdio::null()).output().expect("start nft")
    });
    String::from_utf8_lossy(&output.stdout).into_owned()
}
