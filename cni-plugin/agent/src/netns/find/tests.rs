use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::netns::tests::TempDir;

const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const OTHER: &str = "3d59024d-c3a0-22f8-a461-131a79258807";

/// A /proc made of files; a namespace is a file, and the addresses inside are its text.
struct Proc(TempDir);

impl Proc {
    fn new() -> Self {
        let proc = Self(TempDir::new());
        proc.netns("host", "192.168.0.1");
        proc.process(1, None, "host", 0);
        fs::create_dir_all(proc.0.path().join("self")).unwrap();
        proc
    }

    fn netns(&self, name: &str, ips: &str) {
        fs::write(self.0.path().join(format!("netns-{name}")), ips).unwrap();
    }

    fn process(&self, pid: u32, pod: Option<&str>, netns: &str, started: u64) {
        let dir = self.0.path().join(pid.to_string());
        fs::create_dir_all(dir.join("ns")).unwrap();
        let cgroup = match pod {
            Some(uid) => format!("0::/kubepods/pod{uid}/c{pid}\n"),
            None => "0::/init.scope\n".to_owned(),
        };
        fs::write(dir.join("cgroup"), cgroup).unwrap();
        let before = "0 ".repeat(18);
        fs::write(dir.join("stat"), format!("{pid} (a) b ) S {before}{started} 0 0\n")).unwrap();
        symlink(self.0.path().join(format!("netns-{netns}")), dir.join("ns/net")).unwrap();
    }

    fn id(&self, netns: &str) -> NetnsId {
        Netns::open(&self.0.path().join(format!("netns-{netns}"))).unwrap().id()
    }

    fn find(&self, wanted: &[Wanted]) -> Searched {
        self.find_in(None, wanted)
    }

    fn find_in(&self, netns_dir: Option<PathBuf>, wanted: &[Wanted]) -> Searched {
        let places = Places { proc_root: self.0.path().to_owned(), netns_dir };
        let host = HostNetns::read(self.0.path()).unwrap();
        let owns: Ownership<'_> = &|_, ips, path| {
            let inside = fs::read_to_string(path).unwrap();
            Ok(ips.iter().any(|ip| inside.contains(&ip.to_string())))
        };
        find(&places, &host, wanted, owns)
    }
}

fn wanted(uid: &str, ip: &str) -> Wanted {
    Wanted {
        uid: PodUid(uid.to_owned()),
        runtime_uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        ips: vec![ip.parse().unwrap()],
    }
}

#[track_caller]
fn id_of(searched: &mut Searched, uid: &str) -> NetnsId {
    searched.remove(&PodUid(uid.to_owned())).unwrap().unwrap().id()
}

#[track_caller]
fn check_not_found(mut searched: Searched, uid: &str) {
    let result = searched.remove(&PodUid(uid.to_owned())).unwrap();
    assert!(matches!(result, Err(NetnsError::NotFound { ref pod }) if pod == "shop/web"), "{result:?}");
}

#[test]
fn a_static_pod_is_found_by_the_uid_that_its_runtime_knows() {
    let proc = Proc::new();
    let hash = "0f6ab2b5ab3e0c9a16c5d2f5d80e34a1";
    proc.netns("pod", "10.0.0.5");
    proc.process(100, Some(hash), "pod", 500);
    let mirror = Wanted { runtime_uid: hash.to_owned(), ..wanted(UID, "10.0.0.5") };
    assert_eq!(id_of(&mut proc.find(std::slice::from_ref(&mirror)), UID), proc.id("pod"));
    let pretender = Wanted { runtime_uid: hash.to_owned(), ..wanted(OTHER, "10.0.0.6") };
    let mut searched = proc.find(&[mirror, pretender]);
    assert_eq!(id_of(&mut searched, UID), proc.id("pod"));
    assert!(matches!(searched.remove(&PodUid(OTHER.to_owned())), Some(Err(NetnsError::Search(_)))));
}

#[test]
fn a_pods_namespace_is_that_of_its_oldest_process() {
    let proc = Proc::new();
    proc.netns("young", "10.0.0.5");
    proc.netns("old", "10.0.0.5");
    proc.process(100, Some(UID), "young", 900);
    proc.process(200, Some(UID), "old", 500);
    proc.process(300, None, "young", 1);
    assert_eq!(id_of(&mut proc.find(&[wanted(UID, "10.0.0.5")]), UID), proc.id("old"));
}

