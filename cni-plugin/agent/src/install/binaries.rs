//! The plugin's binary in the directories where runtimes look for plugins.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::decide::{Content, File, OURS};
use super::node::{self, NodeError};

/// Where the binary comes from and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub source: PathBuf,
    pub targets: Vec<PathBuf>,
}

impl Binaries {
    /// Puts the binary where it is missing or another; answers how many were. Those of other names are nobody's business
    /// here: runtimes still call istio-cni for the pods that it began.
    ///
    /// # Errors
    /// The source is not there, or a directory cannot be written; others may have been.
    pub fn install(&self) -> Result<usize, NodeError> {
        let mut written = 0;
        for target in &self.targets {
            let (from, to) = (self.source.join(OURS), target.join(OURS));
            if is_same(&from, &to)? {
                continue;
            }
            let failed = |source| NodeError { attempt: "read", path: from.clone(), source };
            let content = Content::Bytes(fs::read(&from).map_err(failed)?);
            let mode = fs::metadata(&from).map_err(failed)?.mode() & 0o7777;
            let aside = target.join(format!("{STALE}{}", std::process::id()));
            node::write_aside(&to, &aside, &File { content, mode, owner: None })?;
            written += 1;
        }
        Ok(written)
    }

    /// Whether every directory has the binary as it should be.
    ///
    /// # Errors
    /// The source is not there, or a directory cannot be read.
    pub fn are_in_place(&self) -> Result<bool, NodeError> {
        for target in &self.targets {
            if !is_same(&self.source.join(OURS), &target.join(OURS))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes away what an agent that was killed while it wrote has left.
    ///
    /// # Errors
    /// A directory cannot be written.
    pub fn sweep(&self) -> Result<(), NodeError> {
        self.targets.iter().try_for_each(|target| node::sweep(target, STALE))
    }

    /// Takes the binary away.
    ///
    /// # Errors
    /// A directory cannot be written.
    pub fn remove(&self) -> Result<(), NodeError> {
        self.targets.iter().try_for_each(|target| node::remove(&target.join(OURS)))
    }
}

/// Same bytes and same mode.
fn is_same(from: &Path, to: &Path) -> Result<bool, NodeError> {
    let open = |path: &Path| fs::File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let failed = |path: &Path, source| NodeError { attempt: "read", path: path.to_owned(), source };
    let (wanted, from_file) = open(from).map_err(|source| failed(from, source))?;
    let (is, to_file) = match open(to) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|source| failed(to, source))?,
    };
    if (wanted.len(), wanted.mode()) != (is.len(), is.mode()) {
        return Ok(false);
    }
    same_bytes(from_file, to_file).map_err(|source| failed(to, source))
}

fn same_bytes(one: impl Read, other: impl Read) -> io::Result<bool> {
    let (mut one, mut other) = (io::BufReader::new(one), io::BufReader::new(other));
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = fill(&mut one, &mut left)?;
        if fill(&mut other, &mut right)? != read || left.get(..read) != right.get(..read) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// How names of binaries begin that are being written.
const STALE: &str = "adit-cni.tmp.";
const PIECE: usize = 64 * 1024;

#[cfg(test)]
mod tests;
