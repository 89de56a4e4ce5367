//! Pods, services and slices as they reach the wire.

use std::collections::BTreeMap;

use xds_proto::istio::workload::load_balancing::{HealthPolicy, Mode, Scope};
use xds_proto::istio::workload::{
    AppProtocol, IpFamilies, Locality, NetworkMode, TunnelProtocol, WorkloadStatus, WorkloadType,
};

use super::*;

#[test]
fn a_pod_is_a_workload_with_all_its_facts() {
    let text = "
apiVersion: v1
kind: Pod
metadata:
  name: web-5d8-x
  namespace: shop
  generateName: web-5d8-
  labels: {app: web, version: v2, pod-template-hash: 5d8}
  annotations: {ambient.istio.io/redirection: enabled}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d8, controller: true}]
spec: {nodeName: one, serviceAccountName: web-sa}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]
  conditions: [{type: Ready, status: 'True'}]
---
apiVersion: v1
kind: Node
metadata:
  name: one
  labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z, topology.istio.io/subzone: s}
";
    let got = workload(&world(text), "Kubernetes//Pod/shop/web-5d8-x");
    let mut second = vec![0; 16];
    (second[0], second[1], second[15]) = (0xfd, 0, 1);
    assert_eq!(
        got,
        Workload {
            uid: "Kubernetes//Pod/shop/web-5d8-x".into(),
            name: "web-5d8-x".into(),
            namespace: "shop".into(),
            addresses: vec![vec![10, 0, 0, 1], second],
            tunnel_protocol: TunnelProtocol::Hbone.into(),
            service_account: "web-sa".into(),
            node: "one".into(),
            canonical_name: "web".into(),
            canonical_revision: "v2".into(),
            workload_type: WorkloadType::Pod.into(),
            workload_name: "web".into(),
            status: WorkloadStatus::Healthy.into(),
            cluster_id: "Kubernetes".into(),
            locality: Some(Locality { region: "r".into(), zone: "z".into(), subzone: "s".into() }),
            ..Workload::default()
        }
    );
}

#[test]
fn only_the_word_enabled_means_hbone() {
    for (value, want) in [
        ("enabled", TunnelProtocol::Hbone),
        ("pending", TunnelProtocol::None),
        ("Enabled", TunnelProtocol::None),
        ("true", TunnelProtocol::None),
    ] {
        let metadata = format!("annotations: {{ambient.istio.io/redirection: '{value}'}}");
        assert_eq!(pod(&metadata, "", "").tunnel_protocol, i32::from(want), "{value}");
    }
    assert_eq!(pod("", "", "").tunnel_protocol, i32::from(TunnelProtocol::None));
}

#[test]
fn a_pod_that_speaks_tunnels_itself_says_so_by_label() {
    let native = pod("labels: {networking.istio.io/tunnel: 'other,http'}", "", "");
    assert!(native.native_tunnel);
    assert_eq!(native.tunnel_protocol, i32::from(TunnelProtocol::Hbone));
    assert!(!pod("labels: {networking.istio.io/tunnel: https}", "", "").native_tunnel);
}

#[test]
fn a_pod_is_healthy_when_it_is_ready_and_stays() {
    let ready = "conditions: [{type: Ready, status: 'True'}]";
    for (metadata, status, want) in [
        ("", ready, WorkloadStatus::Healthy),
        ("", "", WorkloadStatus::Unhealthy),
        ("", "conditions: [{type: Ready, status: 'False'}]", WorkloadStatus::Unhealthy),
        ("", "conditions: [{type: Initialized, status: 'True'}]", WorkloadStatus::Unhealthy),
        ("deletionTimestamp: '2026-01-01T00:00:00Z'", ready, WorkloadStatus::Unhealthy),
    ] {
        assert_eq!(pod(metadata, "", status).status, i32::from(want), "{metadata} {status}");
    }
}

