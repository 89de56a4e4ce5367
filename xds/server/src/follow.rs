//! Follows a directory of Kubernetes YAML and the status directories of node agents, polled.

mod files;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use files::{Files, Format};

use crate::control::Control;
use crate::objects::{Object, ObjectError, Objects, parse};
use crate::status::{Status, StatusError, overlay};

/// How often [`follow`] looks, unless told otherwise.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Why a file, or a directory, was not read. What was read of it before still counts.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("list {}", path.display())]
    List {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Status(#[from] StatusError),
}

/// What one look found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Whether [`Folder::objects`] may say something else than before.
    pub changed: bool,
    /// What went wrong for the first time, or in another way than before.
    pub problems: Vec<FollowError>,
}

/// A directory as last read: `*.yaml` and `*.yml` in it and in its own folders, hidden ones left out.
#[derive(Debug)]
pub struct Folder {
    yaml: Files<Yaml>,
    /// In the order given; a later one has the last word.
    statuses: Vec<Files<Json>>,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { yaml: Files::new(root), statuses: Vec::new() }
    }

    /// Follows also the status files (`*.json`, see [`crate::status`]) of these directories and lays them over the
    /// pods. Of two statuses for one pod, the one in the later directory counts.
    #[must_use]
    pub fn with_statuses<P: Into<PathBuf>>(mut self, dirs: impl IntoIterator<Item = P>) -> Self {
        self.statuses.extend(dirs.into_iter().map(Files::new));
        self
    }

    /// Looks once. A file that cannot be read keeps its last good version; one that is gone takes its objects, or its
    /// status, along.
    pub fn scan(&mut self) -> Scan {
        let mut scan = Scan::default();
        self.yaml.scan(&mut scan);
        self.statuses.iter_mut().for_each(|files| files.scan(&mut scan));
        scan
    }

    /// Every object of every file; where two files have the same object, the one later by path counts.
    pub fn objects(&self) -> Objects {
        let mut objects = Objects::default();
        self.yaml.contents().flatten().for_each(|object| objects.upsert(object.clone()));
        overlay(&mut objects, self.statuses.iter().flat_map(Files::contents));
        objects
    }
}

/// Keeps `control` at what the directory says, forever. Replaces every object that came another way.
pub async fn follow(mut folder: Folder, control: Control, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Files are small and local; still, a slow disk must not hold up a stream.
        let looked = tokio::task::spawn_blocking(move || {
            let scan = folder.scan();
            let objects = scan.changed.then(|| folder.objects());
            (folder, scan, objects)
        });
        let Ok((back, scan, objects)) = looked.await else {
            return;
        };
        folder = back;
        for problem in &scan.problems {
            tracing::error!(cause = cause(problem), "{problem}");
        }
        if let Some(objects) = objects {
            control.update(|now| *now = objects);
        }
    }
}

/// The causes of an error, joined; loggers print only the top.
pub fn cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Objects as Kubernetes would hold them.
#[derive(Debug)]
enum Yaml {}

impl Format for Yaml {
    type Content = Vec<Object>;
    const EXTENSIONS: &'static [&'static str] = &["yaml", "yml"];
    const FOLDERS: bool = true;

    fn parse(path: &Path, text: &str) -> Result<Self::Content, FollowError> {
        let parsed = parse(&path.display().to_string(), text)?;
        for other in parsed.ignored {
            tracing::debug!(file = %path.display(), object = other, "not for a mesh");
        }
        Ok(parsed.objects)
    }
}

/// What a node agent says of one pod.
#[derive(Debug)]
enum Json {}

impl Format for Json {
    type Content = Status;
    const EXTENSIONS: &'static [&'static str] = &["json"];
    const FOLDERS: bool = false;

    fn parse(path: &Path, text: &str) -> Result<Self::Content, FollowError> {
        Ok(Status::parse(path, text)?)
    }
}
