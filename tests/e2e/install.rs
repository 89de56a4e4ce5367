//! The agent installs its plugin for a real runtime, keeps it there, and leaves the node as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use tests::lab::{Netns, Program, eventually, eventually_is, http};

use super::runtime::rules;
use super::takeover::Cluster;
use super::takeover::container::Owner;

pub(crate) fn uninstalled_the_node_and_its_pods_are_as_they_were() {
    let mut cluster = Cluster::start();
    let node = cluster.node.netns().clone();
    let before = (folder(&cluster.containerd.confs()), kernel(&node));
    let bins = folder(&cluster.containerd.bins());
    let ours = cluster.agents.start(Owner::Ours);
    assert_eq!(cluster.agents.chain(), ["ptp", "adit-cni"]);
    let pod = cluster.pod("web");
    let in_mesh = rules(pod.netns());
    assert!(in_mesh.contains("REDIRECT"), "{in_mesh}");

    cluster.lab.kubernetes().delete("DaemonSet", "istio-system", "istio-cni-node");
    ours.signal(nix::sys::signal::Signal::SIGTERM);
    ours.wait();
    assert_eq!((folder(&cluster.containerd.confs()), kernel(&node)), before);
    assert_eq!(rules(pod.netns()), "");
    let key = tests::lab::Key::new("Pod", "default", "web");
    eventually_is("the pod's annotation", None, || {
        let pod = cluster.lab.cluster().get(&key)?;
        pod["metadata"]["annotations"]["ambient.istio.io/redirection"].as_str().map(str::to_owned)
    });
    // A runtime that still knows the plugin by its name finds something that answers.
    let left = folder(&cluster.containerd.bins());
    let more: Vec<_> = left.keys().filter(|name| !bins.contains_key(*name)).collect();
    assert!(more.len() <= 1 && more.iter().all(|name| name.as_str() == "adit-cni"), "{more:?}");
    cluster.containerd.remove(&pod).unwrap_or_else(|e| panic!("{e}"));
    let uid = cluster.lab.pod("plain").declare();
    let plain = cluster.containerd.run("default", "plain", &uid).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(rules(plain.netns()), "");
}

pub(crate) fn an_agent_without_rights_uninstalls_all_the_same() {
    let mut cluster = Cluster::start();
    let node = cluster.node.netns().clone();
    let before = (folder(&cluster.containerd.confs()), kernel(&node));
    let ours = cluster.agents.start(Owner::Ours);
    let pod = cluster.pod("web");
    assert!(rules(pod.netns()).contains("REDIRECT"));

    // Helm may take a chart's rights away before its pods have ended.
    let server = cluster.lab.kubernetes();
    for name in ["istio-cni", "istio-cni-ambient", "istio-cni-repair"] {
        server.delete("ClusterRoleBinding", "", name);
    }
    server.delete("DaemonSet", "istio-system", "istio-cni-node");
    ours.signal(nix::sys::signal::Signal::SIGTERM);
    ours.wait();
    assert_eq!((folder(&cluster.containerd.confs()), kernel(&node)), before);
    assert_eq!(rules(pod.netns()), "");
    cluster.containerd.remove(&pod).unwrap_or_else(|e| panic!("{e}"));
}

pub(crate) fn a_conflist_that_nobody_can_read_makes_the_agent_unready_until_it_can_be_read() {
    let mut cluster = Cluster::start();
    let ours = cluster.agents.start(Owner::Ours);
    let (name, whole) = folder(&cluster.containerd.confs())
        .into_iter()
        .find(|(name, _)| name.ends_with(".conflist"))
        .expect("a conflist");
    let path = cluster.containerd.confs().join(name);
    fs::write(&path, "nonsense").expect("write the conflist");
    let ready = |cluster: &Cluster| {
        let answer = http::get(cluster.node.netns(), ([127, 0, 0, 1], 8000).into(), "/readyz");
        answer.map_or(0, |(status, _)| status)
    };
    eventually("the agent is not ready", || match ready(&cluster) {
        200 => Err("ready".to_owned()),
        _ => Ok(()),
    });
    fs::write(&path, whole).expect("write the conflist");
    eventually_is("the agent's readiness", 200, || ready(&cluster));
    ours.assert_running();
    let pod = cluster.pod("web");
    assert!(rules(pod.netns()).contains("REDIRECT"));
}

pub(crate) fn a_neighbor_that_writes_its_conflist_anew_does_not_take_us_out() {
    let mut cluster = Cluster::start();
    let confs = cluster.containerd.confs();
    let neighbors = folder(&confs);
    let _ours = cluster.agents.start(Owner::Ours);
    for (name, text) in &neighbors {
        fs::write(confs.join(name), text).expect("write the conflist");
    }
    eventually("the chain has our plugin again", || match cluster.agents.chain() {
        chain if chain == ["ptp", "adit-cni"] => Ok(()),
        chain => Err(format!("{chain:?}")),
    });
    let pod = cluster.pod("web");
    assert!(rules(pod.netns()).contains("REDIRECT"));
}

/// The files of a folder and what is in them; links by where they lead, folders by their names.
fn folder(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).expect("a folder").flatten();
    let read = |path: &Path| match fs::read_link(path) {
        Ok(to) => to.display().to_string().into_bytes(),
        Err(_) if path.is_dir() => Vec::new(),
        Err(_) => fs::read(path).expect("a file"),
    };
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path()))).collect()
}

/// What the kernel has of us on a node: rules, sets, routes, switches.
fn kernel(node: &Netns) -> Vec<String> {
    let said = |program: &str, args: &[&str]| {
        let output = node.run(|| {
            let mut command = Program::new(program).args(args.iter().copied()).command();
            command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start {program}: {e}"))
        });
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Tables and chains of the system without a rule in them are no trace of anybody's.
    let rules =
        |text: String| text.lines().filter(|line| line.starts_with("-A")).collect::<Vec<_>>().join("\n");
    let ours =
        |text: String| text.lines().filter(|line| line.contains("istio")).collect::<Vec<_>>().join("\n");
    vec![
        rules(said("iptables-save", &[])),
        rules(said("ip6tables-save", &[])),
        ours(said("nft", &["list", "tables"])),
        said("ipset", &["list", "-name"]),
        said("ip", &["rule"]),
        said("ip", &["route", "show", "table", "100"]),
        said(
            "sysctl",
            &["net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet", "net.ipv4.conf.all.rp_filter"],
        ),
    ]
}
