//! Pods, and endpoints that are not pods, to workloads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use xds_proto::istio::workload::{
    Locality, NetworkMode, Port, PortList, TunnelProtocol, Workload, WorkloadStatus, WorkloadType,
};

use super::authorization::Policy;
use super::service::{Known, One, target_number};
use super::{MeshConfig, octets, owner, peer, subset};
use crate::objects::kube::{
    Container, EndpointSlice, Labels, Node, Phase, Pod, Protocol, REDIRECTION, SliceEndpoint, TargetPort,
};
use crate::objects::{Key, Objects};

/// The workloads of all pods that have an address and are not over.
pub(super) fn pods(
    objects: &Objects,
    mesh: &MeshConfig,
    services: &Known<'_>,
    policies: &[Policy<'_>],
) -> Vec<Workload> {
    let listed = listed_pods(objects);
    let facts = Facts { objects, mesh, services, policies, listed };
    objects.pods.values().filter_map(|pod| facts.workload(pod)).collect()
}

struct Facts<'a> {
    objects: &'a Objects,
    mesh: &'a MeshConfig,
    services: &'a Known<'a>,
    policies: &'a [Policy<'a>],
    /// Which slices name a pod.
    listed: BTreeMap<Key, Vec<(&'a EndpointSlice, &'a str)>>,
}

impl Facts<'_> {
    fn workload(&self, pod: &Pod) -> Option<Workload> {
        let (metadata, spec) = (&pod.metadata, &pod.spec);
        let addresses = addresses(pod);
        if addresses.is_empty() || matches!(pod.status.phase, Some(Phase::Succeeded | Phase::Failed)) {
            return None;
        }
        let workload_name = owner::workload_name(pod);
        let native_tunnel =
            metadata.labels.get(TUNNEL_LABEL).is_some_and(|list| list.split(',').any(|t| t == "http"));
        let redirected = metadata.annotations.get(REDIRECTION).is_some_and(|value| value == "enabled");
        let hbone = native_tunnel || redirected;
        Some(Workload {
            uid: format!("{}//Pod/{}/{}", self.mesh.cluster_id, metadata.namespace, metadata.name),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            addresses: addresses.into_iter().map(octets).collect(),
            network: self.mesh.network.clone(),
            tunnel_protocol: if hbone { TunnelProtocol::Hbone } else { TunnelProtocol::None }.into(),
            trust_domain: elided_trust_domain(self.mesh),
            service_account: pod.service_account().to_owned(),
            node: spec.node_name.clone(),
            canonical_name: first_label(&metadata.labels, &NAME_LABELS, workload_name),
            canonical_revision: first_label(&metadata.labels, &REVISION_LABELS, "latest"),
            // istiod says POD whatever the owner is, and tells apart only by name.
            workload_type: WorkloadType::Pod.into(),
            workload_name: workload_name.to_owned(),
            native_tunnel,
            authorization_policies: self.policies_of(pod),
            status: status(pod).into(),
            cluster_id: self.mesh.cluster_id.clone(),
            services: self.services_of(pod),
            locality: self.locality(&spec.node_name),
            network_mode: if spec.host_network { NetworkMode::HostNetwork } else { NetworkMode::Standard }
                .into(),
            ..Workload::default()
        })
    }

    /// Keys of the selector policies for this pod, those made from PeerAuthentication last.
    fn policies_of(&self, pod: &Pod) -> Vec<String> {
        let metadata = &pod.metadata;
        let here = |of: &str| of == metadata.namespace || of == self.mesh.root_namespace;
        let selects = |policy: &&Policy<'_>| {
            here(&policy.wire.namespace)
                && policy.selector.is_some_and(|labels| subset(labels, &metadata.labels))
        };
        let mut keys: Vec<_> = self.policies.iter().filter(selects).map(Policy::key).collect();
        keys.sort();
        for key in peer::attached(self.objects, self.mesh, &metadata.namespace, &metadata.labels) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn services_of(&self, pod: &Pod) -> HashMap<String, PortList> {
        let metadata = &pod.metadata;
        let selecting = self.services.selecting(&metadata.namespace, &metadata.labels);
        let key = (metadata.namespace.clone(), metadata.name.clone());
        let listing = self.listed.get(&key).into_iter().flatten().filter_map(|(slice, uid)| {
            let same = uid.is_empty() || metadata.uid.is_empty() || *uid == metadata.uid;
            service_of(slice, self.services).filter(|_| same)
        });
        selecting.chain(listing).map(|service| (service.key.clone(), ports(pod, service))).collect()
    }

    fn locality(&self, node: &str) -> Option<Locality> {
        let node: &Node = self.objects.nodes.get(&(String::new(), node.to_owned()))?;
        let label = |key: &str| node.metadata.labels.get(key).cloned().unwrap_or_default();
        let locality = Locality {
            region: label("topology.kubernetes.io/region"),
            zone: label("topology.kubernetes.io/zone"),
            subzone: label("topology.istio.io/subzone"),
        };
        (locality != Locality::default()).then_some(locality)
    }
}

