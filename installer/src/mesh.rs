//! What the mesh's node components leave in the cluster's objects: their names, and the pods they have captured.

use serde_json::Value;

use crate::cluster::{self, Cluster, Selection};
use crate::object::{Id, entry, text};

/// The agents' DaemonSet. Agents ask for it by this name when they end, and so do rights.
#[must_use]
pub fn agents(namespace: &str) -> Id {
    Id::new("apps/v1", "DaemonSet", namespace, "istio-cni-node")
}

/// The proxies' DaemonSet.
#[must_use]
pub fn proxies(namespace: &str) -> Id {
    Id::new("apps/v1", "DaemonSet", namespace, "ztunnel")
}

/// The proxies' DaemonSet of one node, while an upgrade tries the new proxy there beside the old one.
#[must_use]
pub fn canary(namespace: &str) -> Id {
    Id::new("apps/v1", "DaemonSet", namespace, "ztunnel-canary")
}

/// A pod whose traffic goes through its node's proxy, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Its namespace and name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Whether its traffic does go through it: else it waits to.
    pub enabled: bool,
}

/// The captured ones among these pods. One that has ended has no traffic.
#[must_use]
pub fn captured(pods: &[Value]) -> Vec<Captured> {
    let has_ended = |pod: &Value| matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    let of = |pod: &Value| {
        let state = entry(pod, "/metadata/annotations", REDIRECTION)?;
        Some(Captured {
            name: format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name")),
            node: text(pod, "/spec/nodeName").to_owned(),
            enabled: state == "enabled",
        })
    };
    pods.iter().filter(|pod| !has_ended(pod)).filter_map(of).collect()
}

/// The captured pods of the whole cluster.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn captured_now(cluster: &Cluster) -> Result<Vec<Captured>, cluster::Error> {
    Ok(captured(&cluster.list("v1", "Pod", Selection::default()).await?))
}

/// The version that an image's name tells: its tag.
#[must_use]
pub fn version_of(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon before a slash is of the registry's port.
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    name.split_once(':').map_or("unknown", |(_, tag)| tag)
}

/// Written by agents on the pods that they have captured.
pub const REDIRECTION: &str = "ambient.istio.io/redirection";

#[cfg(test)]
mod tests;
