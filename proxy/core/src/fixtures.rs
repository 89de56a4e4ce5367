//! Short ways for tests to say what a world holds.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    Moment, Str,
    decide::{Connection, guard::OwnPorts},
    model::{
        Action, ApplicationTunnel, Attribute, CidrVip, Clause, Destination, GatewayAddress, Health,
        HealthPolicy, Identity, IpFamilies, LoadBalancer, LoadBalancerMode, Locale, Locality, Match,
        NamespacedHostname, NetworkAddress, NetworkMode, Policy, Protocol, Rule, Rules, Scope, Service,
        TunnelProtocol, Visibility, WeightedWaypoint, Workload, WorkloadType,
    },
    world::{Change, MeshAddresses, NodeContext, Strictness, World},
};

pub(crate) fn node() -> NodeContext {
    NodeContext {
        node_name: "node-a".into(),
        network: "".into(),
        cluster_domain: "cluster.local".into(),
        own_ports: OwnPorts::default(),
        loopback_tunnels: true,
        on_demand: false,
        unknown_policy: Strictness::Report,
        mesh_addresses: MeshAddresses::default(),
    }
}

pub(crate) fn world(changes: impl IntoIterator<Item = Change>) -> World {
    let mut world = World::new(node());
    world.apply(changes.into_iter().collect(), Moment::default());
    world
}

/// A pod `ns/<name>` on this node, with plain TCP and no address.
pub(crate) fn workload(name: &str) -> Workload {
    let empty: Str = "".into();
    Workload {
        uid: format!("Kubernetes//Pod/ns/{name}").into(),
        name: name.into(),
        namespace: "ns".into(),
        trust_domain: "cluster.local".into(),
        service_account: name.into(),
        addresses: Vec::new(),
        network: empty.clone(),
        network_mode: NetworkMode::Standard,
        protocol: Protocol::Tcp,
        native_tunnel: false,
        waypoint: None,
        network_gateway: None,
        application_tunnel: None,
        hostname: empty.clone(),
        node: "node-a".into(),
        cluster_id: "Kubernetes".into(),
        locality: Locality::default(),
        health: Health::Healthy,
        capacity: 1,
        workload_name: name.into(),
        workload_type: WorkloadType::Deployment,
        canonical_name: empty.clone(),
        canonical_revision: empty,
        authorization_policies: Vec::new(),
        services: [].into(),
    }
}

/// A service `ns/<host>` without address, with port 80 going to port 8080.
pub(crate) fn service(hostname: &str) -> Service {
    Service {
        name: hostname.into(),
        key: NamespacedHostname { namespace: "ns".into(), hostname: hostname.into() },
        vips: Vec::new(),
        cidr_vips: Vec::new(),
        ports: [(80, 8080)].into(),
        subject_alt_names: Vec::new(),
        waypoint: None,
        weighted_waypoints: Vec::new(),
        load_balancer: None,
        ip_families: IpFamilies::Automatic,
        canonical: false,
        visibility: Visibility::Public,
    }
}

/// A policy `<namespace>/<name>` that covers its namespace.
pub(crate) fn policy(key: &str, action: Action, rules: Vec<Rule>) -> Policy {
    let (namespace, name) = key.split_once('/').unwrap();
    Policy {
        key: key.into(),
        name: name.into(),
        namespace: namespace.into(),
        scope: Scope::Namespace,
        action,
        dry_run: false,
        rules: Rules::Any(rules),
    }
}

/// A rule of one clause of one match.
pub(crate) fn rule(wanted: Match) -> Rule {
    Rule { clauses: vec![Clause { matches: vec![wanted] }] }
}

pub(crate) fn is<T>(one: T) -> Attribute<T> {
    Attribute { is: vec![one], is_not: Vec::new() }
}

pub(crate) fn is_not<T>(one: T) -> Attribute<T> {
    Attribute { is: Vec::new(), is_not: vec![one] }
}

pub(crate) fn by_address(address: &str) -> GatewayAddress {
    GatewayAddress {
        destination: Destination::Address(NetworkAddress {
            network: "".into(),
            address: address.parse().unwrap(),
        }),
        hbone_mtls_port: 15008,
    }
}

/// By `<namespace>/<hostname>`.
pub(crate) fn by_hostname(name: &str) -> GatewayAddress {
    GatewayAddress { destination: Destination::Hostname(name.parse().unwrap()), hbone_mtls_port: 15008 }
}

/// A connection from an address, by an identity in namespace `ns` or by nobody, to an application.
pub(crate) fn connection(source: &str, account: Option<&str>, target: &str) -> Connection {
    Connection {
        source: SocketAddr::new(source.parse().unwrap(), 40000),
        identity: account.map(|account| Identity::new("cluster.local", "ns", account)),
        target: target.parse().unwrap(),
    }
}

