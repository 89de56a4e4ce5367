//! The files of one directory: each whole or not at all, its last good version kept.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FollowError, Scan};

/// Which files of a directory count, and what they say.
pub(super) trait Format {
    type Content: PartialEq;
    const EXTENSIONS: &'static [&'static str];
    /// Whether the directory's own folders are looked into, too.
    const FOLDERS: bool;

    /// # Errors
    ///
    /// The text is not of this format.
    fn parse(path: &Path, text: &str) -> Result<Self::Content, FollowError>;
}

/// A directory as last read.
#[derive(Debug)]
pub(super) struct Files<F: Format> {
    root: PathBuf,
    files: BTreeMap<PathBuf, File<F::Content>>,
    /// A directory that could not be listed is said once.
    unlistable: Option<PathBuf>,
}

#[derive(Debug)]
struct File<C> {
    stamp: Stamp,
    /// The last good version.
    content: Option<C>,
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    changed: (i64, i64),
    inode: u64,
    length: u64,
}

impl<F: Format> Files<F> {
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), files: BTreeMap::new(), unlistable: None }
    }

    /// Looks once, and adds what it found to `scan`. A directory that cannot be listed keeps its files.
    pub(super) fn scan(&mut self, scan: &mut Scan) {
        let paths = match found::<F>(&self.root) {
            Ok(paths) => paths,
            Err((path, source)) => {
                if self.unlistable.as_ref() != Some(&path) {
                    self.unlistable = Some(path.clone());
                    scan.problems.push(FollowError::List { path, source });
                }
                return;
            }
        };
        self.unlistable = None;
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains_key(path));
        scan.changed |= self.files.len() != before;
        for (path, stamp) in paths {
            if self.files.get(&path).is_some_and(|file| file.stamp == stamp) {
                continue;
            }
            self.read(path, stamp, scan);
        }
    }

    /// The last good version of every file, by path.
    pub(super) fn contents(&self) -> impl Iterator<Item = &F::Content> {
        self.files.values().filter_map(|file| file.content.as_ref())
    }

    fn read(&mut self, path: PathBuf, stamp: Stamp, scan: &mut Scan) {
        let text = match std::fs::read_to_string(&path) {
            // Gone since it was listed: the next look takes it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            other => other.map_err(|source| FollowError::Read { path: path.clone(), source }),
        };
        let content = text.and_then(|text| F::parse(&path, &text));
        let file = self.files.entry(path).or_insert(File { stamp, content: None });
        file.stamp = stamp;
        match content {
            Ok(content) => {
                scan.changed |= file.content.as_ref() != Some(&content);
                file.content = Some(content);
            }
            Err(problem) => scan.problems.push(problem),
        }
    }
}

type Listing = BTreeMap<PathBuf, Stamp>;

fn found<F: Format>(root: &Path) -> Result<Listing, (PathBuf, io::Error)> {
    let mut found = Listing::new();
    for folder in list::<F>(root, &mut found)? {
        if F::FOLDERS {
            list::<F>(&folder, &mut found)?;
        }
    }
    Ok(found)
}

/// Adds the files of one directory that count; answers its folders.
fn list<F: Format>(folder: &Path, found: &mut Listing) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
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
        let counts = path.extension().is_some_and(|extension| F::EXTENSIONS.iter().any(|e| extension == *e));
        if !hidden && metadata.is_dir() {
            folders.push(path);
        } else if !hidden && counts && metadata.is_file() {
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
