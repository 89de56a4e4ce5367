//! Why documentation could not be written.

use std::io;
use std::path::PathBuf;

/// Why documentation could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be made or written.
    #[error("write manual pages to {}", folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
