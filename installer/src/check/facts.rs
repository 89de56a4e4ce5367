//! What was read of a cluster, as it was read. Verdicts see nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, ResourceQuota, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::node_facts::NodeFacts;
use super::rights::Asked;

/// A fact, or why it is not known. What is not known is never taken for good.
pub(super) type Known<T> = Result<T, Unread>;

/// Why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    /// What was attempted, as in `list pods`.
    pub(super) attempt: String,
    /// What stood in the way.
    pub(super) why: String,
    /// The caller has no right to it.
    pub(super) forbidden: bool,
}

/// Everything that verdicts go by.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The version of this tool.
    pub(super) version: String,
    /// Nothing of ours has to be there yet.
    pub(super) before: bool,
    /// The namespace of istiod and of the node components.
    pub(super) istio_namespace: String,
    /// The API server's version, as in `v1.31.0`.
    pub(super) server: Known<String>,
    /// The clocks of this machine and of the API server, in milliseconds since 1970.
    pub(super) clocks: Known<Clocks>,
    /// What the caller may do of what an installation does.
    pub(super) rights: Vec<Asked>,
    /// Custom resource definitions by name, with the versions that are served.
    pub(super) crds: Known<BTreeMap<String, Vec<String>>>,
    /// All of them.
    pub(super) namespaces: Known<Vec<Namespace>>,
    /// All of them.
    pub(super) nodes: Known<Vec<Node>>,
    /// Those that kubelets renew.
    pub(super) leases: Known<Vec<Lease>>,
    /// All of them.
    pub(super) pods: Known<Vec<Pod>>,
    /// All of them.
    pub(super) daemon_sets: Known<Vec<DaemonSet>>,
    /// Those of the control plane's namespace.
    pub(super) deployments: Known<Vec<Deployment>>,
    /// Those of all namespaces.
    pub(super) services: Known<Vec<Service>>,
    /// All of them.
    pub(super) policies: Known<Vec<NetworkPolicy>>,
    /// Those of the control plane's namespace.
    pub(super) quotas: Known<Vec<ResourceQuota>>,
    /// Those of the control plane's namespace that anything here reads, by name.
    pub(super) config_maps: Known<BTreeMap<String, ConfigMap>>,
    /// Cilium's settings, where it has any.
    pub(super) cilium: Known<Option<BTreeMap<String, String>>>,
    /// What a pod on each node found; none where nobody asked for it.
    pub(super) probed: Option<BTreeMap<String, Known<NodeFacts>>>,
    /// The metrics of each proxy, by its pod's name.
    pub(super) proxies: BTreeMap<String, Known<String>>,
    /// What each agent says of its health, by its pod's name.
    pub(super) agents: BTreeMap<String, Known<String>>,
}

/// Two clocks read at about the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    /// This machine's.
    pub(super) here: i64,
    /// The API server's.
    pub(super) server: i64,
}

impl Facts {
    /// The pods of the node components in their namespace: the proxies.
    ///
    /// # Errors
    /// Pods could not be read.
    pub(super) fn proxy_pods(&self) -> Known<Vec<&Pod>> {
        self.own_pods("app", "ztunnel")
    }

    /// The agents.
    ///
    /// # Errors
    /// Pods could not be read.
    pub(super) fn agent_pods(&self) -> Known<Vec<&Pod>> {
        self.own_pods("k8s-app", "istio-cni-node")
    }

    fn own_pods(&self, label: &str, value: &str) -> Known<Vec<&Pod>> {
        let pods = known(&self.pods)?.iter();
        Ok(pods
            .filter(|pod| pod.metadata.namespace.as_deref() == Some(self.istio_namespace.as_str()))
            .filter(|pod| label_of(&pod.metadata.labels, label) == Some(value))
            .collect())
    }

    /// A DaemonSet of the node components' namespace.
    ///
    /// # Errors
    /// They could not be read.
    pub(super) fn daemon_set(&self, name: &str) -> Known<Option<&DaemonSet>> {
        let sets = known(&self.daemon_sets)?.iter();
        Ok(sets
            .filter(|set| set.metadata.namespace.as_deref() == Some(self.istio_namespace.as_str()))
            .find(|set| set.metadata.name.as_deref() == Some(name)))
    }
}

/// The fact, or why it is not known.
///
/// # Errors
/// It is not known.
pub(super) fn known<T>(fact: &Known<T>) -> Known<&T> {
    fact.as_ref().map_err(Clone::clone)
}

/// One label or annotation.
#[must_use]
pub(super) fn label_of<'a>(labels: &'a Option<BTreeMap<String, String>>, name: &str) -> Option<&'a str> {
    labels.as_ref()?.get(name).map(String::as_str)
}
