//! What a peer may say about itself, and what it may not.

use proptest::prelude::*;

use super::{Baggage, encode, parse};
use crate::{fixtures::workload, model::WorkloadType};

#[test]
fn a_workload_is_described_in_the_order_peers_know() {
    let mut pod = workload("web").in_region("r1", "z1");
    pod.workload_type = WorkloadType::Job;
    pod.canonical_name = "shop".into();
    pod.canonical_revision = "v2".into();
    assert_eq!(
        encode(&pod),
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=ns,k8s.job.name=web,service.name=shop,service.version=v2,\
         cloud.region=r1,cloud.availability_zone=z1"
    );
}

#[test]
fn empty_parts_are_left_out() {
    assert_eq!(
        encode(&workload("web")),
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=ns,k8s.deployment.name=web"
    );
}

#[test]
fn what_another_proxy_writes_is_read() {
    let read = parse(b"k8s.cluster.name=C,k8s.namespace.name=N,k8s.cronjob.name=W,service.name=S,service.version=V,cloud.region=R,cloud.availability_zone=Z");
    let want = Baggage {
        cluster: Some("C".into()),
        namespace: Some("N".into()),
        workload: Some((WorkloadType::CronJob, "W".into())),
        service: Some("S".into()),
        version: Some("V".into()),
        region: Some("R".into()),
        zone: Some("Z".into()),
    };
    assert_eq!(read, want);
}

#[test]
fn a_value_cannot_become_another_member() {
    let mut pod = workload("web");
    pod.cluster_id = "a,k8s.namespace.name=evil;x=\"%".into();
    let header = encode(&pod);
    assert_eq!(header.matches(',').count(), 2, "{header}");
    let read = parse(header.as_bytes());
    assert_eq!(read.cluster.as_deref(), Some("a,k8s.namespace.name=evil;x=\"%"));
    assert_eq!(read.namespace.as_deref(), Some("ns"));
}

#[test]
fn what_is_malformed_is_left_out_and_the_rest_is_kept() {
    let read = parse(b"junk,=x,k8s.cluster.name=,service.name=\xff\xfe,service.version=a%0Ab, k8s.namespace.name = N ;p=1,cloud.region=100%");
    let want = Baggage { namespace: Some("N".into()), region: Some("100%".into()), ..Baggage::default() };
    assert_eq!(read, want);
}

#[test]
fn the_first_of_two_members_counts() {
    assert_eq!(parse(b"service.name=a,service.name=b").service.as_deref(), Some("a"));
}

#[test]
fn what_is_too_long_is_left_out() {
    let long = format!("service.name={},cloud.region=r", "a".repeat(257));
    assert_eq!(parse(long.as_bytes()), Baggage { region: Some("r".into()), ..Baggage::default() });
    let late = format!("{}service.name=a", ",".repeat(10_000));
    assert_eq!(parse(late.as_bytes()), Baggage::default());
}

proptest! {
    #[test]
    fn any_bytes_are_read(header in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = parse(&header);
    }

    #[test]
    fn printable_names_survive_the_way(cluster in "[^\\p{C}]{1,40}", name in "[^\\p{C}]{1,40}") {
        let mut pod = workload("web");
        pod.cluster_id = cluster.as_str().into();
        pod.workload_name = name.as_str().into();
        let read = parse(encode(&pod).as_bytes());
        prop_assert_eq!(read.cluster.as_deref(), Some(cluster.as_str()));
        prop_assert_eq!(read.workload, Some((WorkloadType::Deployment, name.as_str().into())));
    }
}
