//! A machine of a cluster: namespaces of every kind around a node's network, a disk, a folder of cgroups, and the programs
//! that make a node of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use parking_lot::Mutex;

use super::programs;
use crate::lab::eventually::within;
use crate::lab::kube::tool;
use crate::lab::process::{Process, Program, tail};
use crate::lab::{HOME, Netns, Node, plan};

/// One machine; it ends, and what runs on it, with the value.
pub struct Machine {
    node: Node,
    inside: Netns,
    disk: PathBuf,
    cgroup: String,
    first: Process,
    programs: Mutex<Vec<Process>>,
}

impl Machine {
    /// Makes a machine around a node's network.
    #[track_caller]
    pub(super) fn furnish(node: Node) -> Self {
        let disk = Path::new(DISKS).join(node.name());
        fs::create_dir_all(&disk).expect("a disk");
        let script = node.home().join("machine.sh");
        fs::write(&script, include_str!("machine.sh")).expect("the script");
        let ready = node.home().join("furnished");
        let first = Program::new("unshare")
            .args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"])
            .arg(script)
            .args([node.name(), &plan::CONTROL_PLANE.to_string()])
            .args([disk.as_path(), Path::new(HOME), &ready])
            .start("machine", node.netns(), &node.home().join("machine.log"));
        within(STARTS, format_args!("machine {} is furnished", node.name()), || {
            first.assert_running();
            if ready.exists() { Ok(()) } else { Err(tail(&first.log(), 10)) }
        });
        let namespace = |name: &str| {
            let path = format!("/proc/{}/ns/{name}", first.pid());
            File::open(&path).unwrap_or_else(|e| panic!("open {path}: {e}"))
        };
        let inside = node.netns().beside(vec![
            (namespace("uts"), CloneFlags::CLONE_NEWUTS),
            (namespace("ipc"), CloneFlags::CLONE_NEWIPC),
            (namespace("pid_for_children"), CloneFlags::CLONE_NEWPID),
            (namespace("mnt"), CloneFlags::CLONE_NEWNS),
        ]);
        let cgroup = cgroup(node.name());
        Self { node, inside, disk, cgroup, first, programs: Mutex::default() }
    }

    /// Its name, which is its node's.
    pub fn name(&self) -> &str {
        self.node.name()
    }

    /// Its node: network, address, folder.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// All of its namespaces: what runs or is opened there is on the machine.
    pub const fn inside(&self) -> &Netns {
        &self.inside
    }

    /// Where its `/etc/cni/net.d` is for the lab.
    pub fn conflists(&self) -> PathBuf {
        self.disk.join("cni/net.d")
    }

    /// The folder that its containers' cgroups are below, in every hierarchy.
    pub(super) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Starts a program on it, with its log in the node's folder.
    #[track_caller]
    pub(super) fn start(&self, name: &str, program: &Program) -> Process {
        program.start(name, &self.inside, &self.node.home().join(format!("{name}.log")))
    }

    /// Starts the container runtime and waits until it has the image of the pods' first containers.
    #[track_caller]
    pub(super) fn begin(&self, files: &programs::Files) {
        programs::plugins(&self.disk.join("cni/bin"));
        let list = programs::conflist(self.node.number());
        fs::write(self.conflists().join("10-lab.conflist"), format!("{list:#}")).expect("a conflist");
        let config = self.node.home().join("containerd.toml");
        fs::write(&config, programs::CONTAINERD).expect("containerd's configuration");
        let containerd = self.start("containerd", &programs::containerd(&config));
        within(STARTS, format_args!("containerd of {} takes an image", self.name()), || {
            containerd.assert_running();
            self.try_load(&tool("pause-image.tar"))
        });
        self.programs.lock().push(containerd);
        let kubelet = self.start("kubelet", &programs::kubelet(self, files));
        self.programs.lock().push(kubelet);
        let proxy = self.start("kube-proxy", &programs::proxy(self, files));
        self.programs.lock().push(proxy);
    }

    /// Fails with the log of a program of the node that has ended.
    #[track_caller]
    pub(super) fn assert_running(&self) {
        for program in self.programs.lock().iter() {
            program.assert_running();
        }
    }

    /// Gives its runtime the images of an archive, as `kind load image-archive` does.
    #[track_caller]
    pub fn load(&self, archive: &Path) {
        self.try_load(archive)
            .unwrap_or_else(|e| panic!("load {} on {}: {e}", archive.display(), self.name()));
    }

    fn try_load(&self, archive: &Path) -> Result<(), String> {
        let import = Program::new("ctr").args(["-n", "k8s.io", "images", "import"]).arg(archive);
        let output = self.inside.run(|| import.command().stdin(Stdio::null()).output());
        let output = output.map_err(|e| format!("start ctr: {e}"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(told.into_owned()) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for program in self.programs.get_mut().drain(..) {
            program.kill();
        }
        self.first.kill();
        // Everything of its PID namespace ends now; a cgroup can go once it is empty.
        let began = Instant::now();
        while hierarchies().any(|at| !removed(&at.join(&self.cgroup))) && began.elapsed() < ENDS {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Makes the folder of a machine's cgroups, of a name that no other lab of this system has.
fn cgroup(machine: &str) -> String {
    let lab = fs::read_link("/proc/self/ns/pid").expect("the lab's PID namespace").display().to_string();
    let number: String = lab.chars().filter(char::is_ascii_digit).collect();
    let name = format!("adit-e2e-{number}-{machine}");
    for at in hierarchies() {
        fs::create_dir_all(at.join(&name)).unwrap_or_else(|e| panic!("create {}/{name}: {e}", at.display()));
        for given in ["cpuset.cpus", "cpuset.mems"] {
            // Without them nothing may run there.
            if let Ok(all) = fs::read_to_string(at.join(given)) {
                fs::write(at.join(&name).join(given), all).expect("give all of it");
            }
        }
    }
    name
}

/// The hierarchies of cgroups of version 1, or the one of version 2.
fn hierarchies() -> impl Iterator<Item = PathBuf> {
    let root = Path::new(CGROUPS);
    let one = root.join("cgroup.controllers").exists().then(|| root.to_owned());
    let folders = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let many = folders.filter(|at| one_of_many(at)).filter(|_| !root.join("cgroup.controllers").exists());
    one.into_iter().chain(many.collect::<Vec<_>>())
}

/// `cpu,cpuacct` is one with links to it.
fn one_of_many(at: &Path) -> bool {
    at.join("cgroup.procs").exists() && !at.is_symlink()
}

/// Removes a folder of cgroups from the bottom; whether it is gone.
fn removed(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            removed(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
    !folder.exists()
}

const CGROUPS: &str = "/sys/fs/cgroup";
/// A tmpfs of the lab, beside its logs.
const DISKS: &str = "/run/disks";
const STARTS: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(10);
