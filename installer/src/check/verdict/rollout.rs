//! The DaemonSets: there, ours, and ready on every node, or why not.

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::namespace::is_ours;
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known};
use crate::check::finding::{Judged, Problem, Verdict};
use crate::check::node::{self, is_linux, name};
use crate::check::pod::{is_ready, node_of, why};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "rollout-agent",
        area: Area::Installation,
        title: "the agent is ready on every node",
        when: When::After,
        about: "New pods of the mesh do not start on a node without an agent, and nobody enrolls those that run.",
        hint: "kubectl -n istio-system describe pod NAME; before an installation, use --pre",
        judge: agent,
    },
    Check {
        id: "rollout-proxy",
        area: Area::Installation,
        title: "the proxy is ready on every node",
        when: When::After,
        about: "Pods of the mesh reach nobody on a node without a proxy.",
        hint: "kubectl -n istio-system describe pod NAME; before an installation, use --pre",
        judge: proxy,
    },
];

fn agent(facts: &Facts) -> Judged {
    rollout(facts, "istio-cni-node", facts.agent_pods()?.as_slice())
}

fn proxy(facts: &Facts) -> Judged {
    rollout(facts, "ztunnel", facts.proxy_pods()?.as_slice())
}

fn rollout(facts: &Facts, set_name: &str, pods: &[&Pod]) -> Judged {
    let subject = format!("daemonset {set_name}");
    let Some(set) = facts.daemon_set(set_name)? else {
        return Ok(Verdict::error(subject, format!("it is not in namespace {}", facts.istio_namespace)));
    };
    let mut verdict = Verdict::default();
    if !is_ours(set) {
        let what = "it runs Istio's image: the swap has not happened, or was undone";
        verdict.add(
            Problem::error(subject, what)
                .hint("install Adit's chart under this release, or run `adit install`"),
        );
    }
    let mut ready = 0;
    let nodes: Vec<&Node> = known(&facts.nodes)?.iter().filter(|node| is_linux(node)).collect();
    for node in &nodes {
        let here: Vec<&&Pod> = pods.iter().filter(|pod| node_of(pod) == Some(name(node))).collect();
        if here.iter().any(|pod| is_ready(pod)) {
            ready += 1;
            continue;
        }
        let subject = format!("node {}", name(node));
        verdict.add(match here.first() {
            Some(pod) => {
                let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
                let hint = format!("kubectl -n {} describe pod {pod_name}", facts.istio_namespace);
                Problem::error(subject, format!("pod {pod_name} is not ready: {}", why(pod))).hint(hint)
            }
            None => absent(subject, node),
        });
    }
    verdict.fine = format!("{ready} of {} nodes", nodes.len());
    Ok(verdict)
}

/// Why a node has no pod at all, as far as the node tells.
fn absent(subject: String, node: &Node) -> Problem {
    if !node::is_ready(node) {
        return Problem::warning(subject, "it has no pod of it, and is not ready itself");
    }
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let taints: Vec<String> = taints.map(told).collect();
    let tainted =
        if taints.is_empty() { String::new() } else { format!("; its taints: {}", taints.join(", ")) };
    Problem::error(subject, format!("it has no pod of it{tainted}"))
        .hint("see the DaemonSet's events, its nodeSelector and its tolerations: kubectl describe daemonset")
}

fn told(taint: &Taint) -> String {
    format!("{}:{}", taint.key, taint.effect)
}