#[test]
fn a_pod_without_an_address_or_that_is_over_is_no_workload() {
    for status in ["", "podIP: 10.0.0.1, phase: Succeeded", "podIP: 10.0.0.1, phase: Failed"] {
        let text = format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, status: {{{status}}}}}");
        assert_eq!(names(&world(&text), ResourceType::Address), [""; 0], "{status}");
    }
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 10.0.0.1, phase: Pending}}";
    assert_eq!(names(&world(text), ResourceType::Address), ["Kubernetes//Pod/default/a"]);
}

#[test]
fn a_pod_of_the_host_network_is_marked_and_has_no_alias() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostNetwork: true}, status: {podIP: 10.0.0.1}}";
    let world = world(text);
    let uid = "Kubernetes//Pod/default/a";
    assert_eq!(workload(&world, uid).network_mode, i32::from(NetworkMode::HostNetwork));
    assert_eq!(resource(&world, ResourceType::Address, uid).aliases, [""; 0]);
}

#[test]
fn the_mesh_names_network_cluster_and_any_unusual_trust_domain() {
    let mesh = MeshConfig {
        trust_domain: "td".into(),
        network: "net".into(),
        cluster_id: "c1".into(),
        ..MeshConfig::default()
    };
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 10.0.0.1}}";
    let world = mesh_world(text, &mesh);
    let got = workload(&world, "c1//Pod/default/a");
    assert_eq!(
        (got.trust_domain.as_str(), got.network.as_str(), got.cluster_id.as_str()),
        ("td", "net", "c1")
    );
    assert_eq!(resource(&world, ResourceType::Address, "c1//Pod/default/a").aliases, ["net/10.0.0.1"]);
    assert_eq!(pod("", "", "").trust_domain, "");
}

#[test]
fn a_pod_without_an_account_runs_as_default() {
    assert_eq!(pod("", "", "").service_account, "default");
}

#[test]
fn a_workload_is_named_after_its_owner() {
    let owned = |kind: &str, name: &str, labels: &str| {
        format!(
            "generateName: g-, labels: {{{labels}}}, ownerReferences: [{{kind: Other, name: no}}, {{kind: {kind}, name: {name}, controller: true}}]"
        )
    };
    for (metadata, want) in [
        (owned("ReplicaSet", "web-5d8", "pod-template-hash: 5d8"), "web"),
        (owned("ReplicaSet", "web-5d8", "rollouts-pod-template-hash: 5d8"), "web"),
        (owned("ReplicaSet", "web-5d8", "pod-template-hash: other"), "web-5d8"),
        (owned("ReplicaSet", "web-5d8", ""), "web-5d8"),
        (owned("DaemonSet", "agent", ""), "agent"),
        (owned("Job", "backup", ""), "backup"),
        (owned("Job", "backup-28374650", ""), "backup"),
        (owned("Job", "backup-1234567", ""), "backup-1234567"),
        (owned("ReplicationController", "rc-1", "deploymentconfig: dc"), "dc"),
        (
            owned("ReplicaSet", "web-5d8", "service.istio.io/workload-name: mine, pod-template-hash: 5d8"),
            "mine",
        ),
        ("ownerReferences: [{kind: StatefulSet, name: db, controller: true}]".to_owned(), "x"),
        ("ownerReferences: [{kind: ReplicaSet, name: db}]".to_owned(), "x"),
        (String::new(), "x"),
    ] {
        assert_eq!(pod(&metadata, "", "").workload_name, want, "{metadata}");
    }
}

#[test]
fn canonical_name_and_revision_follow_labels_in_order() {
    for (labels, name, revision) in [
        ("", "x", "latest"),
        ("app: a, version: v", "a", "v"),
        ("app: a, app.kubernetes.io/name: b, version: v, app.kubernetes.io/version: w", "b", "w"),
        (
            "app: a, app.kubernetes.io/name: b, service.istio.io/canonical-name: c, version: v, service.istio.io/canonical-revision: r",
            "c",
            "r",
        ),
    ] {
        let got = pod(&format!("labels: {{{labels}}}"), "", "");
        assert_eq!(
            (got.canonical_name.as_str(), got.canonical_revision.as_str()),
            (name, revision),
            "{labels}"
        );
    }
}

