//! Which pods the agent takes into the mesh, by its own settings, and why others never come in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Namespace, Pod, Probe};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

use super::facts::{Facts, Known, Unread, known};
use super::pod::{ended, has_sidecar, named};
use super::policies::Group;
use super::selector::{Labels, picks};

/// The agent's settings.
#[derive(Clone, Debug)]
pub(super) struct Enrollment {
    selectors: Vec<Pair>,
    excluded: BTreeSet<String>,
    namespaces: BTreeMap<String, Labels>,
}

/// Both must pick.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    #[serde(default)]
    pod_selector: LabelSelector,
    #[serde(default)]
    namespace_selector: LabelSelector,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody asked for it.
    NotSelected,
    /// It belongs into the mesh.
    Wanted,
    /// It is asked for, and never comes in.
    Never(Reason),
}

/// Why a pod never comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It has no network namespace of its own.
    HostNetwork,
    /// Its traffic is a sidecar's.
    Sidecar,
    /// The agent leaves its namespace alone.
    Excluded,
}

impl Reason {
    /// For people.
    #[must_use]
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::HostNetwork => "is on the host's network, where nothing is captured",
            Self::Sidecar => "has a sidecar, which goes on carrying its traffic",
            Self::Excluded => "is in a namespace that EXCLUDE_NAMESPACES leaves alone",
        }
    }
}

impl Enrollment {
    /// As the agent's `ConfigMap` has it; the charts' default where there is none yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of(facts: &Facts) -> Known<Self> {
        let settings = known(&facts.config_maps)?.get(SETTINGS).and_then(|map| map.data.as_ref());
        let setting = |name: &str| settings.and_then(|data| data.get(name)).map(String::as_str);
        let selectors = setting("AMBIENT_ENABLEMENT_SELECTOR").unwrap_or(SELECTORS);
        let selectors = serde_saphyr::from_str(selectors).map_err(|error| Unread {
            attempt: format!("read AMBIENT_ENABLEMENT_SELECTOR of ConfigMap {SETTINGS}"),
            why: error.to_string(),
            forbidden: false,
        })?;
        let excluded = setting("EXCLUDE_NAMESPACES").unwrap_or("kube-system").split(',');
        let namespaces = known(&facts.namespaces)?.iter().map(labelled).collect();
        Ok(Self { selectors, excluded: excluded.map(|name| name.trim().to_owned()).collect(), namespaces })
    }

    /// What becomes of this pod.
    #[must_use]
    pub(super) fn standing(&self, pod: &Pod) -> Standing {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let nothing = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&nothing);
        let around = self.namespaces.get(namespace).unwrap_or(&nothing);
        let selected = self.selectors.iter();
        let selected =
            selected.map(|pair| picks(&pair.pod_selector, labels) && picks(&pair.namespace_selector, around));
        if ended(pod) || !selected.into_iter().any(|picked| picked) {
            return Standing::NotSelected;
        }
        let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
        if on_host {
            Standing::Never(Reason::HostNetwork)
        } else if has_sidecar(pod) {
            Standing::Never(Reason::Sidecar)
        } else if self.excluded.contains(namespace) {
            Standing::Never(Reason::Excluded)
        } else {
            Standing::Wanted
        }
    }

    /// The pods that belong into the mesh, as policies tell them apart.
    #[must_use]
    pub(super) fn groups(&self, pods: &[Pod]) -> Vec<Group> {
        let mut groups: BTreeMap<(String, Labels), Group> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| self.standing(pod) == Standing::Wanted) {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            let group = groups.entry((namespace.clone(), labels.clone())).or_insert_with(|| Group {
                namespace,
                labels,
                example: named(pod),
                addresses: Vec::new(),
                probed: probed(pod),
            });
            group.addresses.extend(addresses(pod));
        }
        groups.into_values().collect()
    }
}

fn labelled(namespace: &Namespace) -> (String, Labels) {
    let name = namespace.metadata.name.clone().unwrap_or_default();
    (name, namespace.metadata.labels.clone().unwrap_or_default())
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let listed = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    listed.filter_map(|one| one.ip.parse().ok()).collect()
}

/// The ports on which kubelets probe a pod, those of commands left out.
fn probed(pod: &Pod) -> Vec<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| {
        let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
        probes.into_iter().flatten().filter_map(|probe| port(container, probe)).collect::<Vec<_>>()
    });
    let ports: BTreeSet<u16> = ports.collect();
    ports.into_iter().collect()
}

fn port(container: &Container, probe: &Probe) -> Option<u16> {
    let http = probe.http_get.as_ref().map(|http| &http.port);
    let tcp = || probe.tcp_socket.as_ref().map(|tcp| &tcp.port);
    let number = match http.or_else(tcp) {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let ports = container.ports.iter().flatten();
            ports.into_iter().find(|port| port.name.as_ref() == Some(name))?.container_port
        }
        None => probe.grpc.as_ref()?.port,
    };
    u16::try_from(number).ok()
}

const SETTINGS: &str = "istio-cni-config";

const SELECTORS: &str = "
- podSelector: {matchLabels: {istio.io/dataplane-mode: ambient}}
- podSelector: {matchExpressions: [{key: istio.io/dataplane-mode, operator: NotIn, values: [none]}]}
  namespaceSelector: {matchLabels: {istio.io/dataplane-mode: ambient}}
";
