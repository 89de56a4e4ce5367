//! What node agents say of their pods' redirection, laid over the Pod objects (pure).
//!
//! A status is a file `<namespace>_<name>.json` with a merge patch (RFC 7396) of a Pod, of which only
//! `metadata.annotations["ambient.istio.io/redirection"]` counts, and `metadata.uid` where the pod has one.

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::objects::Objects;
use crate::objects::kube::{Pod, REDIRECTION};

/// What one file says of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub namespace: String,
    pub name: String,
    /// The status is of the pod with this UID alone, not of a predecessor or a successor of the same name.
    pub uid: Option<String>,
    /// The annotation's value; `None` takes it away.
    pub redirection: Option<String>,
}

/// Why a status file was not read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("{file}: a status is named after its pod, <namespace>_<name>.json")]
    Name { file: String },
    #[error("{file}: the status is not valid JSON; nothing of this file is taken over")]
    Json {
        file: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{file}: field {field} of the status cannot be read; nothing of this file is taken over")]
    Field {
        file: String,
        field: String,
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Patch {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: Option<String>,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Annotations {
    /// Null takes it away, absent says nothing; a status that says nothing is a mistake.
    #[serde(rename = "ambient.istio.io/redirection", deserialize_with = "present")]
    redirection: Option<String>,
}

impl Status {
    /// Reads the file at `path`, which holds `text`.
    ///
    /// # Errors
    ///
    /// The file's name names no pod, or its text is no status.
    pub fn parse(path: &Path, text: &str) -> Result<Self, StatusError> {
        let file = path.display().to_string();
        let pod = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split_once('_'));
        let Some((namespace, name)) =
            pod.filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
        else {
            return Err(StatusError::Name { file });
        };
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(source) => return Err(StatusError::Json { file, source }),
        };
        let patch: Patch = serde_path_to_error::deserialize(value).map_err(|error| StatusError::Field {
            file,
            field: error.path().to_string(),
            source: error.into_inner(),
        })?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: patch.metadata.uid,
            redirection: patch.metadata.annotations.redirection,
        })
    }

    fn is_of(&self, pod: &Pod) -> bool {
        self.uid.as_ref().is_none_or(|uid| *uid == pod.metadata.uid)
    }
}

/// Sets the annotation of each status's pod; a later status has the last word. One whose pod is not among `objects`
/// changes nothing.
pub fn overlay<'a>(objects: &mut Objects, statuses: impl IntoIterator<Item = &'a Status>) {
    for status in statuses {
        if objects.pod(&status.namespace, &status.name).is_some_and(|pod| status.is_of(pod)) {
            let value = status.redirection.as_deref();
            objects.annotate_pod(&status.namespace, &status.name, REDIRECTION, value);
        }
    }
}

/// Without this, a field that may be null may also be absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}
