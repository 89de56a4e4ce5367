//! Resources given as they are, beside or over those that follow from Kubernetes objects.

use serde::Deserialize;
use xds_proto::local::{Local, Policy, Service, Workload};

use super::kube::Metadata;
use super::security::Ignored;

/// What Kubernetes objects cannot say, or say otherwise: machines outside the cluster, waypoints, gateways, other
/// networks. Cluster-wide, and read strictly: a misspelled field would silently say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Document")]
pub struct MeshResources {
    pub metadata: Metadata,
    pub resources: Local,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(rename = "kind")]
    _kind: Ignored,
    metadata: Metadata,
    #[serde(default)]
    workloads: Vec<Workload>,
    #[serde(default)]
    services: Vec<Service>,
    #[serde(default)]
    policies: Vec<Policy>,
}

impl From<Document> for MeshResources {
    fn from(document: Document) -> Self {
        let Document { _api_version: _, _kind: _, metadata, workloads, services, policies } = document;
        Self { metadata, resources: Local { workloads, services, policies } }
    }
}

impl MeshResources {
    /// Whether one of its workloads has this identity.
    pub(super) fn runs_as(&self, namespace: &str, service_account: &str) -> bool {
        self.resources.workloads.iter().any(|workload| {
            let account = workload.service_account.as_deref().filter(|name| !name.is_empty());
            workload.namespace.as_deref() == Some(namespace)
                && account.unwrap_or("default") == service_account
        })
    }
}
