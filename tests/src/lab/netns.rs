//! A network namespace: made, named, entered by threads and by programs.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// A named network namespace; clones are the same one.
#[derive(Debug, Clone)]
pub struct Netns {
    name: Arc<str>,
    file: Arc<File>,
    /// Of other kinds: a machine is more than its network.
    beside: Arc<[(File, CloneFlags)]>,
}

impl Netns {
    /// Makes an empty namespace and gives it a name under `/run/netns`, where `ip netns` finds it too.
    pub fn create(name: &str) -> Self {
        let path = path_of(name);
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
                File::create(&path).expect("a file to mount the namespace on");
                mount(Some(CURRENT), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                    .expect("the namespace mounted by its name");
                // Addresses serve at once instead of after a second of duplicate detection.
                for which in ["all", "default"] {
                    sysctl(&format!("net/ipv6/conf/{which}/accept_dad"), "0");
                }
            });
            join(made.join());
        });
        Self::of(name, File::open(&path).expect("the namespace's file"))
    }

    /// One that others made, by a path of theirs.
    #[track_caller]
    pub fn at(name: &str, path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
        Self::of(name, file)
    }

    /// The namespace that the calling thread is in.
    pub fn current(name: &str) -> Self {
        Self::of(name, File::open(CURRENT).expect("the current namespace"))
    }

    fn of(name: &str, file: File) -> Self {
        Self { name: name.into(), file: Arc::new(file), beside: Arc::new([]) }
    }

    /// This one, entered together with others of other kinds.
    pub(super) fn beside(&self, others: Vec<(File, CloneFlags)>) -> Self {
        Self { beside: others.into(), ..self.clone() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted: what a container runtime hands to CNI plugins.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Its open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Sockets made there stay there wherever they are
    /// used; programs spawned there run there.
    #[track_caller]
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&*self.file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                if !self.beside.is_empty() {
                    // Another root is for a thread that shares its own with no other.
                    unshare(CloneFlags::CLONE_FS).expect("a root of the thread's own");
                }
                for (file, kind) in self.beside.iter() {
                    setns(file, *kind).unwrap_or_else(|e| panic!("enter {kind:?} of {}: {e}", self.name));
                }
                work()
            });
            join(thread.join())
        })
    }

    /// As [`Netns::run`], for a future on a runtime of its own.
    #[track_caller]
    pub fn block_on<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        self.run(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(work())
        })
    }

    /// Takes the name away; the namespace ends with its last socket and process.
    pub fn remove(&self) {
        let path = self.path();
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&path);
    }
}

/// Writes a sysctl of the calling thread's namespace; one that the kernel lacks is left out.
pub(super) fn sysctl(key: &str, value: &str) {
    let path = Path::new("/proc/sys").join(key);
    if path.exists() {
        std::fs::write(&path, value).unwrap_or_else(|e| panic!("write {value} to {}: {e}", path.display()));
    }
}

/// The namespace of the thread that opens it.
const CURRENT: &str = "/proc/thread-self/ns/net";

fn path_of(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// A panic of the other thread goes on in this one.
fn join<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
