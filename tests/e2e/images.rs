//! The images that `make images` writes, under containerd and runc, with the rights that the charts give and no others.

mod kubelet;
mod node;

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use tests::lab::http::curl;
use tests::lab::{Server, Speaks, eventually};

use super::runtime::rules;
use node::{Cluster, Running};

pub(crate) fn the_charts_proxy_and_agent_carry_pods_out_of_their_images() {
    let cluster = imported();
    let agent = cluster.agent(&[]);
    let proxy = cluster.proxy();
    for running in [&agent, &proxy] {
        assert_rights(&cluster, running);
    }
    carries(&cluster, &proxy, |inside| rules(inside).contains("REDIRECT"));
}

pub(crate) fn nftables_and_old_iptables_of_the_agents_image_carry_pods_as_well() {
    let cluster = imported();
    let agent = cluster.agent(&[("NATIVE_NFTABLES", "true")]);
    let proxy = cluster.proxy();
    carries(&cluster, &proxy, |inside| {
        let listed =
            inside.run(|| Command::new("nft").args(["list", "ruleset"]).output().expect("start nft"));
        String::from_utf8_lossy(&listed.stdout).contains("redirect to :15001")
    });
    // What an agent finds on its path is the image's: nothing of the machine is in the container.
    for tool in ["iptables-nft", "iptables-legacy", "ip6tables-legacy", "iptables", "nft", "ipset"] {
        let program = format!("/usr/sbin/{tool}");
        let said = cluster.containerd.exec(&agent.id, &[&program, "--version"]);
        let said = said.unwrap_or_else(|e| panic!("{tool}: {e}"));
        assert!(said.contains('v'), "{tool}: {said}");
    }
}

/// A cluster whose runtime has taken the archives.
#[track_caller]
fn imported() -> Cluster {
    let cluster = Cluster::start();
    for name in ["adit-proxy", "adit-node-agent"] {
        let archive = archives().join(format!("{name}.tar"));
        cluster.containerd.import(&archive).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let known =
        cluster.containerd.ctr(&["images", "list", "--quiet"], None).unwrap_or_else(|e| panic!("{e}"));
    for name in ["adit-proxy", "adit-node-agent"] {
        let name = format!("ghcr.io/adit-mesh/{name}:{}", env!("CARGO_PKG_VERSION"));
        assert!(known.lines().any(|line| line == name), "{name} is not among {known}");
    }
    cluster
}

/// The runtime was told exactly the chart's rights.
#[track_caller]
fn assert_rights(cluster: &Cluster, running: &Running) {
    let context = &running.chart.pod()["containers"][0]["securityContext"];
    let given = running.given(cluster);
    let names = |list: &serde_json::Value| -> BTreeSet<String> {
        let names = list.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        names.map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    let (add, drop) = (names(&context["capabilities"]["add"]), names(&context["capabilities"]["drop"]));
    assert_eq!(drop, ["ALL".to_owned()].into());
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(names(&given["process"]["capabilities"][set]), add, "{set}");
    }
    assert_eq!(given["root"]["readonly"], context["readOnlyRootFilesystem"]);
    assert_eq!(given["root"]["readonly"], true);
    assert_eq!(given["process"]["user"]["uid"], context["runAsUser"]);
    assert_eq!(given["process"]["user"]["gid"], context["runAsGroup"]);
}

/// Traffic of a pod goes through the proxy in both directions, by rules that `captured` sees.
#[track_caller]
fn carries(cluster: &Cluster, proxy: &Running, captured: impl Fn(&tests::lab::Netns) -> bool) {
    let peer = cluster.peer();
    peer.sample_app("blue");
    let pod = cluster.pod("web");
    assert!(captured(pod.netns()), "{}", rules(pod.netns()));
    let before = super::tunnelled(&peer);
    let answer = curl(pod.netns(), &[&format!("http://{}/", peer.at(8080))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("the other node served it over mTLS", || {
        if super::tunnelled(&peer) > before { Ok(()) } else { Err("not counted") }
    });
    let _echo = Server::start(pod.netns(), 7001, Speaks::Echo);
    let at = format!("{}:7001", pod.ip()).parse().expect("an address");
    peer.connect(at).echo("through the proxy of the image");
    eventually("the proxy of the image served it over mTLS", || {
        let labels = [
            ("reporter", "destination"),
            ("connection_security_policy", "mutual_tls"),
            ("destination_workload", "web"),
        ];
        let opened = proxy.metrics().sum("istio_tcp_connections_opened_total", &labels);
        if opened > 0.0 { Ok(()) } else { Err("not counted") }
    });
}

/// Where `make images` has put the archives.
#[track_caller]
pub(crate) fn archives() -> PathBuf {
    let folder = env::var_os("ADIT_E2E_IMAGES").map(PathBuf::from);
    folder.expect("ADIT_E2E_IMAGES is not set: run `make e2e`")
}
