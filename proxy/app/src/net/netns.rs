//! Runs a short piece of blocking work inside a pod's network namespace, and always comes back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};

#[cfg(test)]
mod tests;

/// Which namespace a descriptor means: equal for two descriptors of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NetnsId {
    device: u64,
    inode: u64,
}

#[cfg(test)]
impl NetnsId {
    pub(crate) const fn for_tests(inode: u64) -> Self {
        Self { device: 0, inode }
    }
}

/// A network namespace, and the one to come back to. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Netns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: Arc<OwnedFd>,
    home: Arc<OwnedFd>,
    id: NetnsId,
}

/// The namespace this process runs in.
///
/// # Errors
/// `/proc` is not mounted, or hides this process.
pub(crate) fn home() -> io::Result<Arc<OwnedFd>> {
    // The thread's own entry: /proc/self is the main thread's, which may be elsewhere.
    std::fs::File::open("/proc/thread-self/ns/net").map(|file| Arc::new(file.into()))
}

impl Netns {
    /// # Errors
    /// The descriptor cannot be examined.
    pub(crate) fn new(namespace: OwnedFd, home: Arc<OwnedFd>) -> io::Result<Self> {
        let id = identify(&namespace)?;
        Ok(Self(Arc::new(Inner { namespace: Arc::new(namespace), home, id })))
    }

    /// The namespace that the process runs in: nothing has to be entered, so no privilege is needed.
    ///
    /// # Errors
    /// The descriptor cannot be examined.
    pub(crate) fn here(home: &Arc<OwnedFd>) -> io::Result<Self> {
        let id = identify(home)?;
        Ok(Self(Arc::new(Inner { namespace: Arc::clone(home), home: Arc::clone(home), id })))
    }

    /// Which namespace this is.
    #[must_use]
    pub(crate) fn id(&self) -> NetnsId {
        self.0.id
    }

    /// Whether the descriptor is a namespace's. One of a process would lead into whatever namespace that process is in.
    ///
    /// # Errors
    /// The descriptor cannot be examined.
    pub(crate) fn is_namespace(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstatfs(&*self.0.namespace)?.f_type == NSFS_MAGIC)
    }

    /// Whether this is the namespace the process itself runs in, which no pod may claim.
    ///
    /// # Errors
    /// The own namespace cannot be examined.
    pub(crate) fn is_home(&self) -> io::Result<bool> {
        Ok(identify(&self.0.home)? == self.0.id)
    }

    /// Runs `work` with this thread inside the namespace. `work` must not wait: other tasks share the thread.
    ///
    /// # Errors
    /// The namespace cannot be entered; `work` has then not run.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        if Arc::ptr_eq(&self.0.namespace, &self.0.home) {
            return Ok(work());
        }
        setns(self.0.namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let _back = WayBack(&self.0.home);
        Ok(work())
    }
}

fn identify(namespace: &OwnedFd) -> io::Result<NetnsId> {
    let stat = rustix::fs::fstat(namespace)?;
    Ok(NetnsId { device: stat.st_dev, inode: stat.st_ino })
}

/// Brings the thread home, also when the work panicked.
struct WayBack<'a>(&'a OwnedFd);

impl Drop for WayBack<'_> {
    fn drop(&mut self) {
        if let Err(error) = setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET) {
            // A worker left in one pod's namespace would open the next pod's sockets there.
            tracing::error!("cannot return from a pod's network namespace, ending the process: {error}");
            std::process::abort();
        }
    }
}

/// The file system that namespaces are files of (`linux/magic.h`).
const NSFS_MAGIC: i64 = 0x6e73_6673;
