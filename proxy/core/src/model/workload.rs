//! A workload: one thing with an identity and addresses.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use super::{GatewayAddress, Identity, NamespacedHostname, PortMap};
use crate::Str;

/// One thing with an identity and addresses, usually a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The control plane's primary key; opaque but for a `//Pod/` in it.
    pub uid: Str,
    /// The pod's name, or what stands for it.
    pub name: Str,
    /// The Kubernetes namespace.
    pub namespace: Str,
    /// Never empty.
    pub trust_domain: Str,
    /// Never empty.
    pub service_account: Str,
    /// Where it can be reached; empty for a workload behind a gateway or known by hostname only.
    pub addresses: Vec<IpAddr>,
    /// The network of the addresses.
    pub network: Str,
    /// Whether the addresses are its own or its node's.
    pub network_mode: NetworkMode,
    /// What it takes on its addresses.
    pub protocol: Protocol,
    /// Whether it ends tunnels itself; no effect on routing.
    pub native_tunnel: bool,
    /// The hop that connections addressed to this workload take.
    pub waypoint: Option<GatewayAddress>,
    /// The way into its network from another one.
    pub network_gateway: Option<GatewayAddress>,
    /// What its own proxy does with a stream once it is out of the tunnel.
    pub application_tunnel: Option<ApplicationTunnel>,
    /// The DNS name to resolve when a connection needs an address; empty when there is none.
    pub hostname: Str,
    /// The Kubernetes node.
    pub node: Str,
    /// The cluster that announced it; never empty.
    pub cluster_id: Str,
    /// Where it runs.
    pub locality: Locality,
    /// Whether service traffic may be sent to it.
    pub health: Health,
    /// Its share of a service's connections; 0 takes none.
    pub capacity: u32,
    /// The name of what owns it, such as a Deployment.
    pub workload_name: Str,
    /// The kind of what owns it.
    pub workload_type: WorkloadType,
    /// The application's name in telemetry.
    pub canonical_name: Str,
    /// The application's version in telemetry.
    pub canonical_revision: Str,
    /// Policies that select it, as `<namespace>/<name>`.
    pub authorization_policies: Vec<Str>,
    /// The services it is an endpoint of, with its own port for each service port.
    pub services: BTreeMap<NamespacedHostname, Arc<PortMap>>,
}

impl Workload {
    /// Its SPIFFE identity.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            trust_domain: self.trust_domain.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
        }
    }

    /// Whether the identity is this workload's, without building one.
    #[must_use]
    pub fn has_identity(&self, identity: &Identity) -> bool {
        self.trust_domain == identity.trust_domain
            && self.namespace == identity.namespace
            && self.service_account == identity.service_account
    }

    /// Whether nothing is known to connect to: neither an address nor a name.
    #[must_use]
    pub fn is_addressless(&self) -> bool {
        self.addresses.is_empty() && self.hostname.is_empty()
    }
}

/// What a workload takes on its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain TCP.
    #[default]
    Tcp,
    /// HTTP/2 CONNECT in mutual TLS, on port 15008.
    Hbone,
}

/// Whose addresses a workload has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// Its own.
    #[default]
    Standard,
    /// Its node's: traffic to such an address is not traffic to the workload.
    HostNetwork,
}

/// Whether service traffic may be sent to a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Ready.
    #[default]
    Healthy,
    /// Not ready; only a service that takes all endpoints uses it.
    Unhealthy,
}

/// What owns a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WorkloadType {
    /// Deployment, and anything unknown.
    #[default]
    Deployment,
    /// CronJob.
    CronJob,
    /// Nothing: a bare pod.
    Pod,
    /// Job.
    Job,
}

impl WorkloadType {
    /// The word that telemetry and baggage use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::CronJob => "cronjob",
            Self::Pod => "pod",
            Self::Job => "job",
        }
    }
}

/// Where a workload runs; empty where unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Region.
    pub region: Str,
    /// Zone.
    pub zone: Str,
    /// Subzone.
    pub subzone: Str,
}

impl Default for Locality {
    fn default() -> Self {
        let empty: Str = "".into();
        Self { region: empty.clone(), zone: empty.clone(), subzone: empty }
    }
}

/// What the destination's own proxy does with a stream once it is out of the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApplicationTunnel {
    /// What precedes the bytes.
    pub protocol: TunnelProtocol,
    /// The port that the application listens on, in place of the one asked for.
    pub port: Option<u16>,
}

/// What precedes the bytes that an application gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    /// Nothing.
    None,
    /// A PROXY protocol version 2 header.
    Proxy,
}

/// The three names that tie a pod of this node to the workload which the control plane announces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodInfo {
    /// The pod's name.
    pub name: Str,
    /// Its namespace.
    pub namespace: Str,
    /// Its service account.
    pub service_account: Str,
}

impl fmt::Display for PodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.namespace, self.name, self.service_account)
    }
}
