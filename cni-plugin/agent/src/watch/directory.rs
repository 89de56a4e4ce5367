//! Follows a directory of Kubernetes YAML files. A file that becomes unreadable keeps its last good version.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::documents::{self, Object};
use super::{Change, DocumentError, PodSource};
use crate::model::{Namespace, Pod};

/// The source. Files end in `.yaml`, `.yml` or `.json`; directories below are not entered. Of two objects of one
/// name, the one in the file whose name sorts last counts.
#[derive(Debug)]
pub struct Directory {
    dir: PathBuf,
    files: BTreeMap<PathBuf, Followed>,
    pods: BTreeMap<PodUid, Arc<Pod>>,
    namespaces: BTreeMap<String, Namespace>,
    polls: u32,
    synced: bool,
    listable: bool,
}

#[derive(Debug)]
struct Followed {
    version: Version,
    /// `None` until the file could be read once.
    objects: Option<Vec<Object>>,
}

/// Tells whether a file was written since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Directory {
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            files: BTreeMap::new(),
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            polls: 0,
            synced: false,
            listable: true,
        }
    }

    /// Looks once; answers what became different. Blocking.
    fn poll(&mut self) -> Vec<Change> {
        self.polls = self.polls.saturating_add(1);
        match self.read() {
            Ok(()) => self.listable = true,
            Err(error) => {
                if std::mem::take(&mut self.listable) {
                    tracing::error!(dir = %self.dir.display(), %error, "pods cannot be read; what is known stays");
                }
                return Vec::new();
            }
        }
        let mut changes = self.differences();
        let unread = self.files.values().any(|file| file.objects.is_none());
        // A file may be half written just now. One that stays broken must not hold up everything else.
        if !self.synced && (!unread || self.polls >= PATIENCE) {
            self.synced = true;
            changes.push(Change::Synced);
        }
        changes
    }

    fn read(&mut self) -> io::Result<()> {
        let mut present = Vec::new();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            if is_ours(&path) {
                present.push(path);
            }
        }
        self.files.retain(|path, _| present.contains(path));
        for path in present {
            let Ok(version) = version(&path) else { continue };
            let before = self.files.get(&path);
            if before.is_some_and(|followed| followed.version == version) {
                continue;
            }
            let had = self.files.remove(&path).and_then(|followed| followed.objects);
            let objects = match read_file(&path) {
                Ok(objects) => Some(objects),
                Err(error) => {
                    report(&error, had.is_some());
                    had
                }
            };
            self.files.insert(path, Followed { version, objects });
        }
        Ok(())
    }

    fn differences(&mut self) -> Vec<Change> {
        let mut pods = BTreeMap::new();
        let mut namespaces = BTreeMap::new();
        for object in self.files.values().filter_map(|file| file.objects.as_ref()).flatten() {
            match object {
                Object::Pod(pod) => {
                    pods.insert(PodUid(pod.metadata.uid.clone()), &**pod);
                }
                Object::Namespace(namespace) => {
                    namespaces.insert(namespace.metadata.name.clone(), namespace);
                }
            }
        }
        let mut changes = Vec::new();
        for (name, namespace) in &namespaces {
            if self.namespaces.get(name) != Some(*namespace) {
                changes.push(Change::NamespaceSeen((*namespace).clone()));
            }
        }
        for uid in self.pods.keys().filter(|uid| !pods.contains_key(uid)) {
            changes.push(Change::PodGone(uid.clone()));
        }
        for name in self.namespaces.keys().filter(|name| !namespaces.contains_key(*name)) {
            changes.push(Change::NamespaceGone(name.clone()));
        }
        let mut now = BTreeMap::new();
        for (uid, pod) in pods {
            let known = self.pods.get(&uid).filter(|known| ***known == *pod).cloned();
            let same = known.unwrap_or_else(|| {
                let pod = Arc::new(pod.clone());
                changes.push(Change::PodSeen(Arc::clone(&pod)));
                pod
            });
            now.insert(uid, same);
        }
        self.pods = now;
        self.namespaces = namespaces.into_iter().map(|(name, namespace)| (name, namespace.clone())).collect();
        changes
    }
}

impl PodSource for Directory {
    fn run(mut self: Box<Self>, changes: mpsc::Sender<Change>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut ticks = interval(POLL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let poll = tokio::task::spawn_blocking(move || {
                    let found = self.poll();
                    (self, found)
                });
                let Ok((directory, found)) = poll.await else {
                    return;
                };
                self = directory;
                for change in found {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
            }
        })
    }
}

fn is_ours(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && matches!(ending, Some("yaml" | "yml" | "json"))
}

fn version(path: &Path) -> io::Result<Version> {
    let metadata = fs::metadata(path)?;
    Ok(Version {
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

fn read_file(path: &Path) -> Result<Vec<Object>, DocumentError> {
    let text =
        fs::read_to_string(path).map_err(|source| DocumentError::Read { file: path.to_owned(), source })?;
    documents::parse(path, &text)
}

fn report(error: &DocumentError, had: bool) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if had {
        tracing::error!(%error, cause, "a file of pods cannot be used; its last good version stays");
    } else {
        tracing::error!(%error, cause, "a file of pods cannot be used");
    }
}

const POLL: Duration = Duration::from_millis(200);
/// Polls that a file which could never be read may hold the first listing up.
const PATIENCE: u32 = 5;

#[cfg(test)]
mod tests;
