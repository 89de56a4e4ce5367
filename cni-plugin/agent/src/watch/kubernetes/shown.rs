//! Pods and namespaces as the API server shows them, read straight into what enrollment needs of them.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::PartialObjectMeta;
use serde::Deserialize;

use crate::model::{Labels, Metadata, Namespace, Pod, PodSpec, PodStatus};

/// A pod of which most was never kept. Nothing in it can be unreadable but what Kubernetes itself guarantees: one strange
/// pod must not make a whole list fail.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shown {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

impl Shown {
    pub(super) fn into_pod(self) -> Pod {
        Pod { metadata: metadata(self.metadata), spec: self.spec, status: self.status }
    }
}

pub(super) fn namespace(shown: PartialObjectMeta<core::Namespace>) -> Namespace {
    let ObjectMeta { name, labels, .. } = shown.metadata;
    let metadata = Metadata {
        name: name.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        ..Metadata::default()
    };
    Namespace { metadata }
}

fn metadata(shown: ObjectMeta) -> Metadata {
    let mut annotations: Labels = shown.annotations.unwrap_or_default();
    // `kubectl` keeps whole manifests there, and nothing that enrollment reads is so long.
    annotations.retain(|_, value| value.len() <= LONGEST_ANNOTATION);
    Metadata {
        name: shown.name.unwrap_or_default(),
        namespace: shown.namespace.unwrap_or_default(),
        uid: shown.uid.unwrap_or_default(),
        labels: shown.labels.unwrap_or_default(),
        annotations,
        deletion_timestamp: shown.deletion_timestamp.map(|at| at.0.to_string()),
    }
}

impl Resource for Shown {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        core::Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        core::Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        core::Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        core::Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

const LONGEST_ANNOTATION: usize = 1024;

#[cfg(test)]
mod tests;
