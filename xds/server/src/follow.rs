//! Follows a directory of Kubernetes YAML: whole files, the last good version of each, polled.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::control::Control;
use crate::objects::{Object, ObjectError, Objects, Parsed, parse};

/// How often [`follow`] looks, unless told otherwise.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Why a file, or the directory, was not read. What was read of it before still counts.
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
    root: PathBuf,
    files: BTreeMap<PathBuf, File>,
    /// A directory that could not be listed is said once.
    unlistable: Option<PathBuf>,
}

#[derive(Debug)]
struct File {
    stamp: Option<Stamp>,
    /// The last good version.
    objects: Vec<Object>,
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    changed: (i64, i64),
    inode: u64,
    length: u64,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), files: BTreeMap::new(), unlistable: None }
    }

    /// Looks once. A file that cannot be read keeps its last good version; one that is gone takes its objects along.
    pub fn scan(&mut self) -> Scan {
        let mut scan = Scan::default();
        let paths = match yaml_files(&self.root) {
            Ok(paths) => paths,
            Err((path, source)) => {
                if self.unlistable.as_ref() != Some(&path) {
                    self.unlistable = Some(path.clone());
                    scan.problems.push(FollowError::List { path, source });
                }
                return scan;
            }
        };
        self.unlistable = None;
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains_key(path));
        scan.changed = self.files.len() != before;
        for (path, stamp) in paths {
            let file = self.files.entry(path.clone()).or_insert(File { stamp: None, objects: Vec::new() });
            if file.stamp == Some(stamp) {
                continue;
            }
            file.stamp = Some(stamp);
            match read(&path) {
                Ok(parsed) => {
                    scan.changed |= parsed.objects != file.objects;
                    file.objects = parsed.objects;
                    for other in parsed.ignored {
                        tracing::debug!(file = %path.display(), object = other, "not for a mesh");
                    }
                }
                Err(problem) => scan.problems.push(problem),
            }
        }
        scan
    }

    /// Every object of every file; where two files have the same object, the one later by path counts.
    pub fn objects(&self) -> Objects {
        let mut objects = Objects::default();
        self.files.values().flat_map(|file| &file.objects).for_each(|object| objects.upsert(object.clone()));
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

fn read(path: &Path) -> Result<Parsed, FollowError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FollowError::Read { path: path.to_owned(), source })?;
    Ok(parse(&path.display().to_string(), &text)?)
}

type Listing = BTreeMap<PathBuf, Stamp>;

fn yaml_files(root: &Path) -> Result<Listing, (PathBuf, io::Error)> {
    let mut found = Listing::new();
    for folder in list(root, &mut found)? {
        list(&folder, &mut found)?;
    }
    Ok(found)
}

/// Adds the YAML files of one directory; answers its folders.
fn list(folder: &Path, found: &mut Listing) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let failed = |source| (folder.to_owned(), source);
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Editors' and volume mounts' own business. Something that vanishes meanwhile is simply gone.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let path = entry.path();
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !hidden && metadata.is_dir() {
            folders.push(path);
        } else if !hidden && yaml && metadata.is_file() {
            found.insert(path, stamp(&metadata));
        }
    }
    Ok(folders)
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    Stamp {
        modified: metadata.modified().ok(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
        length: metadata.len(),
    }
}
