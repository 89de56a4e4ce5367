//! Makes one report of what the API server has about both DaemonSets, their pods, the nodes and the captured pods.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::mesh::{Captured, version_of};
use crate::object::{list, number, text};
use crate::wait::{Seen, State, is_current, judge, pod_trouble};

/// What works and what does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every node that should works.
    pub ready: bool,
    /// The tool that installed, if it was this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// Both DaemonSets.
    pub components: Vec<Component>,
    /// Node by node.
    pub nodes: Vec<Node>,
}

/// A DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub there: bool,
    /// Nodes where it should run.
    pub nodes: u64,
    /// Nodes where it does.
    pub ready: u64,
    /// Nodes with its latest template.
    pub updated: u64,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The version of its proxy, where that is ready.
    pub proxy: Option<String>,
    /// The version of its agent, where that is ready.
    pub agent: Option<String>,
    /// Pods on it that are in the mesh.
    pub pods: usize,
    /// What its proxy and agent wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<String>,
}

/// Makes it. Nodes with neither a proxy nor an agent are listed where they should have them.
#[must_use]
pub fn report(
    proxies: &Seen,
    agents: &Seen,
    nodes: &[Value],
    captured: &[Captured],
    installed: Option<String>,
) -> Report {
    let mut by_name: BTreeMap<String, Node> = BTreeMap::new();
    for node in nodes {
        let name = text(node, "/metadata/name");
        let node = Node { name: name.to_owned(), ..Node::default() };
        by_name.insert(name.to_owned(), node);
    }
    for (seen, is_proxy) in [(proxies, true), (agents, false)] {
        for pod in &seen.pods {
            let name = text(pod, "/spec/nodeName").to_owned();
            let node = by_name.entry(name.clone()).or_insert_with(|| Node { name, ..Node::default() });
            add(node, pod, seen, is_proxy);
        }
    }
    for pod in captured.iter().filter(|pod| pod.enabled) {
        if let Some(node) = by_name.get_mut(&pod.node) {
            node.pods += 1;
        }
    }
    let components = vec![component("ztunnel", proxies), component("istio-cni-node", agents)];
    Report {
        ready: components.iter().all(|component| component.waits.is_none()),
        installed,
        components,
        nodes: by_name.into_values().collect(),
    }
}

fn add(node: &mut Node, pod: &Value, seen: &Seen, is_proxy: bool) {
    let slot = if is_proxy { &mut node.proxy } else { &mut node.agent };
    match pod_trouble(pod) {
        None => {
            let container = list(pod, "/spec/containers").first();
            let image = container.map(|container| text(container, "/image")).unwrap_or_default();
            *slot = Some(version_of(image).to_owned());
        }
        // Of a pod that goes nobody waits for anything.
        Some(why) if seen.daemon_set.as_ref().is_some_and(|set| is_current(pod, set)) => node.waits.push(why),
        Some(_) => {}
    }
}

fn component(name: &str, seen: &Seen) -> Component {
    let there = seen.daemon_set.is_some();
    let status =
        |field: &str| seen.daemon_set.as_ref().map_or(0, |set| number(set, &format!("/status/{field}")));
    let waits = match judge(seen) {
        State::Ready { .. } => None,
        State::Waiting { why, .. } => Some(why),
    };
    Component {
        name: name.to_owned(),
        there,
        nodes: status("desiredNumberScheduled"),
        ready: status("numberReady"),
        updated: status("updatedNumberScheduled"),
        waits,
    }
}

#[cfg(test)]
mod tests;
