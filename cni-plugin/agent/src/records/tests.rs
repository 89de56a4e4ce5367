use super::*;
use crate::netns::tests::TempDir;

fn pod() -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = "web".to_owned();
    pod.metadata.namespace = "shop".to_owned();
    pod.metadata.uid = "shop/web".to_owned();
    pod.metadata.annotations.insert("ambient.istio.io/dns-capture".to_owned(), "false".to_owned());
    pod.metadata.annotations.insert("else".to_owned(), "x".to_owned());
    pod.spec.service_account_name = "sa".to_owned();
    pod
}

fn own() -> Netns {
    Netns::open(Path::new("/proc/thread-self/ns/net")).unwrap()
}

/// A record of this process's namespace, in a directory of its own.
fn saved(dir: &TempDir) -> Records {
    let records = Records::new(dir.path().join("pods")).unwrap();
    let ips = vec!["127.0.0.1".parse().unwrap()];
    records.save(&Record::new(&pod(), &own(), Some("c1".to_owned()), ips, Stage::In)).unwrap();
    records
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("pods/shop_2fweb.json")
}

fn change(dir: &TempDir, from: &str, to: &str) {
    let text = fs::read_to_string(file(dir)).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file(dir), text.replace(from, to)).unwrap();
}

#[test]
fn a_pod_on_record_is_known_again() {
    let dir = TempDir::new();
    let loaded = saved(&dir).load("n1", &HostNetns::default());
    let [restored] = loaded.pods.as_slice() else { panic!("{loaded:?}") };
    assert_eq!(restored.pod.full_name(), "shop/web");
    assert_eq!(restored.pod.service_account(), "sa");
    assert_eq!(restored.pod.spec.node_name, "n1");
    assert_eq!(restored.pod.ips(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(
        restored.pod.metadata.annotations.keys().collect::<Vec<_>>(),
        ["ambient.istio.io/dns-capture"]
    );
    assert_eq!(restored.container.as_deref(), Some("c1"));
    assert_eq!(restored.netns.as_ref().map(|netns| netns.id()), Some(own().id()));
    assert_eq!((restored.stage, loaded.complete), (Stage::In, false));
}

#[test]
fn records_are_complete_once_that_was_said_and_until_one_cannot_be_read() {
    let dir = TempDir::new();
    let records = saved(&dir);
    records.complete(true).unwrap();
    assert!(records.load("n1", &HostNetns::default()).complete);
    fs::write(dir.path().join("pods/other.json"), "{").unwrap();
    let loaded = records.load("n1", &HostNetns::default());
    assert_eq!((loaded.pods.len(), loaded.complete), (1, false));
    fs::remove_file(dir.path().join("pods/other.json")).unwrap();
    records.complete(false).unwrap();
    assert!(!records.load("n1", &HostNetns::default()).complete);
}

#[test]
fn a_namespace_that_is_another_by_now_is_not_used() {
    let dir = TempDir::new();
    let records = saved(&dir);
    let inode = format!("\"inode\":{}", own().id().inode);
    change(&dir, &inode, "\"inode\":1");
    let loaded = records.load("n1", &HostNetns::default());
    assert!(loaded.pods.iter().all(|restored| restored.netns.is_none()), "{loaded:?}");
    assert_eq!(loaded.pods.len(), 1);
}

#[test]
fn the_hosts_namespace_and_one_without_the_pods_addresses_are_not_used() {
    let dir = TempDir::new();
    let records = saved(&dir);
    let host = HostNetns::read(Path::new("/proc")).unwrap();
    assert!(records.load("n1", &host).pods.iter().all(|restored| restored.netns.is_none()));
    change(&dir, "127.0.0.1", "192.0.2.77");
    assert!(records.load("n1", &HostNetns::default()).pods.iter().all(|restored| restored.netns.is_none()));
}

#[test]
fn what_was_recorded_before_the_node_was_started_again_is_gone() {
    let dir = TempDir::new();
    let records = saved(&dir);
    records.complete(true).unwrap();
    let rebooted = Records { boot: "another".to_owned(), ..records };
    let loaded = rebooted.load("n1", &HostNetns::default());
    assert_eq!((loaded.pods.len(), loaded.complete), (0, false));
    assert!(!file(&dir).exists());
}

#[test]
fn a_record_of_another_version_is_passed_over() {
    let dir = TempDir::new();
    let records = saved(&dir);
    change(&dir, "\"version\":1", "\"version\":2");
    assert_eq!(records.load("n1", &HostNetns::default()).pods.len(), 0);
}

#[test]
fn a_forgotten_pod_leaves_no_file() {
    let dir = TempDir::new();
    let records = saved(&dir);
    records.forget(&PodUid("shop/web".to_owned())).unwrap();
    records.forget(&PodUid("shop/web".to_owned())).unwrap();
    assert!(!file(&dir).exists());
}

#[tokio::test]
async fn a_record_that_cannot_be_written_makes_the_records_incomplete_until_it_can() {
    let dir = TempDir::new();
    let records = saved(&dir);
    let (writer, work) = Writer::new(records.clone());
    let work = tokio::spawn(work);
    let record = Record::new(&pod(), &own(), None, Vec::new(), Stage::In);
    writer.complete(true);
    writer.save(record.clone()).await;
    assert!(records.is_complete());
    fs::remove_file(file(&dir)).unwrap();
    fs::create_dir_all(file(&dir).join("in the way")).unwrap();
    writer.save(record.clone()).await;
    assert!(!records.is_complete());
    fs::remove_dir_all(file(&dir)).unwrap();
    writer.save(record).await;
    assert!(records.is_complete());
    drop(writer);
    work.await.unwrap();
}
