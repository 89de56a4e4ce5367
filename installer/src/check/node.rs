//! What a node's object says of it.

use k8s_openapi::api::core::v1::{Node, NodeSystemInfo};

/// Its name.
#[must_use]
pub(super) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// What its kubelet says of it.
#[must_use]
pub(super) fn info(node: &Node) -> Option<&NodeSystemInfo> {
    node.status.as_ref()?.node_info.as_ref()
}

/// Whether it runs what pods of the mesh need; one that does not say is taken to.
#[must_use]
pub(super) fn is_linux(node: &Node) -> bool {
    info(node).is_none_or(|info| info.operating_system.is_empty() || info.operating_system == "linux")
}

/// Whether it says that it is ready.
#[must_use]
pub(super) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}