#[test]
fn a_pods_services_are_those_of_its_namespace_that_select_it() {
    let text = "
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: n, labels: {app: a, tier: t}}, status: {podIP: 10.0.0.1},
 spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}],
        initContainers: [{name: i, ports: [{name: init, containerPort: 1}]},
                         {name: s, restartPolicy: Always, ports: [{name: side, containerPort: 9000}]}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: one, namespace: n}, spec: {selector: {app: a}, ports: [
  {port: 80, targetPort: web}, {port: 81, targetPort: 8081}, {port: 82}, {port: 83, targetPort: nowhere},
  {port: 84, targetPort: side}, {port: 85, targetPort: init}, {port: 86, targetPort: dns}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: two, namespace: n}, spec: {selector: {app: a, tier: other}}}
---
{apiVersion: v1, kind: Service, metadata: {name: three, namespace: n}, spec: {}}
---
{apiVersion: v1, kind: Service, metadata: {name: four, namespace: m}, spec: {selector: {app: a}}}
---
{apiVersion: v1, kind: Service, metadata: {name: five, namespace: n}, spec: {type: ExternalName, selector: {app: a}}}
";
    let world = world(text);
    let got = services(&workload(&world, "Kubernetes//Pod/n/a"));
    let one = ("n/one.n.svc.cluster.local".to_owned(), vec![(80, 8080), (81, 8081), (82, 82), (84, 9000)]);
    assert_eq!(got, BTreeMap::from([one]));
    assert!(!names(&world, ResourceType::Address).contains(&"n/five.n.svc.cluster.local"));
}

#[test]
fn a_service_is_sent_with_its_addresses_and_ports() {
    let text = "
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: n}, spec: {clusterIP: 10.96.0.1,
 clusterIPs: [10.96.0.1, 'fd00::1'], ipFamilies: [IPv4, IPv6], ports: [
  {name: http-web, port: 80, targetPort: web}, {port: 81, targetPort: 8081}, {port: 82}]}}
";
    let mesh = MeshConfig { network: "net".into(), cluster_domain: "corp".into(), ..MeshConfig::default() };
    let world = mesh_world(text, &mesh);
    let got = service(&world, "n/web.n.svc.corp");
    assert_eq!(
        (got.name.as_str(), got.namespace.as_str(), got.hostname.as_str()),
        ("web", "n", "web.n.svc.corp")
    );
    let vips: Vec<_> =
        got.addresses.iter().map(|vip| (vip.network.as_str(), vip.address.len(), vip.length)).collect();
    assert_eq!(vips, [("net", 4, None), ("net", 16, None)]);
    let ports: Vec<_> = got.ports.iter().map(|port| (port.service_port, port.target_port)).collect();
    assert_eq!(ports, [(80, 0), (81, 8081), (82, 82)]);
    assert_eq!(got.ip_families, i32::from(IpFamilies::Dual));
    assert!(got.canonical);
    assert_eq!(got.load_balancing, None);
    let aliases = &resource(&world, ResourceType::Address, "n/web.n.svc.corp").aliases;
    assert_eq!(*aliases, ["net/10.96.0.1", "net/fd00::1"]);
}

#[test]
fn a_headless_service_has_no_address() {
    for spec in ["clusterIP: None", "clusterIP: None, clusterIPs: [None]", "", "clusterIP: ''"] {
        assert_eq!(svc(spec, "", "").addresses, [], "{spec}");
    }
    assert_eq!(svc("clusterIP: 10.96.0.1", "", "").addresses.len(), 1);
}

