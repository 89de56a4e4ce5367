//! Decides in which order nodes change, how each of them is, and which pods an upgrade has lost.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::mesh::Captured;
use crate::object::{list, number, text};
use crate::plan::{Step, Verdict};
use crate::wait::{Seen, is_current, pod_trouble};

/// How one node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It has no new pod yet.
    Old,
    /// It has, which is not ready yet.
    Starting(String),
    /// It has, and that is ready.
    Updated,
    /// It has, which will not get ready by waiting.
    Failing(String),
}

/// Whether the step replaces pods.
#[must_use]
pub fn changes_pods(step: &Step) -> bool {
    let (Verdict::Change { changes } | Verdict::TakeOver { changes, .. }) = &step.verdict else {
        return false;
    };
    // A strategy that holds pods back is of an upgrade that stopped: its nodes are still to be done.
    step.id.kind == "DaemonSet"
        && changes
            .iter()
            .any(|it| it.field.starts_with(".spec.template") || it.field.starts_with(".spec.updateStrategy"))
}

/// The nodes, the canary first: the one that is asked for, else the one with the fewest captured pods.
///
/// # Errors
/// There is no such node; it is given back.
pub fn order(nodes: &[String], captured: &[Captured], canary: Option<&str>) -> Result<Vec<String>, String> {
    let mut pods: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in captured {
        *pods.entry(&pod.node).or_default() += 1;
    }
    if let Some(canary) = canary.filter(|canary| !nodes.iter().any(|node| node == canary)) {
        return Err(canary.to_owned());
    }
    let mut order = nodes.to_vec();
    order.sort_by_key(|node| {
        let is_canary = canary == Some(node.as_str());
        (!is_canary, pods.get(node.as_str()).copied().unwrap_or_default(), node.clone())
    });
    Ok(order)
}

/// The canary alone, and the others so many at once.
#[must_use]
pub fn batches(order: &[String], at_once: u16) -> Vec<Vec<String>> {
    let Some((canary, rest)) = order.split_first() else {
        return Vec::new();
    };
    let rest = rest.chunks(usize::from(at_once.max(1))).map(<[String]>::to_vec);
    std::iter::once(vec![canary.clone()]).chain(rest).collect()
}

/// How a node is, by the DaemonSet's pods on it.
#[must_use]
pub fn node_state(seen: &Seen, node: &str) -> NodeState {
    let Some(daemon_set) = &seen.daemon_set else {
        return NodeState::Old;
    };
    let is_new = |pod: &&Value| {
        text(pod, "/spec/nodeName") == node
            && text(pod, "/metadata/deletionTimestamp").is_empty()
            && is_current(pod, daemon_set)
    };
    let Some(pod) = seen.pods.iter().find(is_new) else {
        return NodeState::Old;
    };
    let Some(why) = pod_trouble(pod) else {
        return NodeState::Updated;
    };
    let fails = list(pod, "/status/containerStatuses").iter().any(|container| {
        let reason = text(container, "/state/waiting/reason");
        number(container, "/restartCount") >= RESTARTS || HOPELESS.contains(&reason)
    });
    if fails { NodeState::Failing(why) } else { NodeState::Starting(why) }
}

/// Pods of a node that were captured before, are still there, and are not captured any more.
#[must_use]
pub fn lost(node: &str, before: &[Captured], after: &[Captured], pods: &[Value]) -> Vec<String> {
    let is_captured = |name: &str| after.iter().any(|pod| pod.enabled && pod.name == name);
    let is_there = |name: &str| {
        pods.iter().any(|pod| {
            let runs = text(pod, "/status/phase") == "Running"
                && text(pod, "/metadata/deletionTimestamp").is_empty();
            runs && name == format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
        })
    };
    let of_node = before.iter().filter(|pod| pod.enabled && pod.node == node);
    let lost = of_node.filter(|pod| is_there(&pod.name) && !is_captured(&pod.name));
    lost.map(|pod| pod.name.clone()).collect()
}

/// What a container does not get out of by itself.
const HOPELESS: [&str; 6] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];
/// A container that was started again so often does not get ready by being started once more.
const RESTARTS: u64 = 3;

#[cfg(test)]
mod tests;