#[test]
fn one_search_serves_many_pods() {
    let proc = Proc::new();
    proc.netns("a", "10.0.0.5");
    proc.netns("b", "10.0.0.6");
    proc.process(100, Some(UID), "a", 1);
    proc.process(101, Some(OTHER), "b", 1);
    let mut searched = proc.find(&[wanted(UID, "10.0.0.5"), wanted(OTHER, "10.0.0.6")]);
    assert_eq!(id_of(&mut searched, UID), proc.id("a"));
    assert_eq!(id_of(&mut searched, OTHER), proc.id("b"));
}

#[test]
fn a_process_in_the_hosts_namespace_shows_nothing() {
    let proc = Proc::new();
    proc.process(100, Some(UID), "host", 1);
    check_not_found(proc.find(&[wanted(UID, "192.168.0.1")]), UID);
}

#[test]
fn a_process_in_another_pods_namespace_shows_nothing_and_hides_nothing() {
    let proc = Proc::new();
    proc.netns("b", "10.0.0.6");
    proc.process(100, Some(UID), "b", 1); // a debugger
    proc.process(101, Some(OTHER), "b", 2);
    let mut searched = proc.find(&[wanted(UID, "10.0.0.5"), wanted(OTHER, "10.0.0.6")]);
    assert_eq!(id_of(&mut searched, OTHER), proc.id("b"));
    check_not_found(searched, UID);
}

#[test]
fn processes_that_cannot_be_read_are_passed_over() {
    let proc = Proc::new();
    proc.netns("a", "10.0.0.5");
    fs::create_dir_all(proc.0.path().join("50")).unwrap();
    proc.process(60, Some(UID), "gone", 1);
    proc.process(100, Some(UID), "a", 2);
    assert_eq!(id_of(&mut proc.find(&[wanted(UID, "10.0.0.5")]), UID), proc.id("a"));
}

#[test]
fn an_unreadable_proc_fails_the_search() {
    let proc = Proc::new();
    let places = Places { proc_root: proc.0.path().join("none"), netns_dir: None };
    let owns: Ownership<'_> = &|_, _, _| Ok(true);
    let mut searched = find(&places, &HostNetns::default(), &[wanted(UID, "10.0.0.5")], owns);
    let result = searched.remove(&PodUid(UID.to_owned())).unwrap();
    assert!(matches!(result, Err(NetnsError::Search(_))), "{result:?}");
}

#[test]
fn a_named_namespace_comes_before_proc() {
    let proc = Proc::new();
    let dir = TempDir::new();
    proc.netns("scanned", "10.0.0.5");
    proc.process(100, Some(UID), "scanned", 1);
    let named = dir.path().join("shop_web");
    fs::write(&named, "10.0.0.5").unwrap();
    let mut searched = proc.find_in(Some(dir.path().to_owned()), &[wanted(UID, "10.0.0.5")]);
    assert_eq!(id_of(&mut searched, UID), Netns::open(&named).unwrap().id());
    fs::remove_file(&named).unwrap();
    let mut searched = proc.find_in(Some(dir.path().to_owned()), &[wanted(UID, "10.0.0.5")]);
    assert_eq!(id_of(&mut searched, UID), proc.id("scanned"));
}

#[test]
fn a_named_namespace_that_is_the_hosts_is_refused_by_name() {
    let proc = Proc::new();
    let dir = TempDir::new();
    symlink(proc.0.path().join("netns-host"), dir.path().join("shop_web")).unwrap();
    let mut searched = proc.find_in(Some(dir.path().to_owned()), &[wanted(UID, "192.168.0.1")]);
    let error = searched.remove(&PodUid(UID.to_owned())).unwrap().unwrap_err();
    assert!(matches!(&error, NetnsError::Host { pod, .. } if pod == "shop/web"), "{error:?}");
    assert!(error.to_string().contains("shop/web"), "{error}");
}

#[test]
fn a_named_namespace_without_the_pods_address_is_refused() {
    let proc = Proc::new();
    let dir = TempDir::new();
    fs::write(dir.path().join("shop_web"), "10.0.0.6").unwrap();
    let mut searched = proc.find_in(Some(dir.path().to_owned()), &[wanted(UID, "10.0.0.5")]);
    let error = searched.remove(&PodUid(UID.to_owned())).unwrap().unwrap_err();
    assert!(matches!(&error, NetnsError::NotOwned { pod, .. } if pod == "shop/web"), "{error:?}");
}
