//! Pods whose start the plugin holds back.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::event::{AddPod, CheckPod, DelPod, Event, Outcome};

use crate::rig::{PodNetns, Rig, TempDir, eventually, obey, uid, until};

async fn rig() -> Rig {
    let rig = Rig::start(TempDir::new(), |_, _| {}).await;
    rig.namespace("mesh", "ambient");
    rig.namespace("plain", "");
    rig
}

fn add(namespace: &str, name: &str, netns: OwnedFd, ips: &[&str]) -> Event {
    let pod = AddPod {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        uid: Some(uid(name)),
        container_id: format!("c-{name}"),
        netns_path: format!("/var/run/netns/{name}"),
        ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
    };
    Event::Add { pod, netns }
}

#[tokio::test]
async fn a_selected_pod_starts_only_once_it_is_captured_and_served() {
    let rig = rig().await;
    let netns = PodNetns::with_address("10.0.0.5");
    let mut asked = obey(rig.proxy());
    rig.pod("mesh", "a", "");
    assert_eq!(rig.call(add("mesh", "a", netns.fd(), &["10.0.0.5"])).await, Outcome::Enrolled);
    assert!(netns.is_captured());
    assert!(rig.is_enabled("mesh", "a"), "{:?}", rig.status("mesh", "a"));
    let added = until(&mut asked, &format!("add {}", uid("a"))).await;
    assert!(added.captured, "a starting pod is captured before its proxy is asked for");

    let check = CheckPod {
        name: "a".to_owned(),
        namespace: "mesh".to_owned(),
        uid: None,
        container_id: "c-a".to_owned(),
        netns_path: String::new(),
    };
    assert_eq!(rig.call(Event::<OwnedFd>::Check(check.clone())).await, Outcome::Enrolled);
    netns.run("iptables", &["-t", "nat", "-F", "ISTIO_OUTPUT"]);
    let drifted = rig.call(Event::<OwnedFd>::Check(check)).await;
    assert!(matches!(&drifted, Outcome::Failed { message, .. } if message.contains("mesh/a")), "{drifted:?}");

    let gone = DelPod { name: "a".to_owned(), namespace: "mesh".to_owned(), container_id: "c-a".to_owned() };
    assert_eq!(rig.call(Event::<OwnedFd>::Delete(gone)).await, Outcome::Done);
    until(&mut asked, &format!("delete {}", uid("a"))).await;
    eventually("the status goes", || rig.status("mesh", "a").is_none()).await;
}

#[tokio::test]
async fn a_pod_that_is_not_selected_starts_untouched() {
    let rig = rig().await;
    let netns = PodNetns::empty();
    rig.pod("plain", "b", "");
    assert_eq!(rig.call(add("plain", "b", netns.fd(), &[])).await, Outcome::NotSelected);
    assert!(!netns.is_captured());
    assert_eq!(rig.status("plain", "b"), None);
}

#[tokio::test]
async fn the_hosts_own_namespace_is_refused_by_the_pods_name() {
    let rig = rig().await;
    rig.pod("mesh", "a", "");
    let own = File::open("/proc/thread-self/ns/net").unwrap();
    let outcome = rig.call(add("mesh", "a", own.into(), &[])).await;
    assert!(
        matches!(&outcome, Outcome::Failed { message, retry: false }
            if message.contains("mesh/a") && message.contains("host's own")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_namespace_without_the_pods_addresses_is_refused() {
    let rig = rig().await;
    rig.pod("mesh", "a", "");
    let netns = PodNetns::with_address("10.0.0.6");
    let outcome = rig.call(add("mesh", "a", netns.fd(), &["10.0.0.5"])).await;
    assert!(
        matches!(&outcome, Outcome::Failed { message, retry: false }
            if message.contains("mesh/a") && message.contains("10.0.0.5")),
        "{outcome:?}"
    );
    assert!(!netns.is_captured());
}

#[tokio::test]
async fn a_node_without_a_proxy_is_ready_to_start_one() {
    let rig = rig().await;
    for _ in 0..1000 {
        let outcome = rig.call(Event::<OwnedFd>::Status).await;
        if outcome == Outcome::Done {
            return;
        }
        assert!(matches!(outcome, Outcome::Failed { retry: true, .. }), "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the agent never became able");
}

#[tokio::test]
async fn a_call_of_another_version_is_told_so() {
    let rig = rig().await;
    let outcome = rig.send(br#"{"version":99,"event":"add"}"#, None).await;
    assert!(
        matches!(&outcome, Outcome::Failed { message, retry: false } if message.contains("99")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn selected_namespaces_are_kept_for_when_the_agent_is_away() {
    let rig = rig().await;
    let file = rig.dir.path().join("run/selected-namespaces.json");
    let want = Some(SelectedNamespaces(BTreeSet::from(["mesh".to_owned()])));
    eventually("the file names mesh", || SelectedNamespaces::read(&file).unwrap() == want).await;
    rig.namespace("plain", "ambient");
    eventually("the file names plain", || {
        SelectedNamespaces::read(&file).unwrap().is_some_and(|selected| selected.contains("plain"))
    })
    .await;
}