/// Workloads for endpoints that are addresses and nothing more: no pod, no identity, possibly shared.
pub(super) fn opaque_endpoints(objects: &Objects, mesh: &MeshConfig, services: &Known<'_>) -> Vec<Workload> {
    let mut workloads = Vec::new();
    for slice in objects.slices.values() {
        let Some(service) = service_of(slice, services) else {
            continue;
        };
        let ports = slice_ports(slice, service);
        let mut seen = BTreeSet::new();
        for endpoint in slice.endpoints.iter().filter(|endpoint| !is_pod(endpoint)) {
            let Some(first) = endpoint.addresses.first() else {
                continue;
            };
            let Ok(addresses) =
                endpoint.addresses.iter().map(|text| text.parse::<IpAddr>()).collect::<Result<Vec<_>, _>>()
            else {
                continue;
            };
            if !seen.insert(first) {
                continue;
            }
            let (namespace, name) = (&slice.metadata.namespace, &slice.metadata.name);
            let ready = endpoint.conditions.ready.unwrap_or(true);
            workloads.push(Workload {
                uid: format!("{}/discovery.k8s.io/EndpointSlice/{namespace}/{name}/{first}", mesh.cluster_id),
                name: name.clone(),
                namespace: namespace.clone(),
                addresses: addresses.into_iter().map(octets).collect(),
                network: mesh.network.clone(),
                trust_domain: elided_trust_domain(mesh),
                status: if ready { WorkloadStatus::Healthy } else { WorkloadStatus::Unhealthy }.into(),
                cluster_id: mesh.cluster_id.clone(),
                services: HashMap::from([(service.key.clone(), ports.clone())]),
                network_mode: NetworkMode::HostNetwork.into(),
                ..Workload::default()
            });
        }
    }
    workloads
}

/// The ports of a service as this pod serves them; a port whose name the pod does not have is left out.
fn ports(pod: &Pod, service: &One<'_>) -> PortList {
    let resolved = service.object.spec.ports.iter().filter_map(|port| {
        let target = match &port.target_port {
            Some(TargetPort::Name(name)) => named_port(pod, name)?,
            Some(TargetPort::Number(_)) | None => target_number(port),
        };
        Some(Port { service_port: port.port.into(), target_port: target.into(), app_protocol: 0 })
    });
    PortList { ports: resolved.collect() }
}

fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(sidecar));
    let mut ports = containers.flat_map(|container| &container.ports);
    ports.find(|port| port.name == name && port.protocol == Protocol::Tcp).map(|port| port.container_port)
}

/// A slice's ports are target ports under the names of the service's ports.
fn slice_ports(slice: &EndpointSlice, service: &One<'_>) -> PortList {
    let resolved = slice.ports.iter().filter_map(|port| {
        let name = port.name.as_deref()?;
        let target = port.port?;
        let tcp = port.protocol.unwrap_or_default() == Protocol::Tcp;
        let of = service.object.spec.ports.iter().find(|of| tcp && of.name == name)?;
        Some(Port { service_port: of.port.into(), target_port: target.into(), app_protocol: 0 })
    });
    PortList { ports: resolved.collect() }
}

fn listed_pods(objects: &Objects) -> BTreeMap<Key, Vec<(&EndpointSlice, &str)>> {
    let mut listed: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for slice in objects.slices.values() {
        for target in slice.endpoints.iter().filter(|e| is_pod(e)).filter_map(|e| e.target_ref.as_ref()) {
            let namespace =
                if target.namespace.is_empty() { &slice.metadata.namespace } else { &target.namespace };
            let key = (namespace.clone(), target.name.clone());
            listed.entry(key).or_default().push((slice, target.uid.as_str()));
        }
    }
    listed
}

fn service_of<'a, 'b>(slice: &EndpointSlice, services: &'b Known<'a>) -> Option<&'b One<'a>> {
    if slice.address_type == "FQDN" {
        return None;
    }
    services.get(&slice.metadata.namespace, slice.metadata.labels.get("kubernetes.io/service-name")?)
}

fn is_pod(endpoint: &SliceEndpoint) -> bool {
    endpoint.target_ref.as_ref().is_some_and(|target| target.kind == "Pod")
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    if pod.status.pod_ips.is_empty() {
        return pod.status.pod_ip.into_iter().collect();
    }
    pod.status.pod_ips.iter().map(|address| address.ip).collect()
}

fn status(pod: &Pod) -> WorkloadStatus {
    let ready = pod.status.conditions.iter().find(|condition| condition.kind == "Ready");
    if ready.is_some_and(|ready| ready.status == "True") && pod.metadata.deletion_timestamp.is_none() {
        WorkloadStatus::Healthy
    } else {
        WorkloadStatus::Unhealthy
    }
}

/// The usual trust domain goes without saying.
fn elided_trust_domain(mesh: &MeshConfig) -> String {
    if mesh.trust_domain == "cluster.local" { String::new() } else { mesh.trust_domain.clone() }
}

fn first_label(labels: &Labels, keys: &[&str], otherwise: &str) -> String {
    keys.iter().find_map(|key| labels.get(*key)).map_or_else(|| otherwise.to_owned(), Clone::clone)
}

const TUNNEL_LABEL: &str = "networking.istio.io/tunnel";
const NAME_LABELS: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];
const REVISION_LABELS: [&str; 3] =
    ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
