//! Notices that something in a directory has changed; what it is, a look must tell.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;

/// Notices from some directories.
#[derive(Debug)]
pub(super) struct Watch {
    notices: Option<Notices>,
    dirs: BTreeMap<PathBuf, Option<WatchDescriptor>>,
}

#[derive(Debug)]
struct Notices {
    inotify: Inotify,
    /// The same descriptor once more, to wait on.
    readable: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Without notices, which a node can be out of, looks happen from time to time only. Needs a tokio runtime.
    pub(super) fn new(dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        let notices = Notices::open()
            .inspect_err(|error| tracing::warn!(%error, "no notices of changes: directories are looked at from time to time"))
            .ok();
        Self { notices, dirs: dirs.into_iter().map(|dir| (dir, None)).collect() }
    }

    /// Watches what is there now, also directories made anew. Before a look, so that nothing is missed after it.
    pub(super) fn arm(&mut self) {
        let Some(notices) = &self.notices else { return };
        for (dir, watched) in &mut self.dirs {
            let now = add(&notices.inotify, dir);
            if now.is_none() && watched.is_some() {
                tracing::warn!(dir = %dir.display(), "no notices of changes in this directory");
            }
            *watched = now;
        }
    }

    /// Whether every directory is watched.
    pub(super) fn is_complete(&self) -> bool {
        self.notices.is_some() && self.dirs.values().all(Option::is_some)
    }

    /// Waits for a change in one of the directories.
    pub(super) async fn changed(&self) {
        let Some(notices) = &self.notices else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = notices.readable.readable().await else {
                return std::future::pending().await;
            };
            match notices.inotify.read_events() {
                Ok(_) => return,
                Err(Errno::EAGAIN) => ready.clear_ready(),
                // More than fits, or whatever else: a look tells.
                Err(_) => return ready.clear_ready(),
            }
        }
    }

    /// Forgets the notices that have come.
    pub(super) fn drain(&self) {
        if let Some(notices) = &self.notices {
            while notices.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
    }
}

impl Notices {
    #[expect(deprecated, reason = "its successor is an unsafe function; an OwnedFd keeps what that asks for")]
    fn open() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let readable = AsyncFd::new(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self { inotify, readable })
    }
}

fn add(inotify: &Inotify, dir: &Path) -> Option<WatchDescriptor> {
    let changes = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    inotify.add_watch(dir, changes).ok()
}
