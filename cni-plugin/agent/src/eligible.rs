//! Decides which pods belong in the mesh, and what a pod asks for itself.

use std::collections::BTreeSet;

use cni_plugin_redirect::{InterfaceName, PodOverrides};

use crate::model::{Labels, Pod};
use crate::selector::Pair;

/// The annotations that say how a pod is captured.
pub const OVERRIDES: [&str; 3] = [BYPASS_INBOUND, DNS_CAPTURE, VIRTUAL_INTERFACES];

/// What the operator configured about which pods to enroll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A pod is selected when any pair matches; no pair selects nothing.
    pub selectors: Vec<Pair>,
    pub excluded_namespaces: BTreeSet<String>,
    /// Where proxies themselves run; a pod labelled `app=ztunnel` there is never captured.
    pub system_namespace: String,
    pub node: String,
}

/// The decision about one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Selected,
    NotSelected(Why),
}

/// Why a pod stays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    OtherNode,
    HostNetwork,
    Sidecar,
    ProxyItself,
    ExcludedNamespace,
    NoSelector,
    /// It ended; a pod that was enrolled is let go.
    Terminal,
    /// All pods of the node are being withdrawn: the agent is being uninstalled.
    Uninstalling,
}

impl Why {
    /// In a few words, for dumps and log lines.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OtherNode => "runs on another node",
            Self::HostNetwork => "uses the host's network",
            Self::Sidecar => "has a sidecar",
            Self::ProxyItself => "is a proxy itself",
            Self::ExcludedNamespace => "its namespace is excluded",
            Self::NoSelector => "no selector matches it",
            Self::Terminal => "has ended",
            Self::Uninstalling => "the node's pods are being withdrawn",
        }
    }
}

/// An annotation's value, or one name in its list, that cannot be read; the pod is treated as if it were absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOverride {
    pub annotation: &'static str,
    pub value: String,
}

/// Whether `pod`, in a namespace with `namespace` labels, belongs in the mesh.
#[must_use]
pub fn verdict(policy: &Policy, pod: &Pod, namespace: &Labels) -> Verdict {
    let why = if pod.spec.node_name != policy.node {
        Why::OtherNode
    } else if pod.spec.host_network {
        Why::HostNetwork
    } else if pod.metadata.annotations.contains_key(SIDECAR_STATUS) {
        Why::Sidecar
    } else if is_proxy(policy, pod) {
        Why::ProxyItself
    } else if policy.excluded_namespaces.contains(&pod.metadata.namespace) {
        Why::ExcludedNamespace
    } else if !policy.selectors.iter().any(|pair| selects(pair, &pod.metadata.labels, namespace)) {
        Why::NoSelector
    } else if pod.is_terminal() {
        Why::Terminal
    } else {
        return Verdict::Selected;
    };
    Verdict::NotSelected(why)
}

/// Whether the labels of namespace `name` select pods in it, without regard to the pods' own labels.
///
/// The plugin, which sees no pod labels, makes such a namespace's pods wait while the agent is away.
#[must_use]
pub fn namespace_selected(policy: &Policy, name: &str, labels: &Labels) -> bool {
    let selected = |pair: &Pair| {
        (!pair.namespace.is_empty() && pair.namespace.matches(labels))
            || selects(pair, &Labels::new(), labels)
    };
    !policy.excluded_namespaces.contains(name) && policy.selectors.iter().any(selected)
}

/// What the pod's annotations ask for, and those that could not be read.
#[must_use]
pub fn overrides(pod: &Pod) -> (PodOverrides, Vec<BadOverride>) {
    let annotations = &pod.metadata.annotations;
    let mut bad = Vec::new();
    let mut flag = |annotation: &'static str| {
        let value = annotations.get(annotation)?;
        let parsed = parse_bool(value);
        if parsed.is_none() {
            bad.push(BadOverride { annotation, value: value.clone() });
        }
        parsed
    };
    let ingress = flag(BYPASS_INBOUND).unwrap_or(false);
    let dns = flag(DNS_CAPTURE);
    let interfaces = annotations.get(VIRTUAL_INTERFACES).map(String::as_str).unwrap_or_default();
    let mut virtual_interfaces = Vec::new();
    for name in interfaces.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name.parse::<InterfaceName>() {
            Ok(name) => virtual_interfaces.push(name),
            Err(_) => bad.push(BadOverride { annotation: VIRTUAL_INTERFACES, value: name.to_owned() }),
        }
    }
    (PodOverrides { ingress, dns, virtual_interfaces }, bad)
}

/// Booleans as Go's `strconv.ParseBool` reads them, which is how Istio reads these values.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn selects(pair: &Pair, pod: &Labels, namespace: &Labels) -> bool {
    pair.pod.matches(pod) && pair.namespace.matches(namespace)
}

/// A captured proxy would capture its own connections.
fn is_proxy(policy: &Policy, pod: &Pod) -> bool {
    pod.metadata.namespace == policy.system_namespace
        && pod.metadata.labels.get("app").is_some_and(|app| app == "ztunnel")
}

const SIDECAR_STATUS: &str = "sidecar.istio.io/status";
const BYPASS_INBOUND: &str = "ambient.istio.io/bypass-inbound-capture";
const DNS_CAPTURE: &str = "ambient.istio.io/dns-capture";
const VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";

#[cfg(test)]
mod tests;
