//! Everything known at one moment: an immutable view for readers, built by applying batches of changes.

mod change;
mod endpoints;
mod map;
mod policies;
mod services;
mod workloads;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::{
    Moment, Str,
    decide::guard::OwnPorts,
    model::{Destination, GatewayAddress, NamespacedHostname, Policy, Service, Workload},
};

pub use change::{Change, Effects, UnreadablePolicy};
pub use endpoints::Endpoint;
pub(crate) use endpoints::Endpoints;

use map::Map;
use policies::Policies;
use services::Services;
use workloads::Workloads;

/// Everything known at one moment. A clone is cheap and shares what has not changed.
#[derive(Clone, Debug)]
pub struct World {
    node: Arc<NodeContext>,
    workloads: Workloads,
    services: Services,
    policies: Policies,
    answers: Map<Str, Arc<[IpAddr]>>,
    /// Keys that were asked for on behalf of one decision; a handful.
    asked: Vec<Str>,
}

/// Where this proxy runs, and how strict it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeContext {
    /// The Kubernetes node; every workload is local when empty.
    pub node_name: Str,
    /// The network of this node; empty for the default network.
    pub network: Str,
    /// The DNS suffix of the cluster, such as `cluster.local`.
    pub cluster_domain: Str,
    /// The proxy's own ports.
    pub own_ports: OwnPorts,
    /// Applications that take PROXY protocol are reached over loopback, where nobody else gets to them.
    pub loopback_tunnels: bool,
    /// Addresses are known only once they were asked for, so that what is unknown may yet be there.
    pub on_demand: bool,
    /// What a policy means that a workload names and the control plane has not sent.
    pub unknown_policy: Strictness,
    /// Which addresses are the mesh's, whether it knows them or not.
    pub mesh_addresses: MeshAddresses,
}

/// Addresses of pods and services. One of them that is not known is known elsewhere already, or soon here: what goes there
/// in plain text may have been meant for a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshAddresses {
    /// The prefixes; none when nobody told.
    pub prefixes: Vec<IpNet>,
    /// What becomes of a connection to one of them that is not known.
    pub unknown: Strictness,
}

impl MeshAddresses {
    /// Whether an address is the mesh's.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// How far a difference from ztunnel that could refuse traffic goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strictness {
    /// As ztunnel does.
    Compat,
    /// Refuse where that is harmless, and tell.
    #[default]
    Report,
    /// Refuse.
    Enforce,
}

/// What an address or hostname stands for.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// One workload.
    Workload(&'a Arc<Workload>),
    /// A service.
    Service(&'a Arc<Service>),
}

/// What the shell found out for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses of a DNS name; none when it has none or nobody answered.
    Hostname(Str, Vec<IpAddr>),
    /// An address was asked for, by this key; what is known of it by now is in the world itself.
    Address(Str),
}

impl World {
    /// A world in which nothing is known.
    #[must_use]
    pub fn new(node: NodeContext) -> Self {
        Self {
            node: Arc::new(node),
            workloads: Workloads::default(),
            services: Services::default(),
            policies: Policies::default(),
            answers: Map::default(),
            asked: Vec::new(),
        }
    }

    /// The same world with one answer more, to ask a decision again.
    #[must_use]
    pub fn with_answer(&self, answer: Answer) -> Self {
        let mut world = self.clone();
        match answer {
            Answer::Hostname(name, addresses) => world.answers.insert_mut(name, addresses.into()),
            Answer::Address(key) => world.asked.push(key),
        }
        world
    }

    /// Where this proxy runs.
    #[must_use]
    pub fn node(&self) -> &NodeContext {
        &self.node
    }

    /// The workload with this uid.
    #[must_use]
    pub fn workload(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.workloads.by_uid(uid)
    }

    /// The workload that an address belongs to.
    #[must_use]
    pub fn workload_at(&self, network: &str, address: IpAddr) -> Option<&Arc<Workload>> {
        self.workloads.at(network, address)
    }

    /// The workload of a pod on this node.
    #[must_use]
    pub fn local_workload(
        &self,
        name: &str,
        namespace: &str,
        service_account: &str,
    ) -> Option<Arc<Workload>> {
        self.workloads.local(name, namespace, service_account).cloned()
    }

    /// The service with exactly this name.
    #[must_use]
    pub fn service(&self, key: &NamespacedHostname) -> Option<&Arc<Service>> {
        self.services.by_key(key)
    }

