//! Kubernetes Services to the mesh's services, and which pods stand behind them.

use std::collections::BTreeMap;

use xds_proto::istio::workload::load_balancing::{HealthPolicy, Mode, Scope};
use xds_proto::istio::workload::{AppProtocol, IpFamilies, LoadBalancing, NetworkAddress, Port, Service};

use super::{MeshConfig, octets, subset};
use crate::objects::Objects;
use crate::objects::kube::{self, IpFamily, Labels, ServicePort, TargetPort};

/// The services of the mesh by namespace and name.
pub(super) struct Known<'a> {
    mesh: &'a MeshConfig,
    objects: &'a Objects,
    by_namespace: BTreeMap<&'a str, BTreeMap<&'a str, One<'a>>>,
}

/// One service.
pub(super) struct One<'a> {
    /// `namespace/hostname`.
    pub(super) key: String,
    hostname: String,
    pub(super) object: &'a kube::Service,
}

impl<'a> Known<'a> {
    pub(super) fn new(objects: &'a Objects, mesh: &'a MeshConfig) -> Self {
        let mut by_namespace: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        // Names that are only an alias in DNS have no address and no endpoints.
        let meshed = |service: &&kube::Service| service.spec.kind.as_deref() != Some("ExternalName");
        for object in objects.services.values().filter(meshed) {
            let (namespace, name) = (object.metadata.namespace.as_str(), object.metadata.name.as_str());
            let hostname = format!("{name}.{namespace}.svc.{}", mesh.cluster_domain);
            let key = format!("{namespace}/{hostname}");
            by_namespace.entry(namespace).or_default().insert(name, One { key, hostname, object });
        }
        Self { mesh, objects, by_namespace }
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&One<'a>> {
        self.by_namespace.get(namespace)?.get(name)
    }

    /// Services that select pods with these labels. A service without a selector selects none.
    pub(super) fn selecting(&self, namespace: &str, labels: &Labels) -> impl Iterator<Item = &One<'a>> {
        let selects = |service: &&One<'a>| {
            let selector = &service.object.spec.selector;
            !selector.is_empty() && subset(selector, labels)
        };
        self.by_namespace.get(namespace).into_iter().flat_map(BTreeMap::values).filter(selects)
    }

    /// Every service with its name on the wire.
    pub(super) fn resources(&self) -> impl Iterator<Item = (&str, Service)> {
        let all = self.by_namespace.values().flat_map(BTreeMap::values);
        all.map(|service| (service.key.as_str(), self.wire(service)))
    }

    fn wire(&self, service: &One<'a>) -> Service {
        let (metadata, spec) = (&service.object.metadata, &service.object.spec);
        let single = [spec.cluster_ip];
        let vips = if spec.cluster_ips.is_empty() { &single[..] } else { &spec.cluster_ips };
        let address =
            |ip| NetworkAddress { network: self.mesh.network.clone(), address: octets(ip), length: None };
        Service {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            hostname: service.hostname.clone(),
            addresses: vips.iter().filter_map(|vip| vip.0).map(address).collect(),
            ports: spec.ports.iter().map(port).collect(),
            load_balancing: self.load_balancing(service.object),
            ip_families: families(&spec.ip_families).into(),
            canonical: true,
            ..Service::default()
        }
    }

    fn load_balancing(&self, service: &kube::Service) -> Option<LoadBalancing> {
        let balance = |scopes: &[Scope], mode: Mode| LoadBalancing {
            routing_preference: scopes.iter().map(|scope| i32::from(*scope)).collect(),
            mode: mode.into(),
            health_policy: HealthPolicy::OnlyHealthy.into(),
        };
        let preference = if service.spec.internal_traffic_policy.as_deref() == Some("Local") {
            Some(balance(&[Scope::Node], Mode::Strict))
        } else {
            match self.distribution(service) {
                Distribution::Any => None,
                Distribution::SameZone => Some(balance(&SAME_ZONE, Mode::Failover)),
                Distribution::SameNode => Some(balance(&SAME_NODE, Mode::Failover)),
            }
        };
        if !service.spec.publish_not_ready_addresses {
            return preference;
        }
        let mut preference = preference.unwrap_or_default();
        preference.health_policy = HealthPolicy::AllowAll.into();
        Some(preference)
    }

    /// The field, else the service's annotation, else its namespace's.
    fn distribution(&self, service: &kube::Service) -> Distribution {
        let namespace = (String::new(), service.metadata.namespace.clone());
        let namespace = self.objects.namespaces.get(&namespace).map(|namespace| &namespace.metadata);
        let annotation =
            |labels: &Labels| labels.get(DISTRIBUTION).filter(|value| !value.is_empty()).cloned();
        match service.spec.traffic_distribution.as_deref() {
            Some("PreferClose" | "PreferSameZone") => return Distribution::SameZone,
            Some("PreferSameNode") => return Distribution::SameNode,
            Some(_) | None => {}
        }
        let value = annotation(&service.metadata.annotations)
            .or_else(|| namespace.and_then(|namespace| annotation(&namespace.annotations)));
        match value.map(|value| value.to_ascii_lowercase()).as_deref() {
            Some("preferclose" | "prefersamezone") => Distribution::SameZone,
            Some("prefersamenode") => Distribution::SameNode,
            Some(_) | None => Distribution::Any,
        }
    }
}

