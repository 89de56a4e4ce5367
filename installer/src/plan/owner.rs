//! Who installed an object, and how its fields are handed to us so that those we do not want go away with the rest.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cluster::MANAGER;
use crate::object::{entry, list, text};

/// Who installed an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Owner {
    /// This tool.
    Ours,
    /// A release of Helm.
    Helm {
        /// Its name.
        release: String,
        /// The chart, as far as the labels tell.
        chart: String,
    },
    /// istioctl or Istio's operator.
    Istioctl,
    /// Nobody that we know.
    Nobody,
}

impl Owner {
    /// Whose the object is, by what each installer leaves in it.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let is_ours = list(object, "/metadata/managedFields").iter().any(is_our_apply);
        if is_ours {
            return Self::Ours;
        }
        if let Some(release) = entry(object, "/metadata/annotations", "meta.helm.sh/release-name") {
            let chart = entry(object, "/metadata/labels", "helm.sh/chart").unwrap_or_default();
            return Self::Helm { release: release.to_owned(), chart: chart.to_owned() };
        }
        let stamps = ["install.operator.istio.io/owning-resource", "operator.istio.io/managed"];
        if stamps.iter().any(|stamp| entry(object, "/metadata/labels", stamp).is_some()) {
            return Self::Istioctl;
        }
        Self::Nobody
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => write!(f, "adit"),
            Self::Helm { release, chart } if chart.is_empty() => write!(f, "Helm release {release}"),
            Self::Helm { release, chart } => write!(f, "Helm release {release} ({chart})"),
            Self::Istioctl => write!(f, "istioctl"),
            Self::Nobody => write!(f, "nobody"),
        }
    }
}

/// Who manages fields of the object itself, the one with the most recent word last.
#[must_use]
pub fn managers(object: &Value) -> Vec<String> {
    let entries = list(object, "/metadata/managedFields").iter().filter(|entry| is_of_object(entry));
    entries.map(|entry| text(entry, "/manager").to_owned()).collect()
}

/// The object's field managers once its installers have handed what they own to us: a field that we then do not apply goes
/// away, as it would have if we had installed the object. Controllers keep their status.
#[must_use]
pub fn handed_over(object: &Value) -> Value {
    let mut fields = json!({});
    let mut kept = Vec::new();
    let mut version = String::new();
    for entry in list(object, "/metadata/managedFields") {
        if is_of_object(entry) {
            union(&mut fields, entry.get("fieldsV1").unwrap_or(&Value::Null));
            text(entry, "/apiVersion").clone_into(&mut version);
        } else {
            kept.push(entry.clone());
        }
    }
    let ours = json!({
        "manager": MANAGER, "operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    kept.push(ours);
    Value::Array(kept)
}

fn is_our_apply(entry: &Value) -> bool {
    text(entry, "/manager") == MANAGER && text(entry, "/operation") == "Apply"
}

fn is_of_object(entry: &Value) -> bool {
    text(entry, "/subresource").is_empty() && !text(entry, "/manager").ends_with("-controller-manager")
}

/// Adds the field set `more` to `fields`: both are maps of maps.
fn union(fields: &mut Value, more: &Value) {
    let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) else {
        return;
    };
    for (key, below) in more {
        let into = fields.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
        union(into, below);
    }
}

#[cfg(test)]
mod tests;
