//! The dump in the shape its readers decode, and the small parser of query values.

use std::collections::BTreeMap;

use proxy_core::model::{
    Action, Attribute, Clause, Destination, GatewayAddress, Health, Locality, Match, NamespacedHostname,
    NetworkMode, Policy, Protocol, Rule, Rules, Scope, StringMatch, Workload, WorkloadType,
};
use serde_json::json;

use super::{dump, percent_decoded};

fn workload() -> Workload {
    Workload {
        uid: "c//Pod/ns/a".into(),
        name: "a".into(),
        namespace: "ns".into(),
        trust_domain: "cluster.local".into(),
        service_account: "sa".into(),
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        network: "".into(),
        network_mode: NetworkMode::Standard,
        protocol: Protocol::Hbone,
        native_tunnel: false,
        waypoint: Some(GatewayAddress {
            destination: Destination::Hostname(NamespacedHostname {
                namespace: "ns".into(),
                hostname: "w.ns.svc.cluster.local".into(),
            }),
            hbone_mtls_port: 15_008,
        }),
        network_gateway: None,
        application_tunnel: None,
        hostname: "".into(),
        node: "n1".into(),
        cluster_id: "Kubernetes".into(),
        locality: Locality::default(),
        health: Health::Healthy,
        capacity: 1,
        workload_name: "a".into(),
        workload_type: WorkloadType::Pod,
        canonical_name: "a".into(),
        canonical_revision: "v1".into(),
        authorization_policies: vec!["ns/p".into()],
        services: BTreeMap::new(),
    }
}

#[test]
fn a_workload_is_dumped_as_istioctl_reads_it() {
    assert_eq!(
        dump::workload(&workload()),
        json!({
            "workloadIps": ["10.0.0.1"],
            "waypoint": {"destination": "ns/w.ns.svc.cluster.local", "hboneMtlsPort": 15008},
            "protocol": "HBONE",
            "networkMode": "Standard",
            "uid": "c//Pod/ns/a",
            "name": "a",
            "namespace": "ns",
            "trustDomain": "cluster.local",
            "serviceAccount": "sa",
            "workloadName": "a",
            "workloadType": "pod",
            "canonicalName": "a",
            "canonicalRevision": "v1",
            "node": "n1",
            "authorizationPolicies": ["ns/p"],
            "status": "Healthy",
            "clusterId": "Kubernetes",
            "services": [],
            "capacity": 1,
        })
    );
}

#[test]
fn a_policy_is_dumped_as_three_levels_of_lists() {
    let principals = Attribute { is: vec![StringMatch::Exact("td/ns/a/sa/b".into())], is_not: vec![] };
    let matched = Match { principals, ..Match::default() };
    let policy = Policy {
        key: "ns/p".into(),
        name: "p".into(),
        namespace: "ns".into(),
        scope: Scope::WorkloadSelector,
        action: Action::Deny,
        dry_run: false,
        rules: Rules::Any(vec![Rule { clauses: vec![Clause { matches: vec![matched] }] }]),
    };
    assert_eq!(
        dump::policy(&policy),
        json!({
            "name": "p",
            "namespace": "ns",
            "scope": "WorkloadSelector",
            "action": "Deny",
            "rules": [[[{"principals": [{"Exact": "td/ns/a/sa/b"}]}]]],
            "dryRun": false,
        })
    );
}

#[test]
fn a_query_value_is_decoded_and_a_bad_escape_stays() {
    for (given, want) in
        [("debug", "debug"), ("a%3Ddebug%2Cb", "a=debug,b"), ("100%", "100%"), ("%zz", "%zz"), ("%4", "%4")]
    {
        assert_eq!(percent_decoded(given), want);
    }
}
