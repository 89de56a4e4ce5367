//! Reads the Pods and Namespaces out of a file of Kubernetes YAML; other kinds are passed over.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::{Namespace, Pod};

/// An object that enrollment reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    Pod(Box<Pod>),
    Namespace(Namespace),
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("read {file}")]
    Read {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{file}:{line}: no Kubernetes object begins or goes on with `{text}`")]
    NoObject {
        file: PathBuf,
        line: u64,
        /// What the line says.
        text: String,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("{file}:{line}: `{text}` does not fit a {kind}")]
    Malformed {
        file: PathBuf,
        line: u64,
        /// What the line says, the field's name with it.
        text: String,
        kind: &'static str,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("{file}: document {document}: {kind} lacks {field}")]
    MissingField { file: PathBuf, document: usize, kind: &'static str, field: &'static str },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// Reads one document of a file.
struct Reader<'a> {
    file: &'a Path,
    /// Counted from one.
    document: usize,
    yaml: &'a str,
}

/// All Pods and Namespaces of the file `file`, whose text is `text`.
///
/// # Errors
/// The first document that is no object, or no valid Pod or Namespace.
pub(super) fn parse(file: &Path, text: &str) -> Result<Vec<Object>, DocumentError> {
    let mut objects = Vec::new();
    for (index, yaml) in split(text).iter().enumerate() {
        let reader = Reader { file, document: index.saturating_add(1), yaml };
        objects.extend(reader.object()?);
    }
    Ok(objects)
}

impl Reader<'_> {
    fn object(&self) -> Result<Option<Object>, DocumentError> {
        let head: Option<Head> = self.decode().map_err(|source| {
            let (file, (line, text)) = (self.file.to_owned(), self.place(&source));
            DocumentError::NoObject { file, line, text, source }
        })?;
        let Some(head) = head else { return Ok(None) };
        match (head.api_version.as_str(), head.kind.as_str()) {
            ("v1", "Pod") => {
                let mut pod: Pod = self.typed("Pod")?;
                self.present("Pod", "metadata.name", &pod.metadata.name)?;
                if pod.metadata.namespace.is_empty() {
                    "default".clone_into(&mut pod.metadata.namespace);
                }
                pod.ensure_uid();
                Ok(Some(Object::Pod(Box::new(pod))))
            }
            ("v1", "Namespace") => {
                let namespace: Namespace = self.typed("Namespace")?;
                self.present("Namespace", "metadata.name", &namespace.metadata.name)?;
                Ok(Some(Object::Namespace(namespace)))
            }
            _ => Ok(None),
        }
    }

    fn typed<T: DeserializeOwned>(&self, kind: &'static str) -> Result<T, DocumentError> {
        self.decode().map_err(|source| {
            let (file, (line, text)) = (self.file.to_owned(), self.place(&source));
            DocumentError::Malformed { file, line, text, kind, source }
        })
    }

    fn decode<T: DeserializeOwned>(&self) -> Result<T, Box<serde_saphyr::Error>> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(self.yaml, options).map_err(Box::new)
    }

    /// The line that an error is about, and what it says.
    fn place(&self, error: &serde_saphyr::Error) -> (u64, String) {
        let line = error.location().map_or(1, |location| location.line());
        let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let text = self.yaml.lines().nth(index).unwrap_or_default();
        (line, text.trim().to_owned())
    }

    fn present(&self, kind: &'static str, field: &'static str, value: &str) -> Result<(), DocumentError> {
        if value.is_empty() {
            let (file, document) = (self.file.to_owned(), self.document);
            return Err(DocumentError::MissingField { file, document, kind, field });
        }
        Ok(())
    }
}

/// The documents of a stream. Each begins with as many empty lines as come before it, so that errors name the
/// line of the file.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.starts_with(" #"));
        if marker {
            documents.push("\n".repeat(number.saturating_add(1)));
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
        .retain(|document| document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    documents
}

#[cfg(test)]
mod tests;