#[test]
fn address_families_are_told() {
    for (families, want) in [
        ("[]", IpFamilies::Automatic),
        ("[IPv4]", IpFamilies::Ipv4Only),
        ("[IPv6]", IpFamilies::Ipv6Only),
        ("[IPv6, IPv4]", IpFamilies::Dual),
    ] {
        assert_eq!(
            svc(&format!("ipFamilies: {families}"), "", "").ip_families,
            i32::from(want),
            "{families}"
        );
    }
}

#[test]
fn load_balancing_follows_the_service_then_its_namespace() {
    let annotation =
        |value: &str| format!("annotations: {{networking.istio.io/traffic-distribution: {value}}}");
    let (zone, node) = (annotation("preferclose"), annotation("PreferSameNode"));
    let same_zone = Some((vec![Scope::Network, Scope::Region, Scope::Zone], Mode::Failover));
    let same_node = vec![Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node];
    let same_node = Some((same_node, Mode::Failover));
    let local = Some((vec![Scope::Node], Mode::Strict));
    for (spec, on_service, on_namespace, want) in [
        ("", "", "", None),
        ("trafficDistribution: PreferClose", "", "", same_zone.clone()),
        ("trafficDistribution: PreferSameZone", "", "", same_zone.clone()),
        ("trafficDistribution: PreferSameNode", "", "", same_node.clone()),
        ("trafficDistribution: PreferSameNode", zone.as_str(), "", same_node.clone()),
        ("", zone.as_str(), node.as_str(), same_zone),
        ("", "", node.as_str(), same_node),
        ("", &annotation("whatever"), node.as_str(), None),
        ("internalTrafficPolicy: Local, trafficDistribution: PreferClose", "", "", local),
        ("internalTrafficPolicy: Cluster", "", "", None),
    ] {
        let got = svc(spec, on_service, on_namespace).load_balancing;
        let want = want.map(|(scopes, mode)| (scopes.into_iter().map(i32::from).collect(), i32::from(mode)));
        let shown = got.map(|lb| (lb.routing_preference, lb.mode));
        assert_eq!(shown, want, "{spec} {on_service} {on_namespace}");
    }
}

#[test]
fn endpoints_that_are_not_ready_are_published_on_request() {
    let alone = svc("publishNotReadyAddresses: true", "", "").load_balancing.unwrap();
    assert_eq!(
        (alone.mode, alone.health_policy),
        (Mode::UnspecifiedMode.into(), HealthPolicy::AllowAll.into())
    );
    let local =
        svc("publishNotReadyAddresses: true, internalTrafficPolicy: Local", "", "").load_balancing.unwrap();
    assert_eq!((local.mode, local.health_policy), (Mode::Strict.into(), HealthPolicy::AllowAll.into()));
}

#[test]
fn the_application_protocol_is_read_from_the_port() {
    for (port, want) in [
        ("port: 1, name: http-web", AppProtocol::Http11),
        ("port: 1, name: HTTP", AppProtocol::Http11),
        ("port: 1, name: http2", AppProtocol::Http2),
        ("port: 1, name: grpc-x", AppProtocol::Grpc),
        ("port: 1, name: grpc-web", AppProtocol::Unknown),
        ("port: 1, name: https", AppProtocol::Tls),
        ("port: 1, name: tcp-x", AppProtocol::Tcp),
        ("port: 1, name: httpx", AppProtocol::Unknown),
        ("port: 3306, name: db", AppProtocol::Tcp),
        ("port: 3306, name: mysql", AppProtocol::Unknown),
        ("port: 1, name: tcp, appProtocol: http", AppProtocol::Http11),
        ("port: 1, appProtocol: kubernetes.io/h2c", AppProtocol::Http2),
        ("port: 53, name: tcp, protocol: UDP", AppProtocol::Unknown),
    ] {
        assert_eq!(
            svc(&format!("ports: [{{{port}}}]"), "", "").ports[0].app_protocol,
            i32::from(want),
            "{port}"
        );
    }
}

