//! On which kind of Kubernetes the nodes are, as far as the charts put things elsewhere there.

use std::fmt;

use serde_json::Value;

use crate::object::{list, text};

/// A kind of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Where CNI directories are where most have them.
    None,
    /// Google Kubernetes Engine.
    Gke,
    /// K3s in containers.
    K3d,
    /// K3s.
    K3s,
    /// Canonical's.
    Microk8s,
    /// A cluster of one machine.
    Minikube,
    /// Red Hat's.
    Openshift,
}

impl Platform {
    /// The name that the charts take; none where their defaults are right.
    #[must_use]
    pub const fn value(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gke => Some("gke"),
            Self::K3d => Some("k3d"),
            Self::K3s => Some("k3s"),
            Self::Microk8s => Some("microk8s"),
            Self::Minikube => Some("minikube"),
            Self::Openshift => Some("openshift"),
        }
    }
}

/// The platform of the nodes, and by what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// What the charts are told.
    pub platform: Platform,
    /// What people are told.
    pub because: String,
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.platform.value().unwrap_or("standard paths"), self.because)
    }
}

/// Decides from the first node that gives itself away: a cluster is of one kind.
#[must_use]
pub fn detect(nodes: &[Value]) -> Detected {
    nodes.iter().find_map(of_node).unwrap_or_else(|| Detected {
        platform: Platform::None,
        because: "no node says otherwise".to_owned(),
    })
}

fn of_node(node: &Value) -> Option<Detected> {
    let name = text(node, "/metadata/name");
    let found =
        |platform, what: &str| Some(Detected { platform, because: format!("node {name} has {what}") });
    let kubelet = text(node, "/status/nodeInfo/kubeletVersion");
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let label = |prefix: &str| labels.into_iter().flatten().any(|(key, _)| key.starts_with(prefix));
    let provider = text(node, "/spec/providerID");
    if provider.starts_with("kind://") {
        return found(Platform::None, "kind's provider ID");
    }
    if label("node.openshift.io/") {
        return found(Platform::Openshift, "OpenShift's labels");
    }
    if label("minikube.k8s.io/") {
        return found(Platform::Minikube, "minikube's labels");
    }
    if label("microk8s.io/") {
        return found(Platform::Microk8s, "MicroK8s' labels");
    }
    if kubelet.contains("+k3s") {
        let addresses = list(node, "/status/addresses").iter().map(|address| text(address, "/address"));
        let is_k3d = name.starts_with("k3d-") || addresses.into_iter().any(|at| at.starts_with("k3d-"));
        return if is_k3d {
            found(Platform::K3d, "a kubelet of k3d")
        } else {
            found(Platform::K3s, "a kubelet of K3s")
        };
    }
    if kubelet.contains("-gke") || provider.starts_with("gce://") && label("cloud.google.com/gke-") {
        return found(Platform::Gke, "a kubelet of GKE");
    }
    None
}

#[cfg(test)]
mod tests;
