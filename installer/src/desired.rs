//! What should be in the cluster: the chart, rendered with the values that people gave and what the nodes show.

use serde_json::{Map, Value};

use crate::cluster::{self, Cluster, Selection};
use crate::object::{Id, list, text};
use crate::platform::{Detected, Platform, detect};
use crate::render::{self, Chart, KubeVersion, NoVersion, Release, RenderError};

/// What is known of the cluster before anything is rendered for it.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Its version.
    pub version: KubeVersion,
    /// What API groups it has, with their versions.
    pub api_versions: Vec<String>,
    /// On what it runs.
    pub platform: Detected,
}

/// Why there is nothing to install.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The server says nothing that can be understood of its version.
    #[error("ask for the server's version")]
    Version(#[source] NoVersion),
    /// The chart cannot be rendered with these values, or for this cluster.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// What should be in the cluster.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Objects in the order of installation.
    pub objects: Vec<(Id, Value)>,
    /// The values they were rendered with.
    pub values: Value,
    /// What the charts remark on the values: those that nothing reads, those that lead to trouble.
    pub remarks: Vec<String>,
}

impl Ground {
    /// Asks the cluster.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn look(cluster: &Cluster) -> Result<Self, Error> {
        let version = cluster.server_version().await?.parse().map_err(Error::Version)?;
        let groups = cluster.groups().await?;
        let versions = list(&groups, "/groups").iter().flat_map(|group| list(group, "/versions"));
        let api_versions = versions.map(|version| text(version, "/groupVersion").to_owned()).collect();
        // Whoever may not read nodes says on what they run.
        let platform = match cluster.list("v1", "Node", Selection::default()).await {
            Ok(nodes) => detect(&nodes),
            Err(error) if error.code() == Some(403) => Detected {
                platform: Platform::None,
                because: "nodes may not be read; --platform says otherwise".to_owned(),
            },
            Err(error) => return Err(error.into()),
        };
        Ok(Self { version, api_versions, platform })
    }
}

/// Renders.
///
/// # Errors
/// Values that the chart does not take, or a cluster that is too old.
pub fn desired(ground: &Ground, namespace: &str, values: Value) -> Result<Desired, RenderError> {
    let release = Release {
        name: RELEASE.to_owned(),
        namespace: namespace.to_owned(),
        // The same values render the same objects, the first time and every time after.
        is_upgrade: false,
        revision: 1,
        kube_version: ground.version.clone(),
        api_versions: ground.api_versions.clone(),
    };
    let rendered = render::render(Chart::Adit, &release, &values)?;
    let objects = rendered.objects.into_iter().map(|mut object| {
        let id = Id::of(&object, namespace);
        if let (Some(namespace), Some(metadata)) =
            (&id.namespace, object.get_mut("metadata").and_then(Value::as_object_mut))
        {
            metadata.insert("namespace".to_owned(), Value::from(namespace.clone()));
        }
        (id, object)
    });
    Ok(Desired { objects: objects.collect(), values, remarks: remarks(&rendered.notes) })
}

/// The paragraphs of a chart's notes that are there only where something is remarkable: those after what is next.
fn remarks(notes: &str) -> Vec<String> {
    let paragraphs = notes.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.skip_while(|paragraph| !paragraph.starts_with("Next:")).skip(1).map(str::to_owned).collect()
}

/// The values that people gave, with what flags say; what is given stands.
#[must_use]
pub fn with_flags(values: Value, profile: Option<&str>, platform: Option<&str>, namespace: &str) -> Value {
    let mut global = Map::new();
    for (key, value) in [("profile", profile), ("platform", platform)] {
        if let Some(value) = value {
            global.insert(key.to_owned(), Value::from(value));
        }
    }
    if namespace != USUAL_NAMESPACE {
        global.insert("istioNamespace".to_owned(), Value::from(namespace));
    }
    if global.is_empty() {
        return values;
    }
    merge(serde_json::json!({ "global": global }), values)
}

/// `over` on top of `under`: maps are merged, anything else is replaced.
#[must_use]
pub fn merge(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (key, value) in over {
                let merged = match under.shift_remove(&key) {
                    Some(below) => merge(below, value),
                    None => value,
                };
                under.insert(key, merged);
            }
            Value::Object(under)
        }
        (_, over) => over,
    }
}

/// As labels name the release.
const RELEASE: &str = "adit";
const USUAL_NAMESPACE: &str = "istio-system";

#[cfg(test)]
mod tests;
