//! The agent's word about selected namespaces, left in a file for the plugin calls that find the agent away.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's only format so far.
pub const VERSION: u32 = 1;

/// Namespaces whose pods belong to the mesh unless they opt out themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectedNamespaces(pub BTreeSet<String>);

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is not what the agent writes.
    #[error("{path} is not a file of selected namespaces")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A newer agent wrote it.
    #[error("{path} has version {got}, and only version {VERSION} is understood")]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: u32,
    },
}

impl SelectedNamespaces {
    /// Reads the file; `None` when no agent has written one since the node booted.
    ///
    /// # Errors
    ///
    /// See [`CacheError`].
    pub fn read(path: &Path) -> Result<Option<Self>, CacheError> {
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?.take(SIZE_LIMIT).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(CacheError::Read { path: path.to_owned(), source });
            }
        };
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|source| CacheError::Malformed { path: path.to_owned(), source })?;
        if document.version != VERSION {
            return Err(CacheError::UnsupportedVersion { path: path.to_owned(), got: document.version });
        }
        Ok(Some(Self(document.namespaces)))
    }

    /// Replaces the file: a reader sees the old one or the new one, never a part.
    ///
    /// # Errors
    ///
    /// [`CacheError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), CacheError> {
        let document = Document { version: VERSION, namespaces: self.0.clone() };
        let aside = path.with_extension("json.new");
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&serde_json::to_vec(&document)?)?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        write().map_err(|source| CacheError::Write { path: path.to_owned(), source })
    }

    /// Whether the agent said that this namespace is selected.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        self.0.contains(namespace)
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    namespaces: BTreeSet<String>,
}

/// Far more than a cluster's namespaces need.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;
