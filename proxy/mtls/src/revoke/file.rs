//! The file that revocation lists are read from: looked at again and again, taken whole or not at all.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::Revocations;
use super::lists::Lists;
use crate::error::Chain;

/// A file of revocation lists, and what is known of it.
///
/// It is looked at, not waited on: a ConfigMap changes by the swap of a link two levels up, the folder may not be there
/// yet, and two calls of `stat` a second cost nothing. What changed is read when it has not changed for one more look, so
/// that half of a file is not taken for all of it.
#[derive(Debug)]
pub struct CrlFile {
    path: PathBuf,
    seen: Option<Seen>,
    settled: bool,
    /// The contents that were read last, whatever became of them.
    read: Option<Vec<u8>>,
    /// What the log knows of a file that cannot be read.
    told: Option<String>,
}

/// What a look tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Version { device: u64, inode: u64, changed: (i64, i64), modified: (i64, i64), size: u64 },
}

/// Looks at the file until the future is dropped.
pub async fn follow(mut file: CrlFile, revocations: Arc<Revocations>) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        file.look(&revocations).await;
    }
}

impl CrlFile {
    /// The file at `path`, which need not be there.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None, settled: false, read: None, told: None }
    }

    /// Takes the file as it is now, if it can be read. For the start, before the first peer comes.
    pub async fn begin(&mut self, revocations: &Revocations) {
        self.seen = Some(self.stat().await);
        self.load(revocations).await;
    }

    /// Takes the file when it has changed and stands still.
    async fn look(&mut self, revocations: &Revocations) {
        let now = Some(self.stat().await);
        if self.seen != now {
            self.seen = now;
            self.settled = false;
            return;
        }
        if !self.settled {
            self.settled = self.load(revocations).await;
        }
    }

    async fn stat(&self) -> Seen {
        // Follows links: which file is at the path counts, not how it came there.
        match tokio::fs::metadata(&self.path).await {
            Ok(found) => Seen::Version {
                device: found.dev(),
                inode: found.ino(),
                changed: (found.ctime(), found.ctime_nsec()),
                modified: (found.mtime(), found.mtime_nsec()),
                size: found.len(),
            },
            Err(_) => Seen::Nothing,
        }
    }

    /// Reads the file; false when that is to be tried again although the file does not change.
    async fn load(&mut self, revocations: &Revocations) -> bool {
        match self.contents().await {
            Ok(contents) => {
                self.told = None;
                if self.read.as_ref() != Some(&contents) {
                    self.take(&contents, revocations);
                    self.read = Some(contents);
                }
                true
            }
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                self.tell(&error, missing, revocations);
                self.read = None;
                // It comes back as another version.
                missing
            }
        }
    }

    async fn contents(&self) -> io::Result<Vec<u8>> {
        let size = tokio::fs::metadata(&self.path).await?.len();
        if size > LARGEST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{size} bytes are more than the {LARGEST} that a file of revocation lists may have"),
            ));
        }
        tokio::fs::read(&self.path).await
    }

    fn take(&self, contents: &[u8], revocations: &Revocations) {
        let path = self.path.display();
        match Lists::parse(contents) {
            Ok(lists) => {
                info!(%path, lists = lists.len(), "revocation lists read");
                revocations.adopt(lists);
            }
            Err(error) => {
                revocations.file_refused();
                let kept = revocations.counts().lists;
                error!(
                    %path, error = %Chain(&error), kept,
                    "CRL_PATH cannot be used; the lists read before stay in force, and the file is read again when it \
                     changes"
                );
            }
        }
    }

    /// Says once what is wrong.
    fn tell(&mut self, why: &io::Error, missing: bool, revocations: &Revocations) {
        if missing {
            revocations.file_gone();
        }
        let text = why.to_string();
        if self.told.as_ref() == Some(&text) {
            return;
        }
        let (path, kept) = (self.path.display(), revocations.counts().lists);
        if missing && kept == 0 {
            // Mounted when the control plane has something to say. One that could not be used is gone with its trouble.
            warn!(%path, "CRL_PATH is not there; nothing is revoked until it is");
        } else {
            revocations.file_refused();
            error!(%path, error = %text, kept, "CRL_PATH cannot be read; the lists read before stay in force");
        }
        self.told = Some(text);
    }
}

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Sixteen times what fits into a ConfigMap.
const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests;
