//! The parts of a Kubernetes Pod and Namespace that enrollment reads.

mod containers;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

pub use containers::{Container, ContainerPort, Endpoint, Handler, Lifecycle, PortRef, UnusablePort};

/// Label or annotation names and values.
pub type Labels = BTreeMap<String, String>;

/// Written by the agent once a pod is captured and its proxy listens; istiod reads it.
pub const REDIRECTION_ANNOTATION: &str = "ambient.istio.io/redirection";

/// Where the kubelet notes a static pod's own UID.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Name and markings that every Kubernetes object has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub uid: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub labels: Labels,
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: Labels,
    #[serde(default)]
    pub deletion_timestamp: Option<String>,
}

/// A pod as its source last showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Pod {
    pub metadata: Metadata,
    #[serde(default, deserialize_with = "null_is_default")]
    pub spec: PodSpec,
    #[serde(default, deserialize_with = "null_is_default")]
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    #[serde(default)]
    pub host_network: bool,
    #[serde(default)]
    pub node_name: String,
    #[serde(default)]
    pub service_account_name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub containers: Vec<Container>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    #[serde(default)]
    pub phase: String,
    #[serde(rename = "podIP", default)]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs", default, deserialize_with = "null_is_default")]
    pub pod_ips: Vec<PodIp>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub container_statuses: Vec<ContainerStatus>,
    /// Whether the kubelet says that the pod has a sandbox with a network; `None` where it says neither.
    #[serde(rename = "conditions", default, deserialize_with = "sandbox_condition")]
    pub has_sandbox: Option<bool>,
}

/// One element of `status.containerStatuses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ContainerStatus {
    /// With its runtime's name before it; absent until the container was made.
    #[serde(rename = "containerID", default)]
    pub container_id: Option<String>,
}

/// One element of `status.podIPs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PodIp {
    pub ip: String,
}

/// A namespace: only its name and labels matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    pub metadata: Metadata,
}

/// What the redirection annotation says of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirection {
    /// Captured and served by a proxy.
    Enabled,
    /// Selected, but not served yet.
    Pending,
}

impl Pod {
    /// `namespace/name`, for logs and errors.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// Gives a pod that was written by hand, without a UID, one that stays the same for its name.
    pub fn ensure_uid(&mut self) {
        if self.metadata.uid.is_empty() {
            self.metadata.uid = self.full_name();
        }
    }

    /// Whether its UID is made up from its name, so that no runtime can know it.
    #[must_use]
    pub fn has_made_up_uid(&self) -> bool {
        self.metadata.uid == self.full_name()
    }

    /// The UID under which the node's runtime knows the pod. That of a static pod is not the API server's: the kubelet
    /// makes it up, 32 hexadecimal digits, before it mirrors the pod there. No other pod's UID looks so.
    #[must_use]
    pub fn runtime_uid(&self) -> &str {
        let made_up = |uid: &&String| uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.metadata.annotations.get(MIRROR_ANNOTATION).filter(made_up).unwrap_or(&self.metadata.uid)
    }

    /// The pod's service account; Kubernetes fills `default` in when none is named.
    #[must_use]
    pub fn service_account(&self) -> &str {
        if self.spec.service_account_name.is_empty() { "default" } else { &self.spec.service_account_name }
    }

    /// The addresses of the status, IPv4-mapped ones as IPv4; text that is no address is left out.
    #[must_use]
    pub fn ips(&self) -> Vec<IpAddr> {
        let listed = self.status.pod_ips.iter().map(|one| one.ip.as_str());
        let mut ips: Vec<IpAddr> = Vec::new();
        for text in listed.chain(self.status.pod_ip.as_deref()) {
            let Ok(ip) = text.parse::<IpAddr>() else { continue };
            let ip = ip.to_canonical();
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        ips
    }

    /// Whether what its status tells of the sandbox differs from `before`: another sandbox may be behind it.
    #[must_use]
    pub fn may_have_moved_since(&self, before: &Self) -> bool {
        let tells = |pod: &'_ Self| {
            let containers: Vec<String> =
                pod.status.container_statuses.iter().filter_map(|one| one.container_id.clone()).collect();
            (containers, pod.status.has_sandbox, pod.ips())
        };
        tells(self) != tells(before)
    }

    /// All its containers have ended for good.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// What the pod's own annotation says of its redirection.
    #[must_use]
    pub fn redirection(&self) -> Option<Redirection> {
        self.metadata.annotations.get(REDIRECTION_ANNOTATION).and_then(|value| Redirection::from_value(value))
    }
}

impl Redirection {
    /// The annotation's value.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Pending => "pending",
        }
    }

    /// Reads the annotation's value; anything else means the agent wrote nothing.
    #[must_use]
    pub fn from_value(value: &str) -> Option<Self> {
        match value {
            "enabled" => Some(Self::Enabled),
            "pending" => Some(Self::Pending),
            _ => None,
        }
    }
}

/// `labels:` with nothing behind it is null in YAML, and means the same as leaving it out.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Of all conditions only the one that tells of the sandbox: the others change often and mean nothing here.
fn sandbox_condition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let conditions = Option::<Vec<Condition>>::deserialize(deserializer)?.unwrap_or_default();
    let about = conditions.into_iter().find(|one| one.kind == "PodReadyToStartContainers");
    Ok(about.and_then(|one| match one.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    }))
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
}

#[cfg(test)]
mod tests;
