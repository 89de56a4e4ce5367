//! Kubernetes objects as JSON: which one it is, where the API server has it, and what of it somebody wrote.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Id {
    /// Group and version, as `apps/v1`.
    pub api_version: String,
    /// As `DaemonSet`.
    pub kind: String,
    /// None for what the whole cluster has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Id {
    /// The object of this kind and name; an empty namespace is none.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// Of which object this is a manifest; one of a namespace that names none belongs to `namespace`, as Helm has it.
    #[must_use]
    pub fn of(object: &Value, namespace: &str) -> Self {
        let kind = text(object, "/kind");
        let named = text(object, "/metadata/namespace");
        let namespace = match (CLUSTER_WIDE.contains(&kind), named) {
            (true, _) => "",
            (false, "") => namespace,
            (false, named) => named,
        };
        Self::new(text(object, "/apiVersion"), kind, namespace, text(object, "/metadata/name"))
    }

    /// The same object, whatever version of its group it was written in.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.group() == other.group()
            && self.kind == other.kind
            && self.namespace == other.namespace
            && self.name == other.name
    }

    /// The API group; that of Pods is empty.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Where the API server has it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", collection(&self.api_version, &self.kind, self.namespace.as_deref()), self.name)
    }

    /// The resource, as rights name it.
    #[must_use]
    pub fn resource(&self) -> String {
        plural(&self.kind)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Where the API server has the objects of a kind; those of every namespace, where none is named.
#[must_use]
pub fn collection(api_version: &str, kind: &str, namespace: Option<&str>) -> String {
    let root = if api_version.contains('/') { "/apis" } else { "/api" };
    let resource = plural(kind);
    match namespace {
        Some(namespace) => format!("{root}/{api_version}/namespaces/{namespace}/{resource}"),
        None => format!("{root}/{api_version}/{resource}"),
    }
}

/// The resource of a kind, as the API conventions form it.
fn plural(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

/// The text at a JSON pointer, or an empty one.
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer, or nought.
#[must_use]
pub fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
#[must_use]
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The value of a key that a pointer cannot name without escapes: of a label or an annotation.
#[must_use]
pub fn entry<'a>(value: &'a Value, map: &str, key: &str) -> Option<&'a str> {
    value.pointer(map)?.get(key)?.as_str()
}

/// What somebody wrote of an object: without what the server keeps in it.
#[must_use]
pub fn manifest(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in KEPT_BY_SERVER {
            metadata.shift_remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove(TEMPLATE_GENERATION);
            if annotations.is_empty() {
                metadata.shift_remove("annotations");
            }
        }
    }
    object
}

/// How often a DaemonSet's template has changed: written by the server, and by the controller on the pods it makes of it.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const KEPT_BY_SERVER: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
];
/// Kinds without a namespace among those that charts of node components have.
const CLUSTER_WIDE: [&str; 6] = [
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "PriorityClass",
    "SecurityContextConstraints",
];

#[cfg(test)]
mod tests;
