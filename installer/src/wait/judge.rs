//! Decides whether a DaemonSet is as it should be on every node, and if not, what it waits for.

use serde_json::Value;

use super::{Seen, generation};
use crate::object::{entry, list, number, text};

/// How far a DaemonSet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every node runs what it should.
    Ready {
        /// How many.
        nodes: u64,
    },
    /// Not yet.
    Waiting {
        /// Nodes where it does.
        ready: u64,
        /// Nodes where it should.
        nodes: u64,
        /// What the first of the others waits for.
        why: String,
    },
}

/// Decides.
#[must_use]
pub fn judge(seen: &Seen) -> State {
    let Some(daemon_set) = &seen.daemon_set else {
        return State::Waiting { ready: 0, nodes: 0, why: "it is not there".to_owned() };
    };
    if number(daemon_set, "/status/observedGeneration") < number(daemon_set, "/metadata/generation") {
        let why = "waits for its controller, the kube-controller-manager";
        return State::Waiting { ready: 0, nodes: 0, why: why.to_owned() };
    }
    let nodes = number(daemon_set, "/status/desiredNumberScheduled");
    let updated = number(daemon_set, "/status/updatedNumberScheduled");
    let available = number(daemon_set, "/status/numberAvailable");
    let ready = updated.min(available);
    let rolls = text(daemon_set, "/spec/updateStrategy/type") != "OnDelete";
    if available >= nodes && (updated >= nodes || !rolls) {
        return State::Ready { nodes };
    }
    let trouble = seen.pods.iter().filter(|pod| is_current(pod, daemon_set)).find_map(pod_trouble);
    let why = trouble
        .or_else(|| seen.events.last().map(event))
        .unwrap_or_else(|| format!("{updated} of {nodes} nodes have the new pod, {available} are available"));
    State::Waiting { ready, nodes, why }
}

/// Whether the pod is of the DaemonSet's latest template.
#[must_use]
pub fn is_current(pod: &Value, daemon_set: &Value) -> bool {
    let label = entry(pod, "/metadata/labels", "pod-template-generation");
    match (label, generation(daemon_set)) {
        (Some(pod), Some(daemon_set)) => pod == daemon_set,
        // Only one of a DaemonSet's own controller has the label: there is nothing to tell apart.
        (None, _) | (_, None) => true,
    }
}

/// What a pod waits for, if it is not ready.
#[must_use]
pub fn pod_trouble(pod: &Value) -> Option<String> {
    let name = text(pod, "/metadata/name");
    let node = text(pod, "/spec/nodeName");
    let at = if node.is_empty() { name.to_owned() } else { format!("{name} on {node}") };
    let conditions = list(pod, "/status/conditions");
    let condition = |kind: &str| conditions.iter().find(|condition| text(condition, "/type") == kind);
    if condition("Ready").is_some_and(|ready| text(ready, "/status") == "True") {
        return None;
    }
    if let Some(unscheduled) = condition("PodScheduled").filter(|it| text(it, "/status") == "False") {
        return Some(format!("{at}: {}", said(unscheduled, "is not scheduled")));
    }
    let containers =
        list(pod, "/status/initContainerStatuses").iter().chain(list(pod, "/status/containerStatuses"));
    for container in containers {
        let name = text(container, "/name");
        if let Some(waiting) = container.pointer("/state/waiting") {
            // The reason for the last end says more than that it is started again.
            let last = container.pointer("/lastState/terminated").map(ended).unwrap_or_default();
            return Some(format!("{at}: {name} {}{last}", said(waiting, "waits")));
        }
        if let Some(terminated) = container.pointer("/state/terminated") {
            return Some(format!("{at}: {name}{}", ended(terminated)));
        }
        if !container.pointer("/ready").and_then(Value::as_bool).unwrap_or_default() {
            return Some(format!("{at}: {name} runs but is not ready"));
        }
    }
    Some(format!(
        "{at}: {}",
        condition("Ready").map_or_else(|| "is starting".to_owned(), |it| said(it, "is not ready"))
    ))
}

fn ended(terminated: &Value) -> String {
    format!(
        "; it ended with exit code {} ({})",
        number(terminated, "/exitCode"),
        said(terminated, "no reason given")
    )
}

/// Reason and message, or `otherwise`.
fn said(of: &Value, otherwise: &str) -> String {
    match (text(of, "/reason"), text(of, "/message")) {
        ("", "") => otherwise.to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn event(event: &Value) -> String {
    format!("{}: {}", text(event, "/involvedObject/name"), said(event, "a warning"))
}

#[cfg(test)]
mod tests;
