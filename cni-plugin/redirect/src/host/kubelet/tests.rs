use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A made-up /proc.
struct Proc(PathBuf);

impl Proc {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("adit-proc-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    fn process(self, pid: u32, comm: &str, cmdline: &str, started: u64, cgroup: &str) -> Self {
        let process = self.0.join(pid.to_string());
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(process.join("cmdline"), cmdline).unwrap();
        fs::write(process.join("cgroup"), cgroup).unwrap();
        fs::write(process.join("status"), format!("Name:\t{comm}\nUid:\t{pid}\t0\t0\t0\n")).unwrap();
        fs::write(process.join("stat"), format!("{pid} ({comm}) S {}{started} 0\n", "0 ".repeat(18)))
            .unwrap();
        self
    }

    fn found(&self) -> Option<u32> {
        Kubelet::find(&self.0).map(|kubelet| kubelet.uid)
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn each_program_that_has_a_kubelet_inside_is_found() {
    for (comm, cmdline, want) in [
        ("kubelet", "/usr/bin/kubelet\0--v=2\0", Some(7)),
        ("kubelet", "/opt/Kubelet\0", Some(7)),
        ("kubelet", "/bin/something\0", None),
        ("kubelite", "/snap/bin/kubelite\0--kubelet-args-file=x\0", Some(7)),
        ("kubelite", "/snap/bin/kubelite\0", None),
        ("k3s", "", Some(7)),
        ("k3s-server", "", Some(7)),
        ("k3s-agent", "", Some(7)),
        ("kube-proxy", "/usr/bin/kubelet\0", None),
    ] {
        assert_eq!(Proc::new().process(7, comm, cmdline, 9, "").found(), want, "{comm} {cmdline}");
    }
    assert_eq!(Proc::new().found(), None);
}

#[test]
fn of_several_the_oldest_counts() {
    let proc = Proc::new().process(7, "kubelet", "kubelet", 90, "").process(8, "kubelet", "kubelet", 80, "");
    assert_eq!(proc.found(), Some(8));
}

#[test]
fn a_pod_that_calls_itself_kubelet_is_none() {
    let pod = "0::/kubepods.slice/kubepods-besteffort.slice/cri-1.scope\n";
    let proc = Proc::new().process(7, "kubelet", "kubelet", 9, pod).process(
        8,
        "kubelet",
        "kubelet",
        10,
        "0::/k.service",
    );
    assert_eq!(proc.found(), Some(8));
}

#[test]
fn it_lives_until_its_process_or_its_cgroup_is_another() {
    let proc =
        Proc::new().process(7, "kubelet", "kubelet", 9, "12:pids:/a\n0::/system.slice/kubelet.service\n");
    let mount = proc.0.join("7/root/sys/fs/cgroup");
    let cgroup = mount.join("system.slice/kubelet.service");
    fs::create_dir_all(&cgroup).unwrap();
    fs::write(mount.join("cgroup.controllers"), "").unwrap();
    let kubelet = Kubelet::find(&proc.0).unwrap();
    let found = kubelet.cgroup.clone().unwrap();
    assert_eq!((found.level, found.path.as_str()), (2, "/system.slice/kubelet.service"));
    assert_eq!(found.nft_path(), format!("../../..{}", cgroup.display()));
    assert!(kubelet.lives(&proc.0));

    fs::rename(&cgroup, mount.join("gone")).unwrap();
    fs::create_dir_all(&cgroup).unwrap();
    assert!(!kubelet.lives(&proc.0), "the service was restarted");
    let kubelet = Kubelet::find(&proc.0).unwrap();
    let proc = proc.process(7, "kubelet", "kubelet", 10, "");
    assert!(!kubelet.lives(&proc.0), "the number is another process's");
}

#[test]
fn a_cgroup_that_tells_nobody_apart_is_not_used() {
    let root = Path::new("/nowhere");
    for path in ["/", "", "/../kubelet.service", "/a\"b", "/a\nb"] {
        assert_eq!(Cgroup::open(root, path.to_owned()), None, "{path:?}");
    }
    assert_eq!(Cgroup::open(root, "/kubelet.service".to_owned()), None, "no unified hierarchy");
}
