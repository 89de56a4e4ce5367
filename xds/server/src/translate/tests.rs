mod addresses;
mod mesh;
mod policies;

use prost::Message;
use xds_proto::istio::security::Authorization;
use xds_proto::istio::workload::address::Type;
use xds_proto::istio::workload::{Address, Service, Workload};

use super::*;

#[test]
fn the_same_objects_make_the_same_bytes() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}, status: {podIP: 10.0.0.1}}";
    let service = |n| {
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: s{n}}}, spec: {{selector: {{app: a}}}}}}")
    };
    let text = (0..20).map(service).chain([pod.to_owned()]).collect::<Vec<_>>().join("\n---\n");
    let first = world(&text);
    for _ in 0..20 {
        assert_eq!(world(&text), first);
    }
    assert_eq!(workload(&first, "Kubernetes//Pod/default/a").services.len(), 20);
}

#[test]
fn the_version_of_an_address_is_its_content_and_a_policy_has_none() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 10.0.0.1}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}}";
    let before = world(text);
    let after = world(&text.replace("10.0.0.1", "10.0.0.2"));
    let version =
        |t: &Translation| resource(t, ResourceType::Address, "Kubernetes//Pod/default/a").version.clone();
    assert_ne!(version(&before), version(&after));
    assert_eq!(
        version(&before),
        format!("{:x}", resource(&before, ResourceType::Address, "Kubernetes//Pod/default/a").digest)
    );
    assert_eq!(resource(&before, ResourceType::Authorization, "default/p").version, "");
}

#[track_caller]
fn world(text: &str) -> Translation {
    mesh_world(text, &MeshConfig::default())
}

#[track_caller]
fn mesh_world(text: &str, mesh: &MeshConfig) -> Translation {
    let mut objects = Objects::default();
    objects.upsert_yaml("test", text).unwrap();
    translate(&objects, mesh)
}

fn names(translation: &Translation, kind: ResourceType) -> Vec<&str> {
    translation.resources.values().filter(|r| r.kind == kind).map(|r| r.name.as_str()).collect()
}

#[track_caller]
fn resource<'a>(translation: &'a Translation, kind: ResourceType, name: &str) -> &'a Resource {
    let found = translation.resources.get(&(kind, name.to_owned()));
    found.unwrap_or_else(|| panic!("no {name} among {:?}", names(translation, kind)))
}

#[track_caller]
fn workload(translation: &Translation, uid: &str) -> Workload {
    match address(translation, uid) {
        Some(Type::Workload(workload)) => workload,
        Some(Type::Service(_)) | None => panic!("{uid} is no workload"),
    }
}

#[track_caller]
fn service(translation: &Translation, name: &str) -> Service {
    match address(translation, name) {
        Some(Type::Service(service)) => service,
        Some(Type::Workload(_)) | None => panic!("{name} is no service"),
    }
}

#[track_caller]
fn address(translation: &Translation, name: &str) -> Option<Type> {
    Address::decode(&*resource(translation, ResourceType::Address, name).bytes).unwrap().r#type
}

#[track_caller]
fn policy(translation: &Translation, name: &str) -> Authorization {
    Authorization::decode(&*resource(translation, ResourceType::Authorization, name).bytes).unwrap()
}
