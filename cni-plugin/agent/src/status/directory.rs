//! Statuses as files, one per pod, for a control plane that reads a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{StatusError, StatusSink};
use crate::model::{Pod, REDIRECTION_ANNOTATION, Redirection};

/// One file per pod, `<namespace>_<name>.json`, holding a merge patch for the pod's metadata. A file appears whole
/// or not at all, and goes when its pod leaves the mesh.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Files>);

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    /// Two pods of one name, the old and its successor, share a file.
    one_at_a_time: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Patch {
    metadata: PatchMetadata,
}

#[derive(Serialize, Deserialize)]
struct PatchMetadata {
    /// Makes the patch fail on a successor of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Directory {
    /// Uses `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(dir: PathBuf) -> Result<Self, StatusError> {
        fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        Ok(Self(Arc::new(Files { dir, one_at_a_time: Mutex::new(()) })))
    }

    /// Files block, so whatever is done to them is done elsewhere.
    fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, StatusError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StatusError>> {
        let files = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&files)).await.map_err(StatusError::Task)?
        })
    }
}

impl StatusSink for Directory {
    fn recorded(&self, pod: Arc<Pod>) -> BoxFuture<'_, Result<Option<Redirection>, StatusError>> {
        self.elsewhere(move |files| files.recorded(&pod))
    }

    fn record(&self, pod: Arc<Pod>, value: Option<Redirection>) -> BoxFuture<'_, Result<(), StatusError>> {
        self.elsewhere(move |files| files.record(&pod, value))
    }

    fn prune(&self, known: BTreeSet<PodUid>) -> BoxFuture<'_, Result<(), StatusError>> {
        self.elsewhere(move |files| files.prune(&known))
    }
}

impl Files {
    fn path(&self, pod: &Pod) -> PathBuf {
        self.dir.join(format!("{}_{}.json", pod.metadata.namespace, pod.metadata.name))
    }

    fn write(&self, pod: &Pod, value: Redirection) -> Result<(), StatusError> {
        let path = self.path(pod);
        let aside = path.with_extension("json.new");
        let patch = Patch {
            metadata: PatchMetadata {
                uid: Some(pod.metadata.uid.clone()).filter(|_| !pod.has_made_up_uid()),
                annotations: BTreeMap::from([(REDIRECTION_ANNOTATION.to_owned(), value.value().to_owned())]),
            },
        };
        let bytes = serde_json::to_vec(&patch)
            .map_err(|source| StatusError::Malformed { path: path.clone(), source })?;
        let mut file = File::create(&aside).map_err(io_error("create", &aside))?;
        file.write_all(&bytes).map_err(io_error("write", &aside))?;
        fs::rename(&aside, &path).map_err(io_error("replace", &path))
    }

    fn recorded(&self, pod: &Pod) -> Result<Option<Redirection>, StatusError> {
        let Some(patch) = read(&self.path(pod))? else {
            return Ok(None);
        };
        if patch.is_of_another(pod) {
            return Ok(None);
        }
        Ok(patch
            .metadata
            .annotations
            .get(REDIRECTION_ANNOTATION)
            .and_then(|value| Redirection::from_value(value)))
    }

    fn record(&self, pod: &Pod, value: Option<Redirection>) -> Result<(), StatusError> {
        let _guard = self.one_at_a_time.lock();
        if let Some(value) = value {
            return self.write(pod, value);
        }
        let path = self.path(pod);
        match read(&path) {
            Ok(Some(patch)) if patch.is_of_another(pod) => Ok(()),
            Ok(None) => Ok(()),
            // One that cannot be read says nothing useful either.
            Ok(Some(_)) | Err(StatusError::Malformed { .. }) => remove(&path),
            Err(error) => Err(error),
        }
    }

    fn prune(&self, known: &BTreeSet<PodUid>) -> Result<(), StatusError> {
        let _guard = self.one_at_a_time.lock();
        for file in fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))? {
            let path = file.map_err(io_error("list", &self.dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            // Without a UID, the file's name is the pod's made-up UID.
            let name = path.file_stem().map(|stem| stem.to_string_lossy().replacen('_', "/", 1));
            let said = read(&path).ok().flatten();
            let uid = said.and_then(|patch| patch.metadata.uid).or(name).unwrap_or_default();
            if !known.contains(&PodUid(uid)) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Patch {
    fn is_of_another(&self, pod: &Pod) -> bool {
        self.metadata.uid.as_ref().is_some_and(|uid| *uid != pod.metadata.uid)
    }
}

fn read(path: &Path) -> Result<Option<Patch>, StatusError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", path)(source)),
    };
    let malformed = |source| StatusError::Malformed { path: path.to_owned(), source };
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

fn remove(path: &Path) -> Result<(), StatusError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StatusError {
    let path = path.to_owned();
    move |source| StatusError::Io { attempt, path, source }
}

#[cfg(test)]
mod tests;
