//! Which sandboxes were begun with a plugin, from the cache that runtimes keep for their DEL.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Where libcni keeps its cache on a node.
pub const DEFAULT_CACHE: &str = "/var/lib/cni";

/// The cache cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read what the runtime keeps of its sandboxes in {path}")]
pub struct AttachmentsError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// How many attachments the runtime will end with a call of the plugin of type `plugin`. What it keeps is for itself:
/// a file that is none of its attachments is passed over.
///
/// # Errors
///
/// The cache is not there or cannot be read, which says nothing of sandboxes.
pub fn with_plugin(cache: &Path, plugin: &str) -> Result<usize, AttachmentsError> {
    let results = cache.join("results");
    let failed = |path: &Path, source| AttachmentsError { path: path.to_owned(), source };
    let mut found = 0;
    for entry in fs::read_dir(&results).map_err(|source| failed(&results, source))? {
        let path = entry.map_err(|source| failed(&results, source))?.path();
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(SIZE_LIMIT).read_to_end(&mut bytes));
        match read {
            Ok(_) => found += usize::from(names(&bytes, plugin)),
            // It ended meanwhile, or is none.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(source) => return Err(failed(&path, source)),
        }
    }
    Ok(found)
}

fn names(bytes: &[u8], plugin: &str) -> bool {
    let Ok(Attachment { config }) = serde_json::from_slice(bytes) else { return false };
    let Ok(config) = STANDARD.decode(config) else { return false };
    let Ok(config) = serde_json::from_slice::<Value>(&config) else { return false };
    let is_it = |entry: &Value| entry.get("type").and_then(Value::as_str) == Some(plugin);
    let chain = config.get("plugins").and_then(Value::as_array);
    is_it(&config) || chain.is_some_and(|chain| chain.iter().any(is_it))
}

#[derive(Deserialize)]
struct Attachment {
    config: String,
}

/// Far more than a configuration and its result.
const SIZE_LIMIT: u64 = 4 * 1024 * 1024;
