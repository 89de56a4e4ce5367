//! What documents say beside and over Kubernetes objects.

use super::*;
use xds_proto::istio::workload::gateway_address::Destination;
use xds_proto::local::Fault;

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 10.1.0.1, selector: {app: a}, ports: [{port: 80}]}}";

fn given(entries: &str) -> String {
    format!(
        "{POD}\n---\n{{apiVersion: adit.dev/v1alpha1, kind: MeshResources, metadata: {{name: x}}, {entries}}}"
    )
}

#[test]
fn what_kubernetes_cannot_say_is_given_as_it_is() {
    let world = world(&given(
        "workloads: [{uid: vm, namespace: ns, name: vm, workloadIps: [10.9.0.1], services: {ns/vm.example: {80: 8080}}}],
         services: [{namespace: ns, hostname: vm.example, vips: [/10.9.9.9], cidrVips: [{cidr: 10.8.0.0/16}]}],
         policies: [{name: p, namespace: ns, scope: Namespace, action: Deny, rules: []}]",
    ));
    assert_eq!(world.remarks, []);
    assert_eq!(workload(&world, "vm").services.len(), 1);
    let vm = resource(&world, ResourceType::Address, "vm");
    assert_eq!(
        (vm.aliases.as_slice(), vm.serves.as_slice()),
        (&["/10.9.0.1".to_owned()][..], &["ns/vm.example".to_owned()][..])
    );
    let service = resource(&world, ResourceType::Address, "ns/vm.example");
    assert_eq!(service.aliases, ["/10.9.9.9", "/10.8.0.0/16"]);
    assert_eq!(names(&world, ResourceType::Authorization), ["ns/p"]);
}

#[test]
fn what_kubernetes_says_is_changed_only_where_it_is_named() {
    let plain = world(POD);
    let changed = world(&given(
        "workloads: [{uid: Kubernetes//Pod/default/a, waypoint: {destination: /10.0.0.9}}],
         services: [{namespace: default, hostname: s.default.svc.cluster.local, waypoint: {destination: ns/wp}}]",
    ));
    let pod = workload(&changed, "Kubernetes//Pod/default/a");
    assert!(matches!(
        pod.waypoint.as_ref().and_then(|waypoint| waypoint.destination.as_ref()),
        Some(Destination::Address(_))
    ));
    assert_eq!(Workload { waypoint: None, ..pod }, workload(&plain, "Kubernetes//Pod/default/a"));
    let name = "default/s.default.svc.cluster.local";
    let service = service(&changed, name);
    assert!(service.waypoint.is_some());
    assert_eq!(Service { waypoint: None, ..service }, super::service(&plain, name));
}

#[test]
fn an_entry_without_sense_is_remarked_and_left_out() {
    let world = world(&given("workloads: [{uid: vm}]"));
    assert_eq!(names(&world, ResourceType::Address).len(), 2);
    let [remark] = world.remarks.as_slice() else { panic!("{:?}", world.remarks) };
    assert!(matches!(&remark.why, Why::Entry(Fault { field, .. }) if field == "workloads[0].namespace"));
    assert!(remark.to_string().starts_with("MeshResources x: workloads[0].namespace: missing"), "{remark}");
}
