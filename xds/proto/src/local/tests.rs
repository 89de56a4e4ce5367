use prost::Message;

use super::*;
use crate::istio::security::string_match::MatchType;
use crate::istio::workload::Address;
use crate::istio::workload::address::Type;
use crate::istio::workload::gateway_address::Destination as WireDestination;

/// What ztunnel gives as its example of a local configuration.
const EXAMPLE: &str = r#"
workloads:
- uid: cluster1//v1/Pod/default/local
  name: local
  namespace: default
  serviceAccount: default
  workloadIps: ["127.0.0.1"]
  protocol: HBONE
  node: local
  network: ""
  services:
    "default/example.com":
      80: 8080
policies:
  - action: Allow
    rules:
    - - - notDestinationPorts:
          - 9999
    name: deny-9999
    namespace: default
    scope: Namespace
    dryRun: false
services:
- name: local
  namespace: default
  hostname: example.com
  vips:
    - /127.10.0.1
  ports:
    80: 8080
  subjectAltNames:
   - spiffe://cluster.local/ns/default/sa/local
  canonical: true
"#;

#[test]
fn the_example_that_ztunnel_gives_is_read() {
    let read = resources(EXAMPLE);
    let workload = &read.workloads["cluster1//v1/Pod/default/local"];
    assert_eq!((workload.tunnel_protocol, workload.addresses.as_slice()), (1, &[vec![127, 0, 0, 1]][..]));
    assert_eq!(workload.services["default/example.com"].ports[0].target_port, 8080);
    assert_eq!(workload.capacity, None, "the default is the reader's");
    let service = &read.services["default/example.com"];
    assert_eq!((service.addresses[0].network.as_str(), service.canonical), ("", true));
    let policy = &read.policies["default/deny-9999"];
    assert_eq!(policy.rules[0].clauses[0].matches[0].not_destination_ports, [9999]);
}

#[test]
fn every_field_of_a_workload_reaches_the_message() {
    let read = resources(
        "workloads: [{uid: u, name: a, namespace: ns, workloadIps: ['::1'], network: n, networkMode: HostNetwork,
          protocol: TCP, nativeTunnel: true, trustDomain: td, serviceAccount: sa,
          waypoint: {destination: n/10.0.0.1, hboneMtlsPort: 15009}, networkGateway: {destination: gw/gw.example},
          applicationTunnel: {protocol: PROXY, port: 81}, hostname: h.example, node: node, clusterId: c,
          locality: {region: r, zone: z}, status: Unhealthy, capacity: 3, workloadName: wn, workloadType: job,
          canonicalName: cn, canonicalRevision: v2, authorizationPolicies: [ns/p], services: {ns/svc: {80: 0}}}]",
    );
    let workload = &read.workloads["u"];
    let waypoint = workload.waypoint.as_ref().unwrap();
    assert!(matches!(&waypoint.destination, Some(WireDestination::Address(a)) if a.network == "n"));
    assert_eq!(waypoint.hbone_mtls_port, 15009);
    let gateway = workload.network_gateway.as_ref().unwrap();
    assert!(matches!(&gateway.destination, Some(WireDestination::Hostname(h)) if h.hostname == "gw.example"));
    assert_eq!(gateway.hbone_mtls_port, 15008);
    assert_eq!(workload.application_tunnel.map(|tunnel| (tunnel.protocol, tunnel.port)), Some((1, 81)));
    let numbers = (workload.network_mode, workload.status, workload.workload_type, workload.capacity);
    assert_eq!(numbers, (1, 1, 3, Some(3)));
    let texts = [
        &workload.network,
        &workload.trust_domain,
        &workload.service_account,
        &workload.hostname,
        &workload.node,
        &workload.cluster_id,
        &workload.workload_name,
        &workload.canonical_name,
        &workload.canonical_revision,
        &workload.authorization_policies[0],
    ];
    assert_eq!(texts, ["n", "td", "sa", "h.example", "node", "c", "wn", "cn", "v2", "ns/p"]);
    assert!(workload.native_tunnel);
    assert_eq!(workload.locality.as_ref().map(|locality| locality.zone.as_str()), Some("z"));
}

