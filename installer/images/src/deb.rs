//! Opens a package of Debian's: what its control file says, and its files. `dpkg-deb` unpacks.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use tar::EntryType;

use crate::archive::sha256;
use crate::catalog::is_wanted;
use crate::tree::Entry;

/// A package that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is built for.
    pub architecture: String,
    /// Its control file, as dpkg keeps those of installed packages.
    pub control: String,
    /// Of the whole `.deb`.
    pub sha256: String,
    /// The files that images take of it.
    pub files: Vec<(String, Entry)>,
}

/// A package that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The program is not there.
    #[error("start dpkg-deb: install Debian's package dpkg")]
    NoProgram(#[source] io::Error),
    /// It is no package, or it is damaged.
    #[error("{path}: {told}; remove it and run this again to download it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What dpkg-deb said.
        told: String,
    },
    /// The files in it cannot be read.
    #[error("read the files of {path}")]
    Files {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control file says less than it must.
    #[error("{path}: its control file has no {field}")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// A file of a kind that images have none of.
    #[error("{package} holds {path}, a {kind}: leave it out of the catalog")]
    Special {
        /// Whose it is.
        package: String,
        /// The path.
        path: String,
        /// What it is.
        kind: String,
    },
}

/// Opens the package in a file.
///
/// # Errors
/// It is none, or it holds what an image cannot.
pub fn open(path: &Path) -> Result<Package, DebError> {
    let bytes = std::fs::read(path).map_err(|source| DebError::Files { path: path.to_owned(), source })?;
    let control = String::from_utf8_lossy(&dpkg_deb("--field", path)?).into_owned();
    let field = |name: &'static str| {
        let missing = DebError::Incomplete { path: path.to_owned(), field: name };
        field(&control, name).map(str::to_owned).ok_or(missing)
    };
    let name = field("Package")?;
    let tar = dpkg_deb("--fsys-tarfile", path)?;
    let files = files(&tar, &name, path)?;
    let (version, architecture) = (field("Version")?, field("Architecture")?);
    Ok(Package { name, version, architecture, sha256: sha256(&bytes), files, control })
}

/// The files that are wanted of a package's tar.
fn files(tar: &[u8], package: &str, deb: &Path) -> Result<Vec<(String, Entry)>, DebError> {
    let failed = |source| DebError::Files { path: deb.to_owned(), source };
    let mut contents: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = plain(&entry.path_bytes());
        let mode = entry.header().mode().map_err(failed)?;
        let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
        let made = match (entry.header().entry_type(), target) {
            (EntryType::Directory, _) => Some(Entry::folder(mode, package)),
            (EntryType::Regular, _) => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(failed)?;
                Some(Entry::file(bytes, mode, package))
            }
            (EntryType::Symlink, Some(target)) => Some(Entry::link(&target, package)),
            // A second name of a file before it.
            (EntryType::Link, Some(target)) => contents.get(&plain(target.as_bytes())).cloned(),
            _ => None,
        };
        let made = made.ok_or_else(|| DebError::Special {
            package: package.to_owned(),
            path: path.clone(),
            kind: format!("{:?}", entry.header().entry_type()),
        })?;
        contents.insert(path, made);
    }
    // Packages of before the merge have their libraries at the top.
    let merged = |path: &str| match ["lib/", "bin/", "sbin/"].iter().any(|top| path.starts_with(top)) {
        true => format!("usr/{path}"),
        false => path.to_owned(),
    };
    Ok(contents.into_iter().filter(|(path, _)| !path.is_empty() && is_wanted(&merged(path))).collect())
}

/// A path without what tars put before it and after it.
fn plain(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    path.trim_start_matches("./").trim_matches('/').to_owned()
}

/// The first line of a field.
fn field<'a>(control: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    control.lines().find_map(value).map(str::trim).filter(|value| !value.is_empty())
}

fn dpkg_deb(option: &str, path: &Path) -> Result<Vec<u8>, DebError> {
    let output = Command::new("dpkg-deb")
        .arg(option)
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .map_err(DebError::NoProgram)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told = told.trim().trim_start_matches("dpkg-deb: error: ").to_owned();
    Err(DebError::Damaged { path: path.to_owned(), told })
}

#[cfg(test)]
mod tests;
