//! What an installation was made of, kept in the cluster: for the next one, for pruning, and for going back.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::{self, Applied, Cluster, How};
use crate::object::Id;
use crate::plan::PodSecurity;

/// What an installation was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Of this text's form.
    pub format: u32,
    /// The tool that installed, and with it the charts.
    pub version: String,
    /// Values as they were given.
    pub values: Value,
    /// Its objects.
    pub objects: Vec<Id>,
    /// They themselves.
    pub manifests: Vec<Value>,
    /// The installation that this one followed, where it was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// What was there before, of objects that were taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
    /// What Pod Security enforced before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurity>,
}

/// An installation that another followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// The tool that had installed.
    pub version: String,
    /// Its values.
    pub values: Value,
    /// Its objects.
    pub manifests: Vec<Value>,
}

/// An object that was taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    /// Which.
    pub id: Id,
    /// The field manager that had installed it.
    pub manager: String,
    /// What it was.
    pub manifest: Value,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Somebody else wrote it, or a version of this tool that we do not know.
    #[error("{id} is no record that this version can read")]
    Unreadable {
        /// Where it is kept.
        id: Box<Id>,
        /// Why not.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Somebody else owns it.
    #[error("{id} is owned by {owner}")]
    Owned {
        /// Where it is kept.
        id: Box<Id>,
        /// The field manager.
        owner: String,
    },
}

impl Error {
    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Unreadable { id, .. } => Some(format!(
                "use the version of adit that installed; or delete {id} and install again, which adopts what runs but cannot put back what had been replaced"
            )),
            Self::Owned { .. } => None,
        }
    }
}

impl Record {
    /// A first record.
    #[must_use]
    pub fn new(values: Value, objects: &[(Id, Value)]) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            values,
            objects: objects.iter().map(|(id, _)| id.clone()).collect(),
            manifests: objects.iter().map(|(_, object)| object.clone()).collect(),
            previous: None,
            replaced: Vec::new(),
            pod_security: None,
        }
    }

    /// This record with what only earlier ones know: what had been there before the first.
    #[must_use]
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        if let Some(earlier) = earlier {
            let known = |id: &Id| earlier.replaced.iter().any(|replaced| replaced.id.is(id));
            self.replaced.retain(|replaced| !known(&replaced.id));
            self.replaced.splice(0..0, earlier.replaced.iter().cloned());
            self.pod_security = earlier.pod_security.clone().or(self.pod_security);
            self.previous = if self.manifests == earlier.manifests {
                earlier.previous.clone()
            } else {
                Some(Previous {
                    version: earlier.version.clone(),
                    values: earlier.values.clone(),
                    manifests: earlier.manifests.clone(),
                })
            };
        }
        self
    }

    /// The record of this namespace, if there is one.
    ///
    /// # Errors
    /// The cluster cannot be asked, or has something else there.
    pub async fn read(cluster: &Cluster, namespace: &str) -> Result<Option<Self>, Error> {
        let id = id(namespace);
        let unreadable = |source| Error::Unreadable { id: Box::new(id.clone()), source };
        let Some(object) = cluster.get(&id).await? else {
            return Ok(None);
        };
        let secret: Secret = serde_json::from_value(object).map_err(|source| unreadable(Some(source)))?;
        let Some(ByteString(bytes)) = secret.data.unwrap_or_default().remove(KEY) else {
            return Err(unreadable(None));
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(record) if record.format == FORMAT => Ok(Some(record)),
            Ok(_) => Err(unreadable(None)),
            Err(source) => Err(unreadable(Some(source))),
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn write(&self, cluster: &Cluster, namespace: &str) -> Result<(), Error> {
        let id = id(namespace);
        let text = serde_json::to_vec(self)
            .map_err(|source| Error::Unreadable { id: Box::new(id.clone()), source: Some(source) })?;
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "adit.dev/release",
            "metadata": {
                "name": NAME, "namespace": namespace,
                "labels": {"app.kubernetes.io/name": "adit", "app.kubernetes.io/managed-by": "adit"},
            },
            "data": {KEY: ByteString(text)},
        });
        // Nobody else has a use for it: what somebody wrote into it was a mistake.
        let how = How { force: true, dry_run: false };
        match cluster.apply(&id, &object, how).await? {
            Applied::Is(_) => Ok(()),
            Applied::Conflicts(conflicts) => {
                let owner = conflicts.into_iter().next().map(|conflict| conflict.owner).unwrap_or_default();
                Err(Error::Owned { id: Box::new(id), owner })
            }
        }
    }
}

/// Where the record of a namespace's components is kept. A Secret: values may have some.
#[must_use]
pub fn id(namespace: &str) -> Id {
    Id::new("v1", "Secret", namespace, NAME)
}

const NAME: &str = "adit-release";
const KEY: &str = "release";
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests;
