//! Network namespaces that are nobody else's, and commands inside them.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use cni_plugin_redirect::in_netns;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use parking_lot::Mutex;

/// Where cgroups may be made; nothing where this user may not.
pub(crate) static CGROUPS: OnceLock<PathBuf> = OnceLock::new();

/// Leaves the machine's mounts alone, and becomes root of a user namespace when it is not root. Call before any thread.
pub(crate) fn isolate() {
    let (uid, gid) = (geteuid(), getegid());
    if !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).unwrap();
        fs::write("/proc/self/setgroups", "deny").unwrap();
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
    // iptables-legacy keeps its lock here.
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
}

/// Whether this namespace of users has this one: where tests have none of root's, it has root alone.
pub(crate) fn has_user(uid: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let (first, _outside, count) =
            (numbers.next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap());
        (first..first + count).contains(&u64::from(uid))
    })
}

/// A network namespace that lives as long as this.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    /// A new one, with loopback up.
    pub(crate) fn new() -> Self {
        let enter = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let new = Self(thread::spawn(enter).join().unwrap().into());
        new.run("ip link set lo up");
        new
    }

    /// A pod and a peer, joined by one wire. The pod is 10.88.0.2 and fd00:88::2, the peer ends in 1.
    pub(crate) fn pair() -> (Self, Self) {
        let (pod, peer) = (Self::new(), Self::new());
        pod.wire("eth0", &peer, "eth0");
        for (side, host) in [(&pod, 2), (&peer, 1)] {
            side.run(&format!("ip addr add 10.88.0.{host}/24 dev eth0"));
            side.run(&format!("ip addr add fd00:88::{host}/64 dev eth0 nodad"));
            side.run("ip link set eth0 up");
        }
        (pod, peer)
    }

    /// Joins this one and `other` by a wire.
    pub(crate) fn wire(&self, name: &str, other: &Self, peer: &str) {
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.run(&format!("ip link add {name} type veth peer name {peer} netns {path}"));
    }

    /// Runs `work` inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_netns(self.as_fd(), work).unwrap()
    }

    /// Runs a command inside and returns what it prints; it must succeed.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.inside(|| Command::new("sh").args(["-ec", command]).output().unwrap());
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Puts this process into a cgroup of its own and lets tests make others beside it, where the kernel and this user can.
pub(crate) fn enter_cgroup() {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let Some(mount) = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").is_file()) else {
        return;
    };
    let parent = mount.join(format!("adit-kernel-tests-{}", std::process::id()));
    if fs::create_dir_all(parent.join("home")).is_ok() && join_cgroup(&parent.join("home")).is_ok() {
        CGROUPS.set(parent).unwrap();
    }
}

/// Undoes [`enter_cgroup`]. The kernel lets a cgroup go a moment after its last process.
pub(crate) fn leave_cgroup() {
    let Some(parent) = CGROUPS.get() else { return };
    join_cgroup(parent.parent().unwrap()).unwrap();
    for _ in 0..100 {
        for child in fs::read_dir(parent).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(child.path());
        }
        if fs::remove_dir(parent).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `work` while the process is in another cgroup.
pub(crate) fn in_cgroup<T>(cgroup: &Path, work: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    join_cgroup(cgroup).unwrap();
    let outcome = work();
    join_cgroup(&CGROUPS.get().unwrap().join("home")).unwrap();
    outcome
}

fn join_cgroup(cgroup: &Path) -> std::io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}
