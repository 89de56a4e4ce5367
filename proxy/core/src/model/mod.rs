//! What the mesh is made of, as values: workloads, services, policies, identities and the addresses that name them.

mod address;
mod identity;
mod policy;
mod service;
mod workload;

pub use address::{Destination, GatewayAddress, NamespacedHostname, NetworkAddress, ParseHostnameError};
pub use identity::{Identity, ParseIdentityError};
pub use policy::{
    Action, Attribute, Clause, Match, Policy, Rule, Rules, Scope, ServiceAccountMatch, StringMatch,
};
pub use service::PortMap;
pub use service::{
    CidrVip, HealthPolicy, IpFamilies, LoadBalancer, LoadBalancerMode, Locale, Service, Visibility,
    WeightedWaypoint,
};
pub use workload::{
    ApplicationTunnel, Health, Locality, NetworkMode, PodInfo, Protocol, TunnelProtocol, Workload,
    WorkloadType,
};

#[cfg(test)]
mod tests;
