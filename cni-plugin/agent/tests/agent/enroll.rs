//! Pods that run already when they come into the mesh.

use std::fs;
use std::os::unix::fs::symlink;

use crate::rig::{PodNetns, Rig, TempDir, eventually, obey, uid, until, write_pod};

/// A process of the pod, as /proc shows it.
pub(crate) fn process(dir: &TempDir, pid: u32, pod: &str, netns: &PodNetns) {
    let process = dir.path().join(format!("proc/{pid}"));
    fs::create_dir_all(process.join("ns")).unwrap();
    let cgroup = format!("0::/kubepods/burstable/pod{}/c0ffee\n", uid(pod));
    fs::write(process.join("cgroup"), cgroup).unwrap();
    fs::write(process.join("stat"), format!("{pid} (app) S {}7\n", "0 ".repeat(18))).unwrap();
    symlink(netns.path(), process.join("ns/net")).unwrap();
}

#[tokio::test]
async fn a_running_pod_follows_the_label_of_its_namespace() {
    let netns = PodNetns::with_address("10.0.0.5");
    let rig = Rig::start(TempDir::new(), |_, _| {}).await;
    process(&rig.dir, 100, "a", &netns);
    let mut asked = obey(rig.proxy());
    rig.namespace("shop", "");
    rig.pod("shop", "a", "10.0.0.5");
    until(&mut asked, "snapshot sent").await;
    assert!(!netns.is_captured());

    rig.namespace("shop", "ambient");
    let added = until(&mut asked, &format!("add {}", uid("a"))).await;
    assert!(!added.captured, "a running pod has its proxy before it is captured");
    eventually("the pod is enabled", || rig.is_enabled("shop", "a")).await;
    assert!(netns.is_captured(), "enabled is said only of a captured pod");

    rig.namespace("shop", "");
    until(&mut asked, &format!("delete {}", uid("a"))).await;
    assert!(!rig.is_enabled("shop", "a"), "peers are told before a pod is released");
    assert!(!netns.is_captured(), "a pod is released before its proxy goes");
    eventually("the status goes", || rig.status("shop", "a").is_none()).await;
    assert!(!netns.run("iptables-save", &[]).contains("ISTIO_"), "no chain stays behind");
    assert!(!netns.run("ip", &["rule"]).contains("lookup 100"), "no policy rule stays behind");
}

#[tokio::test]
async fn a_running_pod_is_found_by_the_name_of_its_namespace() {
    let netns = PodNetns::with_address("10.0.0.5");
    let rig = Rig::start(TempDir::new(), |raw, dir| raw.netns_dir = dir.text("netns")).await;
    symlink(netns.path(), rig.dir.path().join("netns/shop_a")).unwrap();
    symlink("/proc/self/ns/net", rig.dir.path().join("netns/shop_b")).unwrap();
    let mut asked = obey(rig.proxy());
    rig.namespace("shop", "ambient");
    rig.pod("shop", "b", "127.0.0.1");
    rig.pod("shop", "a", "10.0.0.5");
    until(&mut asked, &format!("add {}", uid("a"))).await;
    eventually("the pod is enabled", || rig.is_enabled("shop", "a")).await;
    assert_eq!(rig.status("shop", "b"), None, "the host's own namespace is nobody's");
}

