//! The files of a layer, and their bytes in a tar: in one order, owned by root, of one time.
//!
//! Paths have no leading slash. `/bin`, `/sbin` and `/lib*` are links into `/usr`, as on every Debian since its version 12,
//! whether or not a package knows that yet.

use std::collections::BTreeMap;
use std::io;

use tar::{EntryType, Header};

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this path.
    Link(String),
}

/// What a path is, with what mode, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permissions; nothing in an image changes who a process is.
    pub mode: u32,
    /// The package or program that it is of.
    pub from: String,
}

/// Files by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// Files that cannot be one tree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// Two owners disagree about a path.
    #[error("{path} is in {one} and, as something else, in {other}: take one of them out of the image")]
    Conflict {
        /// The path.
        path: String,
        /// Who was first.
        one: String,
        /// Who came then.
        other: String,
    },
    /// A path leads out of the tree.
    #[error("{from} holds {path:?}, which leads out of the image")]
    Outside {
        /// The path as it was given.
        path: String,
        /// Whose it is.
        from: String,
    },
}

impl Entry {
    /// A file.
    pub fn file(bytes: impl Into<Vec<u8>>, mode: u32, from: &str) -> Self {
        Self { kind: Kind::File(bytes.into()), mode: mode & PERMISSIONS, from: from.to_owned() }
    }

    /// A symbolic link.
    pub fn link(target: &str, from: &str) -> Self {
        Self { kind: Kind::Link(target.to_owned()), mode: 0o777, from: from.to_owned() }
    }

    /// A folder.
    pub fn folder(mode: u32, from: &str) -> Self {
        Self { kind: Kind::Folder, mode: mode & PERMISSIONS, from: from.to_owned() }
    }
}

impl Tree {
    /// Adds an entry. Folders may be added by many, anything else only once or alike.
    ///
    /// # Errors
    /// The path is another's already, or it leads out of the tree.
    pub fn add(&mut self, path: &str, entry: Entry) -> Result<(), TreeError> {
        let outside = || TreeError::Outside { path: path.to_owned(), from: entry.from.clone() };
        let path = merged(path, &entry.kind).ok_or_else(outside)?;
        if path.is_empty() {
            return Ok(());
        }
        let Some(known) = self.entries.get(&path) else {
            self.entries.insert(path, entry);
            return Ok(());
        };
        let same = known.kind == entry.kind && (known.mode == entry.mode || entry.kind == Kind::Folder);
        if same {
            return Ok(());
        }
        Err(TreeError::Conflict { path, one: known.from.clone(), other: entry.from })
    }

    /// Every entry, in the order of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// What a path is, links followed as in a container.
    pub fn resolve(&self, path: &str) -> Option<&Entry> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(part),
            }
            if let Some(Kind::Link(target)) = self.entries.get(&at.join("/")).map(|entry| &entry.kind) {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                rest.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        self.entries.get(&at.join("/"))
    }

    /// The links at the top, by which old paths lead into `/usr`.
    ///
    /// # Errors
    /// A path is something else already.
    pub fn merge_usr(&mut self, from: &str) -> Result<(), TreeError> {
        let present: Vec<_> =
            MERGED.into_iter().filter(|top| self.has_below(&format!("usr/{top}"))).collect();
        present.into_iter().try_for_each(|top| self.add(top, Entry::link(&format!("usr/{top}"), from)))
    }

    fn has_below(&self, folder: &str) -> bool {
        self.entries.contains_key(folder) || self.entries.keys().any(|p| p.starts_with(&format!("{folder}/")))
    }

    /// The tree as an uncompressed tar, folders before what is in them.
    ///
    /// # Errors
    /// A path is longer than a tar can say.
    pub fn tar(&self) -> io::Result<Vec<u8>> {
        let mut whole = self.entries.clone();
        for path in self.entries.keys() {
            for (at, _) in path.match_indices('/') {
                if let Some(parent) = path.get(..at).filter(|parent| !whole.contains_key(*parent)) {
                    whole.insert(parent.to_owned(), Entry::folder(0o755, ""));
                }
            }
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (path, entry) in &whole {
            let mut header = header(entry.mode);
            match &entry.kind {
                Kind::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    tar.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Kind::File(bytes) => append(&mut tar, path, entry.mode, bytes)?,
                Kind::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        tar.into_inner()
    }
}

/// Adds a file to a tar, with nothing of the machine or the moment in its header.
pub(crate) fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = header(mode);
    header.set_entry_type(EntryType::Regular);
    header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    tar.append_data(&mut header, path, bytes)
}

fn header(mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// The path as the image has it; `None` for one that leads elsewhere.
fn merged(path: &str, kind: &Kind) -> Option<String> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return None;
    }
    let top = parts.first().copied().unwrap_or_default();
    let is_the_link = parts.len() == 1 && matches!(kind, Kind::Link(_));
    let path = parts.join("/");
    Some(if MERGED.contains(&top) && !is_the_link { format!("usr/{path}") } else { path })
}

const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
/// With the sticky bit, without those that change who a process is.
const PERMISSIONS: u32 = 0o1777;
/// As Linux follows.
const MOST_LINKS: u32 = 40;

#[cfg(test)]
mod tests;
