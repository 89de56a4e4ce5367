//! The node's directories: looked at, and changed one step at a time so that a crash between two leaves a usable node.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::decide::{Change, Content, File, Seen};
use super::leave::Journal;

/// One change of the node. Each leaves the old state or the new one, never a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is about to be changed is kept first.
    Keep(Journal),
    Change(Change),
    /// Everything is as it was: the journal goes.
    Forget,
}

/// What could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{attempt} {path}{}", hint(source))]
pub struct NodeError {
    pub attempt: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// The CNI directory.
#[derive(Clone, Debug)]
pub struct ConfDir(pub PathBuf);

impl ConfDir {
    /// What is there. A directory that is not there is an empty one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(&self) -> Result<Seen, NodeError> {
        let mut seen = Seen::default();
        for name in names(&self.0)? {
            if !EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
                seen.others.insert(name);
                continue;
            }
            let path = self.0.join(&name);
            match read(&path) {
                Ok(Some(file)) => drop(seen.files.insert(name, file)),
                Ok(None) => {}
                Err(source) => return Err(NodeError { attempt: "read", path, source }),
            }
        }
        Ok(seen)
    }

    /// What an earlier agent kept. A damaged journal is as good as none: our entries are found without it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn journal(&self) -> Result<Journal, NodeError> {
        let path = self.0.join(KEPT).join(JOURNAL);
        let file = read(&path).map_err(|source| NodeError { attempt: "read", path: path.clone(), source })?;
        let Some(file) = file else { return Ok(Journal::default()) };
        Ok(Journal::parse(file.content.bytes()).unwrap_or_else(|| {
            tracing::error!(path = %path.display(), "the journal of node changes is damaged: a new one begins");
            Journal::default()
        }))
    }

    /// Carries one step out.
    ///
    /// # Errors
    /// The node is as it was before.
    pub fn carry_out(&self, step: &Step) -> Result<(), NodeError> {
        match step {
            Step::Keep(journal) => {
                let dir = self.0.join(KEPT);
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
                made.map_err(|source| NodeError { attempt: "create", path: dir.clone(), source })?;
                let content = Content::Text(journal.text());
                write(&dir.join(JOURNAL), &File { content, mode: 0o600, owner: None })
            }
            Step::Change(Change { name, to: Some(file) }) => write(&self.0.join(name), file),
            Step::Change(Change { name, to: None }) => remove(&self.0.join(name)),
            Step::Forget => {
                remove(&self.0.join(KEPT).join(JOURNAL))?;
                self.sweep()?;
                let dir = self.0.join(KEPT);
                match fs::remove_dir(&dir) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        Err(NodeError { attempt: "remove", path: dir, source })
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Takes away what an agent that was killed while it wrote has left.
    ///
    /// # Errors
    /// Something cannot be taken away.
    pub fn sweep(&self) -> Result<(), NodeError> {
        sweep(&self.0, ASIDE)?;
        sweep(&self.0.join(KEPT), ASIDE)
    }
}

/// Takes away files of `dir` whose names begin like those of files being written.
pub(super) fn sweep(dir: &Path, prefix: &str) -> Result<(), NodeError> {
    for name in names(dir)?.iter().filter(|name| name.starts_with(prefix)) {
        remove(&dir.join(name))?;
    }
    Ok(())
}

/// Replaces a file: whoever reads it sees the old one or the new one.
pub(super) fn write(path: &Path, file: &File) -> Result<(), NodeError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    write_aside(path, &path.with_file_name(format!("{ASIDE}{name}.tmp")), file)
}

/// As [`write`], with the name under which the file is prepared.
pub(super) fn write_aside(path: &Path, aside: &Path, file: &File) -> Result<(), NodeError> {
    let write = || {
        if let Err(error) = fs::remove_file(aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
        new.write_all(file.content.bytes())?;
        if let Some((user, group)) = file.owner {
            let is = new.metadata()?;
            if (is.uid(), is.gid()) != (user, group) {
                fchown(&new, Some(user), Some(group))?;
            }
        }
        new.set_permissions(Permissions::from_mode(file.mode))?;
        new.sync_all()?;
        fs::rename(aside, path)?;
        settle(path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(aside);
        NodeError { attempt: "write", path: path.to_owned(), source }
    })
}

pub(super) fn remove(path: &Path) -> Result<(), NodeError> {
    match fs::remove_file(path).and_then(|()| settle(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NodeError { attempt: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A name is on the disk once its directory is.
fn settle(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

/// A regular file; anything else is none to a runtime.
fn read(path: &Path) -> io::Result<Option<File>> {
    // What is no file, a pipe above all, is not waited for.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let opened = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = opened.metadata()?;
    let mut bytes = Vec::new();
    opened.take(SIZE_LIMIT).read_to_end(&mut bytes)?;
    let owner = Some((metadata.uid(), metadata.gid()));
    Ok(Some(File { content: Content::of(bytes), mode: metadata.mode() & 0o7777, owner }))
}

fn names(dir: &Path) -> Result<BTreeSet<String>, NodeError> {
    let list = || -> io::Result<BTreeSet<String>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        // A name that is no text is none that we or a runtime would use.
        entries.map(|entry| Ok(entry?.file_name().into_string().ok())).filter_map(Result::transpose).collect()
    };
    list().map_err(|source| NodeError { attempt: "list", path: dir.to_owned(), source })
}

fn hint(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
        " (this platform keeps it elsewhere: set global.platform, or cniBinDir and cniConfDir)"
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        " (the agent needs DAC_OVERRIDE, and where SELinux is enforced the type spc_t)"
    } else {
        ""
    }
}

/// What runtimes load.
const EXTENSIONS: [&str; 3] = [".conf", ".conflist", ".json"];
/// No runtime loads a file that ends otherwise, nor looks into directories.
const ASIDE: &str = ".adit-new.";
/// The journal's directory, inside the CNI directory: of all that the agent can write only this and the directory of
/// binaries outlive a reboot.
const KEPT: &str = ".adit";
const JOURNAL: &str = "journal.json";
/// Far more than any network configuration.
const SIZE_LIMIT: u64 = 1024 * 1024;

#[cfg(test)]
pub(super) mod tests;