    /// The service that a client means by a hostname: of its own namespace, else the canonical one, else any.
    #[must_use]
    pub fn service_named(&self, hostname: &str, client_namespace: Option<&str>) -> Option<&Arc<Service>> {
        self.services.named(hostname, client_namespace)
    }

    /// Every service of this hostname, sorted by namespace.
    pub(crate) fn services_named(&self, hostname: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.services.group(hostname).iter()
    }

    /// The service that a client means by a virtual address.
    #[must_use]
    pub fn service_at(
        &self,
        network: &str,
        address: IpAddr,
        client_namespace: Option<&str>,
    ) -> Option<&Arc<Service>> {
        self.services.at(network, address, client_namespace)
    }

    /// What an address stands for: a workload, else a service.
    #[must_use]
    pub fn find_address(
        &self,
        network: &str,
        address: IpAddr,
        client_namespace: Option<&str>,
    ) -> Option<Found<'_>> {
        self.workload_at(network, address)
            .map(Found::Workload)
            .or_else(|| self.service_at(network, address, client_namespace).map(Found::Service))
    }

    /// Who answers at an address: a service, else a workload.
    #[must_use]
    pub fn find_upstream(
        &self,
        network: &str,
        address: IpAddr,
        client_namespace: Option<&str>,
    ) -> Option<Found<'_>> {
        self.service_at(network, address, client_namespace)
            .map(Found::Service)
            .or_else(|| self.workload_at(network, address).map(Found::Workload))
    }

    /// What a full name stands for: a service, else a workload that DNS knows under it.
    #[must_use]
    pub fn find_hostname(&self, key: &NamespacedHostname) -> Option<Found<'_>> {
        self.service(key).map(Found::Service).or_else(|| self.workloads.by_hostname(key).map(Found::Workload))
    }

    /// What a workload or service refers to as its gateway: a workload, else a service.
    pub(crate) fn find_gateway(&self, gateway: &GatewayAddress) -> Option<Found<'_>> {
        match &gateway.destination {
            Destination::Address(at) => self.find_address(&at.network, at.address, None),
            Destination::Hostname(key) => self.find_hostname(key),
        }
    }

    /// The endpoints of a service, known or still awaited, whatever their health.
    pub fn endpoints(&self, key: &NamespacedHostname) -> impl Iterator<Item = &Endpoint> {
        self.services.endpoints(key).into_iter().flat_map(Endpoints::iter)
    }

    /// A workload as an endpoint of a service.
    #[must_use]
    pub fn endpoint(&self, key: &NamespacedHostname, uid: &str) -> Option<&Endpoint> {
        self.services.endpoints(key)?.by_uid(uid)
    }

    /// The endpoints of a service to draw from.
    pub(crate) fn endpoints_of(&self, key: &NamespacedHostname) -> Option<&Endpoints> {
        self.services.endpoints(key)
    }

    /// Every workload, in no order.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = &Arc<Workload>> {
        self.workloads.iter()
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.iter()
    }

    /// Names of services that workloads are endpoints of and that have not been announced, in no order.
    pub fn staged_services(&self) -> impl Iterator<Item = &NamespacedHostname> {
        self.services.staged()
    }

    /// Every policy, in no order.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }

    /// The policy with this `<namespace>/<name>`.
    #[must_use]
    pub fn policy(&self, key: &str) -> Option<&Arc<Policy>> {
        self.policies.by_key(key)
    }

    /// The policies that cover a namespace because they are of that namespace, and those that cover everything.
    pub(crate) fn policies_covering(&self, namespace: &str) -> impl Iterator<Item = &Arc<Policy>> + Clone {
        self.policies.covering(namespace)
    }

    /// Since when local workloads name a policy.
    pub(crate) fn referenced_since(&self, key: &str) -> Option<Moment> {
        self.policies.referenced_since(key)
    }

    /// Whether the shell has asked the control plane for this key, and got its answer.
    pub(crate) fn was_asked_for(&self, key: &str) -> bool {
        self.asked.iter().any(|asked| **asked == *key)
    }

    /// The addresses of a DNS name, once the shell has told them.
    pub(crate) fn resolved(&self, hostname: &str) -> Option<&[IpAddr]> {
        self.answers.get(hostname).map(|addresses| &**addresses)
    }
}

#[cfg(test)]
mod tests;
