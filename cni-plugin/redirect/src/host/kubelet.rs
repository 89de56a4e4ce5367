//! Finds the node's kubelet among its processes: its user, and the cgroup of its service.

#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A kubelet, or a program that has one inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubelet {
    /// Its process.
    pub pid: u32,
    /// When that started, in the kernel's ticks: another process may get the number.
    pub started: u64,
    /// Its user.
    pub uid: u32,
    /// Its cgroup, where that tells it from others.
    pub cgroup: Option<Cgroup>,
}

/// A cgroup of the unified hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Below the root of the hierarchy, as the kernel says it.
    pub path: String,
    /// How deep that is.
    pub level: u32,
    /// What the kernel knows it by.
    pub inode: u64,
    /// Its directory as this process sees it.
    pub directory: PathBuf,
}

impl Kubelet {
    /// Looks through the processes below `proc_root`. The oldest counts; those of pods and of other network namespaces
    /// than the host's do not, whatever they call themselves.
    #[must_use]
    pub fn find(proc_root: &Path) -> Option<Self> {
        let mut pids: Vec<u32> = fs::read_dir(proc_root)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        let host = netns(&proc_root.join("1"));
        pids.into_iter()
            .filter_map(|pid| Self::read(proc_root, pid, host))
            .min_by_key(|kubelet| kubelet.started)
    }

    /// Whether it still runs, in the same cgroup.
    #[must_use]
    pub fn lives(&self, proc_root: &Path) -> bool {
        let started = stat(&proc_root.join(self.pid.to_string())).and_then(|stat| started(&stat));
        let cgroup = self.cgroup.as_ref().is_none_or(|cgroup| {
            fs::metadata(&cgroup.directory).is_ok_and(|directory| directory.ino() == cgroup.inode)
        });
        started == Some(self.started) && cgroup
    }

    fn read(proc_root: &Path, pid: u32, host: Option<(u64, u64)>) -> Option<Self> {
        let process = proc_root.join(pid.to_string());
        let comm = fs::read_to_string(process.join("comm")).ok()?;
        if !is_kubelet(comm.trim_end(), || fs::read(process.join("cmdline")).unwrap_or_default()) {
            return None;
        }
        let elsewhere = |own: (u64, u64)| host.is_some_and(|host| host != own);
        if netns(&process).is_some_and(elsewhere) {
            return None;
        }
        let path = cgroup_path(&fs::read_to_string(process.join("cgroup")).unwrap_or_default());
        if path.as_deref().is_some_and(|path| path.contains("kubepods")) {
            return None;
        }
        let status = fs::read_to_string(process.join("status")).ok()?;
        Some(Self {
            pid,
            started: started(&stat(&process)?)?,
            uid: real_uid(&status)?,
            cgroup: path.and_then(|path| Cgroup::open(&process.join("root"), path)),
        })
    }
}

impl Cgroup {
    /// The cgroup `path` of the hierarchy mounted in `root`; the root cgroup holds everybody and so tells nothing.
    pub(super) fn open(root: &Path, path: String) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        // Dots lead out of the cgroup namespace of the reader: how deep that is, cannot be told from here.
        if parts.is_empty() || parts.contains(&"..") || path.contains(['"', '\n']) {
            return None;
        }
        let level = u32::try_from(parts.len()).ok()?;
        let mounts = ["sys/fs/cgroup", "sys/fs/cgroup/unified"].map(|place| root.join(place));
        let mount = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").is_file())?;
        let directory = mount.join(parts.join("/"));
        let inode = fs::metadata(&directory).ok()?.ino();
        Some(Self { path, level, inode, directory })
    }

    /// As nft, which looks below /sys/fs/cgroup, finds it.
    pub(super) fn nft_path(&self) -> String {
        format!("../../..{}", self.directory.display())
    }
}

/// The name of a process is anybody's to choose, but programs that contain a kubelet are asked twice.
fn is_kubelet(comm: &str, arguments: impl FnOnce() -> Vec<u8>) -> bool {
    match comm {
        "kubelet" | "kubelite" => String::from_utf8_lossy(&arguments()).to_lowercase().contains("kubelet"),
        "k3s" | "k3s-server" | "k3s-agent" => true,
        _ => false,
    }
}

/// The path in the unified hierarchy, out of `/proc/<pid>/cgroup`.
pub(super) fn cgroup_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn real_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

fn stat(process: &Path) -> Option<String> {
    fs::read_to_string(process.join("stat")).ok()
}

/// The 22nd field; the second is the name in parentheses and may hold anything.
fn started(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

fn netns(process: &Path) -> Option<(u64, u64)> {
    fs::metadata(process.join("ns/net")).ok().map(|file| (file.dev(), file.ino()))
}
