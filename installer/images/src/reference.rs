//! Names of images: `registry/path/name:tag`, as container runtimes take them.

use std::fmt;

/// The name of an image in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    repository: String,
    tag: String,
}

/// A name that runtimes refuse or, worse, take for one of Docker Hub.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The registry cannot be told from a path.
    #[error(
        "--hub {0}: {1:?} is no host of a registry, so runtimes would look for it on Docker Hub; \
         give a host with a dot or a port, as in ghcr.io/adit-mesh"
    )]
    Host(String, String),
    /// A part of the path is not allowed.
    #[error("--hub {0}: {1:?} may hold lower-case letters, digits and single . _ - between them")]
    Path(String, String),
    /// The tag is not allowed.
    #[error("--tag {0}: up to 128 letters, digits, dots, dashes and underscores, the first no dot or dash")]
    Tag(String),
}

impl Reference {
    /// An image below a hub.
    ///
    /// # Errors
    /// The hub or the tag cannot be part of a name.
    pub fn new(hub: &str, name: &str, tag: &str) -> Result<Self, ReferenceError> {
        let hub = hub.trim_end_matches('/');
        let (host, path) = hub.split_once('/').map_or((hub, None), |(host, path)| (host, Some(path)));
        let is_host = host.contains(['.', ':']) || host == "localhost";
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if !is_host || !host.chars().all(allowed) {
            return Err(ReferenceError::Host(hub.to_owned(), host.to_owned()));
        }
        for part in path.into_iter().flat_map(|path| path.split('/')) {
            if !is_path_part(part) {
                return Err(ReferenceError::Path(hub.to_owned(), part.to_owned()));
            }
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let fits = tag.starts_with(word) && tag.len() <= TAG_LENGTH;
        if !fits || !tag.chars().all(|c| word(c) || c == '.' || c == '-') {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        Ok(Self { repository: format!("{hub}/{name}"), tag: tag.to_owned() })
    }

    /// The tag alone.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

fn is_path_part(part: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(inner) && part.ends_with(inner) && part.chars().all(|c| inner(c) || "._-".contains(c))
}

const TAG_LENGTH: usize = 128;

#[cfg(test)]
mod tests;
