//! Fetches packages by apt: which, in which versions, is what the machine's sources of packages have today.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::platform::{Platform, UnknownArchitecture};

/// A package as apt would fetch it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The file that apt writes.
    pub file: String,
}

/// Packages that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// The program is not there.
    #[error("start {program}: images are made on Debian and what descends from it")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("{command}: {told}\nWhere lists of packages are old or missing, run apt-get update")]
    Failed {
        /// What was asked.
        command: String,
        /// What it said.
        told: String,
    },
    /// It answered in words that nobody here knows.
    #[error("apt-get answered {0:?}, which is no line of --print-uris")]
    Line(String),
    /// It did not name a package that was asked for.
    #[error("apt-get names no file for the package {0}: run apt-get update")]
    Missing(String),
    /// A file of its own cannot be written.
    #[error("write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine is of another kind.
    #[error(transparent)]
    Architecture(#[from] UnknownArchitecture),
}

/// Packages of this machine's release, kept in a folder once they were fetched.
#[derive(Debug, Clone)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Over a folder, which is made.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: &Path) -> Result<Self, AptError> {
        let failed = |source| AptError::Write { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        Ok(Self { folder: folder.canonicalize().map_err(failed)? })
    }

    /// What this machine's packages are built for.
    ///
    /// # Errors
    /// There is no dpkg, or no image is made for such machines.
    pub fn platform(&self) -> Result<Platform, AptError> {
        let printed = run(&self.folder, "dpkg", &["--print-architecture"])?;
        Ok(Platform::of_debian(printed.trim())?)
    }

    /// These packages with all that they depend on, and those alone, as an empty machine would get them.
    ///
    /// # Errors
    /// apt has no such packages.
    pub fn choose(&self, packages: &[&str], alone: &[&str]) -> Result<Vec<Wanted>, AptError> {
        // Where nothing is installed and nothing fetched: apt does not name what it has already.
        let nowhere = self.folder.join("nowhere");
        let (status, partial) = (nowhere.join("status"), nowhere.join("partial"));
        let failed = |source| AptError::Write { path: nowhere.clone(), source };
        std::fs::create_dir_all(partial).and_then(|()| std::fs::write(&status, "")).map_err(failed)?;
        let status = format!("Dir::State::status={}", status.display());
        let cache = format!("Dir::Cache::archives={}", nowhere.display());
        let mut install = vec!["install", "--print-uris", "--yes", "--no-install-recommends", "-qq"];
        install.extend(["-o", &status, "-o", &cache].into_iter().chain(packages.iter().copied()));
        let mut download = vec!["download", "--print-uris", "-qq"];
        download.extend(alone);
        let printed = run(&nowhere, APT, &install)? + &run(&nowhere, APT, &download)?;
        let chosen = read(&printed)?;
        match packages.iter().chain(alone).find(|&&name| !chosen.iter().any(|wanted| wanted.name == name)) {
            Some(name) => Err(AptError::Missing((*name).to_owned())),
            None => Ok(chosen),
        }
    }

    /// Fetches what is not in the folder yet; apt compares each with its signed lists.
    ///
    /// # Errors
    /// apt cannot fetch one.
    pub fn fetch(&self, wanted: &[Wanted]) -> Result<BTreeMap<String, PathBuf>, AptError> {
        let versions: Vec<_> =
            wanted.iter().map(|wanted| format!("{}={}", wanted.name, wanted.version)).collect();
        // Else it complains that a user of its own cannot write here.
        let mut arguments = vec!["download", "-qq", "-o", "APT::Sandbox::User=root"];
        arguments.extend(versions.iter().map(String::as_str));
        run(&self.folder, APT, &arguments)?;
        Ok(wanted.iter().map(|wanted| (wanted.name.clone(), self.folder.join(&wanted.file))).collect())
    }
}

fn run(folder: &Path, program: &'static str, arguments: &[&str]) -> Result<String, AptError> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .current_dir(folder)
        .output()
        .map_err(|source| AptError::NoProgram { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(AptError::Failed { command: format!("{program} {}", arguments.join(" ")), told })
}

/// Reads what `--print-uris` prints, one `'URI' FILE SIZE HASH` a line; answers each package once, by name.
fn read(printed: &str) -> Result<Vec<Wanted>, AptError> {
    let unknown = |line: &str| AptError::Line(line.to_owned());
    let mut wanted = Vec::new();
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        let file =
            line.split_whitespace().nth(1).filter(|_| line.starts_with('\'')).ok_or_else(|| unknown(line))?;
        let stem = file.strip_suffix(".deb").ok_or_else(|| unknown(line))?;
        let [name, version, _] = stem.split('_').collect::<Vec<_>>()[..] else { return Err(unknown(line)) };
        // An epoch's colon is no letter of file names.
        let version = version.replace("%3a", ":");
        wanted.push(Wanted { name: name.to_owned(), version, file: file.to_owned() });
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

const APT: &str = "apt-get";

#[cfg(test)]
mod tests;
