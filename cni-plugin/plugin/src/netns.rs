//! The container's network namespace, opened once, and told apart from the host's.

use std::fs::{File, Metadata, metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::args::Call;
use crate::error::CniError;

/// What the call's `CNI_NETNS` turned out to be.
#[derive(Debug)]
pub(crate) enum Netns {
    /// A namespace that may be enrolled.
    Open(File),
    /// The host's, and the caller insists: left as it is.
    Host,
    /// Nothing that can be opened.
    Unreadable(io::Error),
    /// Not given.
    Absent,
}

impl Netns {
    /// Fails only for a namespace that must never be enrolled.
    pub(crate) fn open(call: &Call) -> Result<Self, CniError> {
        let Some(path) = &call.netns else {
            return Ok(Self::Absent);
        };
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Err(error) => Ok(Self::Unreadable(error)),
            Ok((given, file)) if !is_host(&given) => Ok(Self::Open(file)),
            Ok(_) if call.netns_override => Ok(Self::Host),
            Ok(_) => Err(CniError::NetnsIsHost { path: path.clone() }),
        }
    }
}

/// Whether this is the namespace of the plugin, or of the node's first process where that can be seen.
fn is_host(given: &Metadata) -> bool {
    let identity = |found: &Metadata| (found.dev(), found.ino());
    ["/proc/self/ns/net", "/proc/1/ns/net"]
        .into_iter()
        .filter_map(|path| metadata(Path::new(path)).ok())
        .any(|host| identity(&host) == identity(given))
}