#[test]
fn every_field_of_a_service_reaches_the_message() {
    let read = resources(
        "workloads: [{uid: u, namespace: ns}]
services: [{namespace: ns, hostname: h, vips: [n/10.1.0.1], cidrVips: [{network: n, cidr: 10.2.0.0/16}],
  ports: {80: 8080}, endpoints: {any: {workloadUid: u, port: {80: 81}, status: Healthy}},
  weightedWaypoints: [{destination: {destination: ns/wp}, weight: 7}], ipFamilies: IPv6, visibility: Namespace,
  loadBalancer: {routingPreferences: [Network, Zone], mode: Failover, healthPolicy: AllowAll}}]",
    );
    let service = &read.services["ns/h"];
    assert_eq!(service.name, "h", "the hostname stands in for the name");
    assert_eq!(service.addresses.iter().map(|a| a.length).collect::<Vec<_>>(), [None, Some(16)]);
    assert_eq!(service.weighted_waypoints[0].weight, 7);
    let balancing = service.load_balancing.as_ref().unwrap();
    assert_eq!((balancing.routing_preference.as_slice(), balancing.mode), (&[6, 2][..], 2));
    assert_eq!((balancing.health_policy, service.ip_families, service.visibility), (1, 2, 1));
    assert_eq!(read.workloads["u"].services["ns/h"].ports[0].target_port, 81);
}

#[test]
fn every_match_of_a_policy_reaches_the_message() {
    let read = resources(
        "policies: [{name: p, namespace: ns, scope: WorkloadSelector, action: Deny, dryRun: true, rules: [[[{
          namespaces: [{Exact: a}], notNamespaces: [{Prefix: a}], principals: [{Suffix: a}],
          notPrincipals: [{Presence: []}], sourceIps: [10.0.0.0/8], notSourceIps: ['fd00::/8'],
          destinationIps: [10.0.0.1/32], notDestinationIps: [10.0.0.2/32], destinationPorts: [1],
          notDestinationPorts: [2], serviceAccounts: [{namespace: n, serviceAccount: s}],
          notServiceAccounts: [{namespace: n, serviceAccount: t}]}]]]}]",
    );
    let policy = &read.policies["ns/p"];
    assert_eq!((policy.scope, policy.action, policy.dry_run), (2, 1, true));
    let found = &policy.rules[0].clauses[0].matches[0];
    let kinds = [&found.namespaces, &found.not_namespaces, &found.principals, &found.not_principals];
    let kinds = kinds.map(|list| list[0].match_type.clone().unwrap());
    let text = || "a".to_owned();
    assert_eq!(
        kinds,
        [
            MatchType::Exact(text()),
            MatchType::Prefix(text()),
            MatchType::Suffix(text()),
            MatchType::Presence(())
        ]
    );
    let lengths =
        [&found.source_ips, &found.not_source_ips, &found.destination_ips, &found.not_destination_ips];
    assert_eq!(
        lengths.map(|list| (list[0].address.len(), list[0].length)),
        [(4, 8), (16, 8), (4, 32), (4, 32)]
    );
    assert_eq!((found.destination_ports[0], found.not_destination_ports[0]), (1, 2));
    assert_eq!(
        (&*found.service_accounts[0].service_account, &*found.not_service_accounts[0].service_account),
        ("s", "t")
    );
}

#[test]
fn a_known_resource_changes_only_in_what_is_named() {
    let mut world = resources(EXAMPLE);
    let before = world.clone();
    let uid = "cluster1//v1/Pod/default/local";
    let text = format!(
        "workloads: [{{uid: '{uid}', waypoint: {{destination: /10.0.0.9}}}}]
services: [{{namespace: default, hostname: example.com, cidrVips: [{{cidr: 10.0.0.0/8}}]}}]"
    );
    assert_eq!(world.overlay(&Local::parse("x", &text).unwrap()), []);
    assert!(world.workloads[uid].waypoint.is_some());
    assert_eq!(world.services["default/example.com"].addresses.len(), 2, "the address is not touched");
    let mut put_back = world.clone();
    put_back.workloads.get_mut(uid).unwrap().waypoint = None;
    put_back.services.get_mut("default/example.com").unwrap().addresses.truncate(1);
    assert_eq!(put_back, before);
}

#[test]
fn a_workload_without_uid_goes_by_its_names() {
    let read = resources("workloads: [{namespace: ns, name: vm, workloadIps: [10.0.0.1]}]");
    assert_eq!(read.workloads["Local/ns/vm"].uid, "Local/ns/vm");
}