#[test]
fn a_slice_endpoint_without_a_pod_is_a_workload_of_its_own() {
    let text = "
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: n}, spec: {ports: [{name: a, port: 80}, {name: b, port: 81}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {name: s, namespace: n, labels: {kubernetes.io/service-name: web}},
 ports: [{name: a, port: 8080, protocol: TCP}, {name: b, port: 53, protocol: UDP}, {name: c, port: 1, protocol: TCP}],
 endpoints: [{addresses: [10.9.0.1]}, {addresses: [10.9.0.2], conditions: {ready: false}}, {addresses: [10.9.0.1]},
             {addresses: [not-an-address]}, {addresses: []}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: FQDN,
 metadata: {name: t, namespace: n, labels: {kubernetes.io/service-name: web}}, endpoints: [{addresses: [example.com]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {name: u, namespace: n}, endpoints: [{addresses: [10.9.0.3]}]}
";
    let world = world(text);
    let uid = |ip: &str| format!("Kubernetes/discovery.k8s.io/EndpointSlice/n/s/{ip}");
    let web = "n/web.n.svc.cluster.local";
    assert_eq!(names(&world, ResourceType::Address), [&uid("10.9.0.1"), &uid("10.9.0.2"), web]);
    let got = workload(&world, &uid("10.9.0.1"));
    assert_eq!(services(&got), BTreeMap::from([(web.to_owned(), vec![(80, 8080)])]));
    assert_eq!(got.status, i32::from(WorkloadStatus::Healthy));
    assert_eq!(got.network_mode, i32::from(NetworkMode::HostNetwork));
    assert_eq!((got.name.as_str(), got.service_account.as_str()), ("s", ""));
    assert_eq!(workload(&world, &uid("10.9.0.2")).status, i32::from(WorkloadStatus::Unhealthy));
}

#[test]
fn a_slice_puts_a_pod_behind_a_service_that_selects_nothing() {
    let text = |uid: &str| {
        format!(
            "
{{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: n, uid: one}}, status: {{podIP: 10.0.0.1}},
 spec: {{containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: n}}, spec: {{ports: [{{port: 80, targetPort: web}}]}}}}
---
{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {{name: s, namespace: n, labels: {{kubernetes.io/service-name: web}}}},
 endpoints: [{{addresses: [10.0.0.1], targetRef: {{kind: Pod, name: a, namespace: n, uid: '{uid}'}}}}]}}"
        )
    };
    let web = BTreeMap::from([("n/web.n.svc.cluster.local".to_owned(), vec![(80, 8080)])]);
    for (uid, want) in [("one", &web), ("", &web), ("former", &BTreeMap::new())] {
        let world = world(&text(uid));
        assert_eq!(services(&workload(&world, "Kubernetes//Pod/n/a")), *want, "{uid}");
        assert_eq!(names(&world, ResourceType::Address).len(), 2, "no second workload for the pod");
    }
}

fn services(workload: &Workload) -> BTreeMap<String, Vec<(u32, u32)>> {
    let ports = |list: &xds_proto::istio::workload::PortList| {
        list.ports.iter().map(|port| (port.service_port, port.target_port)).collect()
    };
    workload.services.iter().map(|(name, list)| (name.clone(), ports(list))).collect()
}

/// The workload of pod `x` with these further fields.
#[track_caller]
fn pod(metadata: &str, spec: &str, status: &str) -> Workload {
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: x, {metadata}}}, spec: {{{spec}}},
          status: {{podIP: 10.0.0.1, {status}}}}}"
    );
    workload(&world(&text), "Kubernetes//Pod/default/x")
}

/// Service `s` with these further fields.
#[track_caller]
fn svc(spec: &str, metadata: &str, namespace: &str) -> Service {
    let text = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: s, {metadata}}}, spec: {{{spec}}}}}
---
{{apiVersion: v1, kind: Namespace, metadata: {{name: default, {namespace}}}}}"
    );
    service(&world(&text), "default/s.default.svc.cluster.local")
}