enum Distribution {
    Any,
    SameZone,
    SameNode,
}

/// The number that a service port leads to in every pod, or 0 when each pod says it by name.
pub(super) fn target_number(port: &ServicePort) -> u16 {
    match &port.target_port {
        None | Some(TargetPort::Number(0)) => port.port,
        Some(TargetPort::Number(number)) => *number,
        Some(TargetPort::Name(_)) => 0,
    }
}

fn port(port: &ServicePort) -> Port {
    Port {
        service_port: port.port.into(),
        target_port: target_number(port).into(),
        app_protocol: app_protocol(port).into(),
    }
}

/// Read from `appProtocol`, else from the port's name up to its first dash.
fn app_protocol(port: &ServicePort) -> AppProtocol {
    if port.protocol == kube::Protocol::Udp {
        return AppProtocol::Unknown;
    }
    let name = match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => return AppProtocol::Http2,
        Some("kubernetes.io/ws") => return AppProtocol::Http11,
        Some("kubernetes.io/wss") => return AppProtocol::Tls,
        Some(name) => name,
        None => port.name.as_str(),
    }
    .to_ascii_lowercase();
    if name.starts_with("grpc-web") {
        return AppProtocol::Unknown;
    }
    match name.split('-').next().unwrap_or_default() {
        "http" => AppProtocol::Http11,
        "http2" => AppProtocol::Http2,
        "grpc" => AppProtocol::Grpc,
        "tls" | "https" => AppProtocol::Tls,
        "tcp" => AppProtocol::Tcp,
        "udp" | "http_proxy" | "mongo" | "redis" | "mysql" => AppProtocol::Unknown,
        // Protocols whose server speaks first are not sniffed, named or not.
        _ if SERVER_FIRST.contains(&port.port) => AppProtocol::Tcp,
        _ => AppProtocol::Unknown,
    }
}

fn families(families: &[IpFamily]) -> IpFamilies {
    match families {
        [IpFamily::V4] => IpFamilies::Ipv4Only,
        [IpFamily::V6] => IpFamilies::Ipv6Only,
        [_, _] => IpFamilies::Dual,
        _ => IpFamilies::Automatic,
    }
}

const DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
const SAME_ZONE: [Scope; 3] = [Scope::Network, Scope::Region, Scope::Zone];
const SAME_NODE: [Scope; 5] = [Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node];
/// SMTP, DNS, MySQL, MongoDB.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];