#[test]
fn an_entry_that_makes_no_sense_is_named_and_left_out() {
    for (text, field, why) in [
        ("workloads: [{namespace: n}]", "workloads[0].uid", Why::Missing),
        ("workloads: [{uid: u}]", "workloads[0].namespace", Why::Missing),
        (
            "workloads: [{uid: u, namespace: n}, {uid: u, namespace: n}]",
            "workloads[1]",
            Why::Twice("u".into()),
        ),
        (
            "services: [{namespace: n, hostname: h}, {namespace: n, hostname: h}]",
            "services[1]",
            Why::Twice("n/h".into()),
        ),
        (
            "services: [{namespace: n, hostname: h, endpoints: {a: {workloadUid: u}}}]",
            "services[0].endpoints[a].workloadUid",
            Why::NoSuchWorkload("u".into()),
        ),
        (
            "{workloads: [{uid: u, namespace: n}], services: [{namespace: n, hostname: h, endpoints: {a: {workloadUid: u, status: Unhealthy}}}]}",
            "services[0].endpoints[a].status",
            Why::EndpointStatus,
        ),
    ] {
        let local = Local::parse("x", text).unwrap();
        let mut world = Resources::default();
        assert_eq!(world.overlay(&local), [Fault { field: field.into(), why }], "{text}");
        assert!(matches!(local.resources("x"), Err(LocalError::Fault { .. })));
    }
}

#[test]
fn a_field_that_cannot_be_read_is_named_with_what_to_write() {
    for (text, field, says) in [
        ("workload: []", "workload", "expected one of `workloads`, `services`, `policies`"),
        ("workloads: [{uid: u}, {nodeName: a}]", "workloads[1].nodeName", "`node`"),
        ("workloads: [{workloadIps: [ten]}]", "workloads[0].workloadIps[0]", "IP address"),
        ("workloads: [{protocol: QUIC}]", "workloads[0].protocol", "expected `TCP` or `HBONE`"),
        (
            "workloads: [{waypoint: {destination: wp}}]",
            "workloads[0].waypoint.destination",
            "<namespace>/<hostname>",
        ),
        ("workloads: [{services: {svc: {80: 80}}}]", "workloads[0].services.svc", "<namespace>/<hostname>"),
        ("services: [{namespace: n, hostname: h, vips: [10.0.0.1]}]", "services[0].vips[0]", "as /10.0.0.1"),
        ("services: [{hostname: h}]", "services[0]", "missing field `namespace`"),
        ("services: [{namespace: n, hostname: h, ports: {80: 70000}}]", "services[0].ports.80", "u16"),
        (
            "policies: [{name: p, namespace: n, scope: Global, action: Allow, rules: [[[{principal: []}]]]}]",
            "policies[0].rules[0][0][0].principal",
            "`principals`",
        ),
        (
            "policies: [{name: p, namespace: n, scope: Global, action: Allow, rules: [[[{sourceIps: [10.0.0.0/33]}]]]}]",
            "policies[0].rules[0][0][0].sourceIps[0]",
            "",
        ),
    ] {
        match Local::parse("the document", text) {
            Err(LocalError::Field { document, field: f, source }) => {
                assert_eq!((document.as_str(), f.as_str()), ("the document", field), "{text}: {source}");
                assert!(source.to_string().contains(says), "{text}: {source}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(Local::parse("x", "workloads: ["), Err(LocalError::Yaml { .. })));
}

#[test]
fn a_document_of_comments_says_nothing() {
    assert_eq!(Local::parse("x", "# later\n").unwrap(), Local::default());
    assert_eq!(Local::parse("x", "").unwrap(), Local::default());
}

#[test]
fn what_was_read_is_shown_as_it_was_written() {
    let local = Local::parse("x", EXAMPLE).unwrap();
    let shown = serde_json::to_value(&local).unwrap();
    assert_eq!(shown["services"][0]["vips"][0], "/127.10.0.1");
    assert_eq!(shown["workloads"][0]["services"]["default/example.com"]["80"], 8080);
    assert_eq!(shown["workloads"][0].get("waypoint"), None);
    assert_eq!(serde_json::from_value::<Local>(shown).unwrap(), local);
}

#[test]
fn the_resources_go_on_the_wire_under_their_names() {
    let names: Vec<_> = resources(EXAMPLE)
        .addresses()
        .map(|(name, bytes)| {
            match Address::decode(bytes.as_slice()).unwrap().r#type.unwrap() {
                Type::Workload(workload) => assert_eq!(workload.uid, name),
                Type::Service(service) => {
                    assert_eq!(format!("{}/{}", service.namespace, service.hostname), name)
                }
            }
            name
        })
        .collect();
    assert_eq!(names, ["cluster1//v1/Pod/default/local", "default/example.com"]);
    let names: Vec<_> = resources(EXAMPLE).authorizations().map(|(name, _)| name).collect();
    assert_eq!(names, ["default/deny-9999"]);
}

#[track_caller]
fn resources(text: &str) -> Resources {
    Local::parse("test", text).unwrap().resources("test").unwrap()
}
