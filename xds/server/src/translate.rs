//! Kubernetes objects to the resources that istiod would send for them. Pure: same objects, same bytes.
//!
//! Not made here, because their objects are not read: waypoints, ServiceEntry, WorkloadEntry, other networks. A
//! `MeshResources` document gives them as they are.

mod authorization;
mod encode;
mod owner;
mod peer;
mod service;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use xds_proto::local::{Fault, Resources};
use xds_proto::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

use crate::objects::{Kind, Objects};

/// What istiod takes from its own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    pub trust_domain: String,
    /// The suffix of service host names.
    pub cluster_domain: String,
    /// The network that every workload is on; empty when there is only one.
    pub network: String,
    pub cluster_id: String,
    /// Policies in this namespace are for all namespaces.
    pub root_namespace: String,
    /// Send policies annotated `istio.io/dry-run: "true"`; istiod leaves them out unless told otherwise.
    pub dry_run_policies: bool,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            network: String::new(),
            cluster_id: "Kubernetes".to_owned(),
            root_namespace: "istio-system".to_owned(),
            dry_run_policies: false,
        }
    }
}

/// The resource types of a node proxy, in the order in which they are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Address,
    Authorization,
}

impl ResourceType {
    pub const ALL: [Self; 2] = [Self::Address, Self::Authorization];

    pub const fn url(self) -> &'static str {
        match self {
            Self::Address => ADDRESS_TYPE,
            Self::Authorization => AUTHORIZATION_TYPE,
        }
    }

    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }
}

/// One resource, as it goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub kind: ResourceType,
    /// Workload uid, `namespace/hostname`, or `namespace/name` of a policy.
    pub name: String,
    /// Content hash of an Address; empty for an Authorization, as istiod does.
    pub version: String,
    /// The encoded `Address` or `Authorization`.
    pub bytes: Vec<u8>,
    /// `network/ip` under which it can also be asked for.
    pub aliases: Vec<String>,
    /// The Kubernetes node of a workload.
    pub node: String,
    /// Names of the services that this workload is an endpoint of.
    pub serves: Vec<String>,
    /// Content hash, also where the version is empty.
    pub digest: u64,
}

/// Something in an object that does not count as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    pub kind: Kind,
    /// Empty for what is cluster-wide.
    pub namespace: String,
    pub name: String,
    pub why: Why,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}: {}", self.kind, self.namespace, self.name, self.why)
    }
}

/// Why an object does not count as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Why {
    #[error("action {0} needs a waypoint; the policy is left out")]
    Action(&'static str),
    #[error("dry-run policies are not enabled; the policy is left out")]
    DryRun,
    #[error("a rule with an HTTP attribute ({0}) needs a waypoint; the rule is left out and allows nothing")]
    HttpInAllow(String),
    #[error("an HTTP attribute ({0}) needs a waypoint; the rule is enforced without it")]
    HttpInDeny(String),
    #[error("an empty selector selects no workload; leave it out to select the whole namespace")]
    EmptySelector,
    #[error("{0}; the entry is left out")]
    Entry(Fault),
}

/// Everything that follows from the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// Sorted by type and name; names are unique within a type.
    pub resources: BTreeMap<(ResourceType, String), Resource>,
    pub remarks: Vec<Remark>,
}

/// Translates every object.
pub fn translate(objects: &Objects, mesh: &MeshConfig) -> Translation {
    let mut remarks = Vec::new();
    let mut resources = of_kubernetes(objects, mesh, &mut remarks);
    for given in objects.mesh.values() {
        let remark = |fault| Remark {
            kind: Kind::MeshResources,
            namespace: String::new(),
            name: given.metadata.name.clone(),
            why: Why::Entry(fault),
        };
        remarks.extend(resources.overlay(&given.resources).into_iter().map(remark));
    }
    let mut done = Translation { resources: BTreeMap::new(), remarks };
    resources.services.iter().for_each(|(name, service)| done.add(encode::service(name, service)));
    resources.workloads.into_values().for_each(|workload| done.add(encode::workload(workload)));
    resources.policies.values().for_each(|policy| done.add(encode::authorization(policy)));
    done
}

fn of_kubernetes(objects: &Objects, mesh: &MeshConfig, remarks: &mut Vec<Remark>) -> Resources {
    let services = service::Known::new(objects, mesh);
    let policies = authorization::convert(objects, mesh, remarks);
    let pods = workload::pods(objects, mesh, &services, &policies);
    let others = workload::opaque_endpoints(objects, mesh, &services);
    let workloads = pods.into_iter().chain(others);
    Resources {
        workloads: workloads.map(|workload| (workload.uid.clone(), workload)).collect(),
        services: services.resources().map(|(name, service)| (name.to_owned(), service)).collect(),
        policies: policies.into_iter().map(|policy| (policy.key(), policy.wire)).collect(),
    }
}

impl Translation {
    fn add(&mut self, resource: Resource) {
        self.resources.insert((resource.kind, resource.name.clone()), resource);
    }
}

/// Whether every label of `selector` is among `labels`; an empty selector is.
fn subset(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