#[tokio::test]
async fn a_pod_waits_as_pending_until_a_proxy_is_there() {
    let netns = PodNetns::with_address("10.0.0.5");
    let rig = Rig::start(TempDir::new(), |_, _| {}).await;
    process(&rig.dir, 100, "a", &netns);
    rig.namespace("shop", "ambient");
    rig.pod("shop", "a", "10.0.0.5");
    let pending = || rig.status("shop", "a").is_some_and(|text| text.contains(r#""pending""#));
    eventually("the pod is pending", pending).await;
    assert!(!netns.is_captured(), "a running pod is not cut off while nobody serves it");
    let mut asked = obey(rig.proxy());
    until(&mut asked, &format!("add {}", uid("a"))).await;
    eventually("the pod is enabled", || rig.is_enabled("shop", "a")).await;
}

#[tokio::test]
async fn rules_that_somebody_removed_come_back() {
    let netns = PodNetns::with_address("10.0.0.5");
    let every = Some("200ms".to_owned());
    let rig = Rig::start(TempDir::new(), |raw, _| raw.measure_interval = every).await;
    process(&rig.dir, 100, "a", &netns);
    let mut asked = obey(rig.proxy());
    rig.namespace("shop", "ambient");
    rig.pod("shop", "a", "10.0.0.5");
    until(&mut asked, &format!("add {}", uid("a"))).await;
    eventually("the pod is enabled", || rig.is_enabled("shop", "a")).await;
    netns.run("iptables", &["-t", "nat", "-D", "OUTPUT", "-j", "ISTIO_OUTPUT"]);
    eventually("the jump is back", || {
        netns.run("iptables", &["-t", "nat", "-S", "OUTPUT"]).contains("ISTIO_OUTPUT")
    })
    .await;
}

#[tokio::test]
async fn a_restarted_agent_finds_its_pods_and_cuts_nobody_off() {
    let netns = PodNetns::with_address("10.0.0.5");
    let dir = TempDir::new();
    write_pod(&dir, "shop", "a", "10.0.0.5");
    let first = Rig::start(dir, |_, _| {}).await;
    process(&first.dir, 100, "a", &netns);
    let mut asked = obey(first.proxy());
    first.namespace("shop", "ambient");
    until(&mut asked, &format!("add {}", uid("a"))).await;
    eventually("the pod is enabled", || first.is_enabled("shop", "a")).await;

    let Rig { dir, stop, agent } = first;
    stop.cancel();
    agent.await.unwrap().unwrap();
    while let Some(asked) = asked.recv().await {
        assert!(!asked.words.starts_with("delete"), "nothing is deleted when the agent ends");
    }
    assert!(netns.is_captured());

    let second = Rig::start(dir, |_, _| {}).await;
    assert!(second.is_enabled("shop", "a"));
    let mut asked = obey(second.proxy());
    let added = asked.recv().await.unwrap();
    assert_eq!(added.words, format!("add {}", uid("a")), "the first that a proxy hears is its pod");
    assert!(added.captured);
    until(&mut asked, "snapshot sent").await;
    assert!(second.is_enabled("shop", "a"));
}

#[tokio::test]
async fn a_pod_without_a_namespace_delays_no_other() {
    let netns = PodNetns::with_address("10.0.0.5");
    let rig = Rig::start(TempDir::new(), |_, _| {}).await;
    process(&rig.dir, 100, "a", &netns);
    let mut asked = obey(rig.proxy());
    rig.namespace("shop", "ambient");
    for name in ["lost1", "lost2", "lost3"] {
        rig.pod("shop", name, "10.0.0.9");
    }
    rig.pod("shop", "a", "10.0.0.5");
    until(&mut asked, &format!("add {}", uid("a"))).await;
    eventually("the pod is enabled", || rig.is_enabled("shop", "a")).await;
}

#[tokio::test]
async fn processes_in_foreign_nested_and_host_namespaces_lend_their_pod_none() {
    let rig = Rig::start(TempDir::new(), |_, _| {}).await;
    let [own, other, nested] = ["10.0.0.5", "10.0.0.6", "10.0.0.7"].map(PodNetns::with_address);
    let bare = PodNetns::empty();
    // All older than the pod's own: one that entered another pod, one that made a namespace for itself and gave it an
    // address, one in a namespace with nothing in it, and one on the host's network.
    process(&rig.dir, 10, "a", &other);
    process(&rig.dir, 11, "a", &nested);
    process(&rig.dir, 12, "a", &bare);
    let host = rig.dir.path().join("proc/13");
    process(&rig.dir, 13, "a", &bare);
    fs::remove_file(host.join("ns/net")).unwrap();
    symlink("/proc/self/ns/net", host.join("ns/net")).unwrap();
    let mut asked = obey(rig.proxy());
    rig.pod("mesh", "a", "10.0.0.5");
    rig.namespace("mesh", "ambient");
    until(&mut asked, "snapshot sent").await;
    for netns in [&other, &nested, &bare] {
        assert!(!netns.is_captured());
    }
    assert!(!rig.is_enabled("mesh", "a"), "no namespace is the pod's own");

    process(&rig.dir, 100, "a", &own);
    let added = until(&mut asked, &format!("add {}", uid("a"))).await;
    assert_eq!(added.netns, Some(own.inode()), "the proxy is given the pod's own namespace");
    eventually("the pod is enrolled", || rig.is_enabled("mesh", "a")).await;
    assert!(own.is_captured());
    for netns in [&other, &nested, &bare] {
        assert!(!netns.is_captured());
    }
}
