//! Rendered text as objects: documents of a file, without hooks, in the order in which Helm installs kinds.

use serde_json::Value;

use super::RenderError;

/// The objects of rendered files, given by path.
pub(super) fn objects<'a>(
    chart: &str,
    files: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<Value>, RenderError> {
    let mut objects = Vec::new();
    for (file, text) in files {
        for document in documents(text) {
            let object = super::values::parse_whole(&document).map_err(|source| RenderError::NotYaml {
                chart: chart.to_owned(),
                file: file.clone(),
                source,
            })?;
            if object.is_null() || is_hook(&object) {
                continue;
            }
            if object.get("kind").and_then(Value::as_str).is_none() {
                return Err(RenderError::NoKind { chart: chart.to_owned(), file: file.clone() });
            }
            objects.push(object);
        }
    }
    objects.sort_by_key(rank);
    Ok(objects)
}

/// Documents end where a line begins with `---`.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        let rest = line.strip_prefix("---");
        if rest.is_some() {
            documents.push(String::new());
        }
        if let Some(document) = documents.last_mut() {
            document.push_str(rest.map_or(line, |rest| rest.trim_start_matches([' ', '\t'])));
            document.push('\n');
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents
}

/// Hooks are Helm's to run: our charts have none but tests.
fn is_hook(object: &Value) -> bool {
    object
        .pointer("/metadata/annotations")
        .is_some_and(|annotations| annotations.get("helm.sh/hook").is_some())
}

/// Where a kind stands in the order of installation; kinds without a place come last, by name.
fn rank(object: &Value) -> (usize, String) {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    match ORDER.iter().position(|known| *known == kind) {
        Some(place) => (place, String::new()),
        None => (ORDER.len(), kind.to_owned()),
    }
}

/// Helm's order of installation.
const ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];
