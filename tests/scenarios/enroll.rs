//! Pods come into the mesh and leave it while they run, start and end.

use std::process::Stdio;

use tests::lab::{Lab, Pod, Program, Speaks, always, eventually, eventually_is};

use super::{captured, meshed, uncaptured, url};

pub(crate) fn a_new_pod_starts_only_once_its_proxy_listens() {
    let lab = meshed();
    let pod = lab.pod("web").on("a").create();
    // No waiting: the chain has answered, so the pod's first connection is served.
    assert_eq!(pod.redirection().as_deref().unwrap_or("enabled"), "enabled");
    let sockets = listeners(&pod);
    for port in [15001, 15006, 15008] {
        assert!(sockets.contains(&port), "port {port} is not among {sockets:?}");
    }
    assert!(rules(&pod).to_uppercase().contains("REDIRECT"), "{}", rules(&pod));
    pod.cni_check().unwrap_or_else(|e| panic!("{e}"));
    pod.wait_enrolled();
}

pub(crate) fn enrolling_a_running_pod_keeps_its_connections_and_captures_new_ones() {
    let lab = Lab::new().start();
    let client = lab.pod("client").on("a").create();
    let server = lab.pod("web").on("b").create();
    assert_eq!((client.redirection(), rules(&client)), (None, String::new()));
    server.sample_app("blue");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut old = client.connect(server.at(7001));
    old.echo("before");

    lab.enroll_namespace("default");
    client.wait_enrolled();
    server.wait_enrolled();
    old.echo("after");

    let capture = lab.capture();
    assert_eq!(client.curl(&[&url(server.at(8080), "/color")]).body, "blue");
    let seen = capture.finish().between(&[client.ip()]);
    assert!(!seen.server_ports().contains(&8080), "a new connection went around the mesh");
    assert!(seen.server_ports().contains(&15008), "{:?}", seen.server_ports());
    old.echo("and still");
}

pub(crate) fn withdrawing_a_pod_leaves_no_rule_behind() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("blue");
    assert_eq!(client.curl(&[&url(server.at(8080), "/")]).status, 200);

    lab.withdraw_namespace("default");
    for pod in [&client, &server] {
        pod.wait_withdrawn();
        eventually_is("rules in the pod", String::new(), || rules(pod));
        eventually_is("listeners of the proxy", Vec::new(), || {
            listeners(pod).into_iter().filter(|port| (15001..=15053).contains(port)).collect::<Vec<_>>()
        });
    }
    let capture = lab.capture();
    assert_eq!(client.curl(&[&url(server.at(8080), "/")]).status, 200);
    let seen = capture.finish().between(&[client.ip()]);
    assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [8080]);
}

pub(crate) fn a_deleted_pod_is_forgotten_and_its_neighbors_go_on() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let doomed = captured(&lab, "doomed", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("before");
    doomed.delete();
    let proxy = lab.node("b").proxy();
    proxy.wait_no_workload("default", "doomed");
    eventually("the proxy lets the pod go", || {
        match proxy.config_dump()?["workloadState"].get(doomed.uid()) {
            None => Ok(()),
            Some(state) => Err(state.to_string()),
        }
    });
    open.echo("after");
    client.connect(server.at(7001)).echo("and a new one");
    proxy.wait_ready();
}

pub(crate) fn a_successor_of_the_same_name_is_another_workload() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    for round in ["first", "second", "third"] {
        let server = captured(&lab, "web", "b");
        server.sample_app(round);
        eventually(round, || {
            let answer = client.curl(&[&url(server.at(8080), "/color")]);
            if answer.body == round { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        server.delete();
    }
}

pub(crate) fn a_restarted_agent_finds_its_pods() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "a");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("before");
    let node = lab.node("a");
    node.restart_agent();
    node.proxy().wait_ready();
    open.echo("after");
    client.connect(server.at(7001)).echo("and a new one");
    assert_eq!(client.redirection().as_deref(), Some("enabled"));
    // And it serves the plugin again.
    captured(&lab, "late", "a").connect(server.at(7001)).echo("me too");
}

