//! Pods whose start the plugin holds back.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::event::{self, AddPod, CheckPod, DelPod, Event, Level, Line, Outcome, Said};
use cni_plugin_wire::seqpacket::{Connection, SocketError};

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
async fn any_one_address_that_the_plugin_hands_over_proves_the_namespace_whatever_the_status_says() {
    let rig = rig().await;
    let _asked = obey(rig.proxy());
    rig.pod("mesh", "a", "10.0.0.9");
    let netns = PodNetns::with_address("10.0.0.6");
    let outcome = rig.call(add("mesh", "a", netns.fd(), &["fd00::6", "10.0.0.6"])).await;
    assert_eq!(outcome, Outcome::Enrolled);
    assert!(netns.is_captured());
}

#[tokio::test]
async fn a_node_without_a_proxy_decides_and_says_that_it_is_limited() {
    let rig = rig().await;
    until_status(
        &rig,
        |outcome| matches!(outcome, Outcome::Limited { message } if message.contains("no proxy")),
    )
    .await;
    let _asked = obey(rig.proxy());
    until_status(&rig, |outcome| *outcome == Outcome::Done).await;
}

async fn until_status(rig: &Rig, holds: impl Fn(&Outcome) -> bool) {
    for _ in 0..1000 {
        let outcome = rig.call(Event::<OwnedFd>::Status).await;
        if holds(&outcome) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the agent never became able");
}

#[tokio::test]
async fn what_a_plugin_says_costs_the_agent_nothing_and_is_not_answered() {
    let rig = rig().await;
    let lines = vec![Line { level: Level::Error, message: "ADD failed".to_owned() }; 1000];
    let said =
        Said { command: "ADD".to_owned(), pod: "mesh/a".to_owned(), container_id: String::new(), lines };
    let bytes = Event::<OwnedFd>::Say(said).encode().unwrap();
    let plugin = Connection::connect(&rig.dir.path().join("run/plugin.sock"), event::DATAGRAM_LIMIT).unwrap();
    plugin.send(&bytes, None).await.unwrap();
    assert!(matches!(plugin.recv().await, Err(SocketError::Closed)));
    until_status(&rig, |outcome| !matches!(outcome, Outcome::Failed { .. })).await;
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
