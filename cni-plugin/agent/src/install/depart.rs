//! Tells an upgrade, for which the plugin stays so that pods wait for the next agent, from an uninstall.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::leave::Heir;

/// What the API server said when it was asked for an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    Is(Box<T>),
    NotFound,
    /// Nobody gave us rights, or they have been taken away.
    Unauthorized,
    /// It did not answer, or not in a way that says anything.
    Unknown(String),
}

/// What to do with the node when the agent ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Another agent comes: everything stays, and pods of the mesh wait for it.
    Stay { because: String },
    /// istio-cni comes: rules and annotations stay for it.
    HandBack { because: String },
    /// Nobody comes: every pod leaves the mesh.
    Uninstall { because: String },
}

impl Departure {
    #[must_use]
    pub fn because(&self) -> &str {
        match self {
            Self::Stay { because } | Self::HandBack { because } | Self::Uninstall { because } => because,
        }
    }

    /// To whom the node is left, if it is.
    #[must_use]
    pub const fn heir(&self) -> Option<Heir> {
        match self {
            Self::Stay { .. } => None,
            Self::HandBack { .. } => Some(Heir::IstioCni),
            Self::Uninstall { .. } => Some(Heir::Nobody),
        }
    }
}

/// Decides from the agent's own DaemonSet and its Node. Where either cannot be told the plugin stays: a node that keeps a
/// plugin too many can be repaired, pods that started outside the mesh cannot.
#[must_use]
pub fn departure(daemon_set: &Answer<DaemonSet>, node: &Answer<Node>) -> Departure {
    let uninstall = |because: &str| Departure::Uninstall { because: because.to_owned() };
    let stay = |because: String| Departure::Stay { because };
    let daemon_set = match daemon_set {
        Answer::NotFound => return uninstall("the DaemonSet is gone"),
        Answer::Unauthorized => return uninstall("the rights of the agent have been taken away"),
        Answer::Unknown(why) => return stay(format!("the DaemonSet cannot be read: {why}")),
        Answer::Is(daemon_set) if daemon_set.metadata.deletion_timestamp.is_some() => {
            return uninstall("the DaemonSet is being deleted");
        }
        Answer::Is(daemon_set) => daemon_set,
    };
    if let Some(selector) = required(daemon_set) {
        match node {
            Answer::Is(node) if !selects(selector, node) => {
                return uninstall("the DaemonSet's affinity no longer takes in this node");
            }
            Answer::Is(_) => {}
            Answer::NotFound | Answer::Unauthorized => {
                return stay("the Node cannot be read: it is gone, or not ours to read".to_owned());
            }
            Answer::Unknown(why) => return stay(format!("the Node cannot be read: {why}")),
        }
    }
    if is_istio_cni(daemon_set) {
        return Departure::HandBack { because: "the DaemonSet runs istio-cni from now on".to_owned() };
    }
    stay("the DaemonSet is there: another agent comes".to_owned())
}

/// The affinity that decides on which nodes pods may be. A node selector does not count: istio-cni leaves it out too, and a
/// DaemonSet parked by one is an upgrade under way.
fn required(daemon_set: &DaemonSet) -> Option<&NodeSelector> {
    let affinity = daemon_set.spec.as_ref()?.template.spec.as_ref()?.affinity.as_ref()?;
    affinity.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()
}

/// istio-cni's chart and ours have the same names but start another program.
fn is_istio_cni(daemon_set: &DaemonSet) -> bool {
    let pod = daemon_set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let agent = pod.and_then(|pod| pod.containers.iter().find(|container| container.name == CONTAINER));
    let program = agent.and_then(|agent| agent.command.as_ref()).and_then(|command| command.first());
    program.is_some_and(|program| program.rsplit('/').next() == Some(THEIR_PROGRAM))
}

/// Any of the terms, each with all of its requirements.
fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| takes(term, node))
}

fn takes(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let name = node.metadata.name.clone().unwrap_or_default();
    let fields = BTreeMap::from([("metadata.name".to_owned(), name)]);
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let on_fields = term.match_fields.as_deref().unwrap_or_default();
    // A term that asks for nothing takes nothing.
    !(expressions.is_empty() && on_fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, &labels))
        && on_fields.iter().all(|requirement| holds(requirement, &fields))
}

fn holds(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.contains(value));
    let numbers = || {
        let one: i64 = value?.parse().ok()?;
        let other: i64 = values.first()?.parse().ok()?;
        Some((one, other))
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(one, other)| one > other),
        "Lt" => numbers().is_some_and(|(one, other)| one < other),
        _ => false,
    }
}

const CONTAINER: &str = "install-cni";
const THEIR_PROGRAM: &str = "install-cni";

#[cfg(test)]
mod tests;
