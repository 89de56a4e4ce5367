//! Network namespaces that are nobody else's, and commands inside them.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;

use cni_plugin_redirect::in_netns;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

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
        let path = format!("/proc/{}/fd/{}", std::process::id(), peer.0.as_raw_fd());
        pod.run(&format!("ip link add eth0 type veth peer name eth0 netns {path}"));
        for (side, host) in [(&pod, 2), (&peer, 1)] {
            side.run(&format!("ip addr add 10.88.0.{host}/24 dev eth0"));
            side.run(&format!("ip addr add fd00:88::{host}/64 dev eth0 nodad"));
            side.run("ip link set eth0 up");
        }
        (pod, peer)
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