pub(crate) fn while_the_agent_is_away_selected_pods_wait_and_others_start() {
    let lab = meshed();
    lab.create_namespace("plain");
    captured(&lab, "web", "a");
    let node = lab.node("a");
    node.agent().kill();
    let refused =
        lab.pod("waits").on("a").try_create().err().expect("a selected pod must wait for the agent");
    assert!(refused.message.contains("agent"), "{refused}");
    let other = lab.pod("starts").in_namespace("plain").on("a").create();
    assert_eq!(other.redirection(), None);
    node.restart_agent();
    lab.pod("waits").on("a").create().wait_enrolled();
}

pub(crate) fn however_the_agent_is_away_its_own_pod_and_unselected_ones_start_and_the_rest_once_it_is_back() {
    let lab = meshed();
    for namespace in ["plain", "istio-system"] {
        lab.create_namespace(namespace);
    }
    lab.enroll_namespace("istio-system");
    let web = captured(&lab, "web", "a");
    web.sample_app("blue");
    let node = lab.node("a");
    let run = node.home().join("run");
    eventually("the agent leaves word of what is selected", || {
        let file =
            std::fs::read_to_string(run.join("selected-namespaces.json")).map_err(|e| e.to_string())?;
        if file.contains("istio-system") && file.contains("default") { Ok(()) } else { Err(file) }
    });
    for left in ["a stale socket", "no socket"] {
        let name = |kind: &str| format!("{kind}-{}", left.split(' ').next().unwrap_or_default());
        node.agent().kill();
        if left == "no socket" {
            std::fs::remove_file(run.join("plugin.sock")).expect("the agent's socket");
        }
        let refused = lab.pod(&name("waits")).on("a").try_create().err().expect("a selected pod waits");
        assert!(refused.message.contains(&format!("pod default/{}", name("waits"))), "{left}: {refused}");
        let other = lab.pod(&name("other")).in_namespace("istio-system").on("a").try_create();
        assert_eq!(other.err().map(|refused| refused.code), Some(11), "{left}");
        // The agent's own pod would wait for itself.
        lab.pod(&name("istio-cni-node")).in_namespace("istio-system").on("a").create();
        let plain = lab.pod(&name("plain")).in_namespace("plain").on("a").create();
        assert_eq!((plain.redirection(), rules(&plain)), (None, String::new()), "{left}");
        // Pods that run do not notice.
        assert_eq!(web.curl(&[&url(web.at(8080), "/color")]).body, "blue", "{left}");
        // No more than what a kubelet does: it tries again while the next agent starts.
        node.begin_agent();
        lab.pod(&name("waits")).on("a").create().wait_enrolled();
        node.wait_agent();
    }
}

pub(crate) fn a_proxy_that_crashed_comes_back_to_its_pods() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("blue");
    let node = lab.node("b");
    node.restart_proxy(|spec| spec);
    eventually("traffic flows again", || {
        let answer = client.curl(&[&url(server.at(8080), "/color")]);
        if answer.body == "blue" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let outside = uncaptured(&lab, "outside", "a");
    always(std::time::Duration::from_millis(300), "plaintext is captured too", || {
        let answer = outside.curl(&[&url(server.at(8080), "/color")]);
        if answer.body == "blue" { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// The rules of ours in a pod, by whichever backend, as its program prints them.
pub(super) fn rules(pod: &Pod) -> String {
    let programs: [&[&str]; 5] = [
        &["iptables-nft-save"],
        &["ip6tables-nft-save"],
        &["iptables-legacy-save"],
        &["ip6tables-legacy-save"],
        &["nft", "list", "ruleset", "inet"],
    ];
    let saved = pod.run(|| {
        programs.map(|words| {
            let (program, args) = words.split_first().expect("a program");
            let mut command = Program::new(program).args(args).command();
            let output = command.stdin(Stdio::null()).output();
            let output = output.unwrap_or_else(|e| panic!("run {program}: {e}"));
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    });
    let ours = saved
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| ["ISTIO", "istio-", "-j", "redirect"].iter().any(|word| line.contains(word)));
    ours.collect::<Vec<_>>().join("\n")
}

/// The TCP ports that something in the pod listens on.
pub(super) fn listeners(pod: &Pod) -> Vec<u16> {
    let tables = pod.run(|| {
        ["tcp", "tcp6"].map(|table| {
            std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default()
        })
    });
    let mut ports: Vec<u16> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
            (state == "0A").then_some(port)
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