impl From<Workload> for Change {
    fn from(workload: Workload) -> Self {
        Self::Workload(Box::new(workload))
    }
}

impl From<Service> for Change {
    fn from(service: Service) -> Self {
        Self::Service(Box::new(service))
    }
}

impl From<Policy> for Change {
    fn from(policy: Policy) -> Self {
        Self::Policy(Box::new(policy))
    }
}

impl Workload {
    pub(crate) fn at(mut self, address: &str) -> Self {
        self.addresses.push(address.parse().unwrap());
        self
    }

    pub(crate) fn hbone(mut self) -> Self {
        self.protocol = Protocol::Hbone;
        self
    }

    pub(crate) fn on_node(mut self, node: &str) -> Self {
        self.node = node.into();
        self
    }

    pub(crate) fn in_namespace(mut self, namespace: &str) -> Self {
        self.uid = format!("Kubernetes//Pod/{namespace}/{}", self.name).into();
        self.namespace = namespace.into();
        self
    }

    /// An endpoint of `<namespace>/<hostname>` with ports of its own.
    pub(crate) fn serving<const N: usize>(mut self, service: &str, ports: [(u16, u16); N]) -> Self {
        self.services.insert(service.parse().unwrap(), Arc::new(ports.into()));
        self
    }

    pub(crate) fn behind(mut self, waypoint: GatewayAddress) -> Self {
        self.waypoint = Some(waypoint);
        self
    }

    pub(crate) fn on_network(mut self, network: &str, gateway: Option<GatewayAddress>) -> Self {
        self.network = network.into();
        self.network_gateway = gateway;
        self
    }

    pub(crate) fn named_in_dns(mut self, hostname: &str) -> Self {
        self.hostname = hostname.into();
        self
    }

    pub(crate) fn weighing(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    pub(crate) fn unhealthy(mut self) -> Self {
        self.health = Health::Unhealthy;
        self
    }

    pub(crate) fn in_region(mut self, region: &str, zone: &str) -> Self {
        self.locality.region = region.into();
        self.locality.zone = zone.into();
        self
    }

    pub(crate) fn naming(mut self, policy: &str) -> Self {
        self.authorization_policies.push(policy.into());
        self
    }

    pub(crate) fn tunneled(mut self, protocol: TunnelProtocol, port: Option<u16>) -> Self {
        self.application_tunnel = Some(ApplicationTunnel { protocol, port });
        self
    }
}

impl Service {
    pub(crate) fn at(mut self, vip: &str) -> Self {
        self.vips.push(NetworkAddress { network: "".into(), address: vip.parse().unwrap() });
        self
    }

    pub(crate) fn over(mut self, cidr: &str) -> Self {
        self.cidr_vips.push(CidrVip { network: "".into(), cidr: cidr.parse().unwrap() });
        self
    }

    pub(crate) fn in_namespace(mut self, namespace: &str) -> Self {
        self.key.namespace = namespace.into();
        self
    }

    pub(crate) fn mapping(mut self, port: u16, target: u16) -> Self {
        self.ports.insert(port, target);
        self
    }

    pub(crate) fn behind(mut self, waypoint: GatewayAddress) -> Self {
        self.waypoint = Some(waypoint);
        self
    }

    pub(crate) fn sharing(mut self, destination: GatewayAddress, weight: u32) -> Self {
        self.weighted_waypoints.push(WeightedWaypoint { destination, weight });
        self
    }

    pub(crate) fn balanced(mut self, mode: LoadBalancerMode, preferences: &[Locale]) -> Self {
        self.load_balancer = Some(LoadBalancer {
            preferences: preferences.into(),
            mode,
            health_policy: HealthPolicy::OnlyHealthy,
        });
        self
    }

    pub(crate) fn taking_unhealthy(mut self) -> Self {
        self.load_balancer = Some(LoadBalancer {
            preferences: Vec::new(),
            mode: LoadBalancerMode::Standard,
            health_policy: HealthPolicy::AllowAll,
        });
        self
    }

    pub(crate) fn families(mut self, families: IpFamilies) -> Self {
        self.ip_families = families;
        self
    }

    pub(crate) fn also_known_as(mut self, identity: &str) -> Self {
        self.subject_alt_names.push(identity.parse().unwrap());
        self
    }

    pub(crate) fn canonical(mut self) -> Self {
        self.canonical = true;
        self
    }

    pub(crate) fn private(mut self) -> Self {
        self.visibility = Visibility::Namespace;
        self
    }
}

impl Policy {
    pub(crate) fn scoped(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(crate) fn dry(mut self) -> Self {
        self.dry_run = true;
        self
    }
}
