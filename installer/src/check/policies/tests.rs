use serde_json::{Value, json};

use super::*;

fn policy(name: &str, spec: Value) -> NetworkPolicy {
    let meta = json!({"name": name, "namespace": "shop"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn group(namespace: &str, name: &str, address: &str) -> Group {
    Group {
        namespace: namespace.to_owned(),
        labels: Labels::from([("app".to_owned(), name.to_owned())]),
        example: format!("{namespace}/{name}"),
        addresses: vec![address.parse().unwrap()],
        probed: if name == "web" { vec![8080] } else { Vec::new() },
    }
}

fn mesh() -> Vec<Group> {
    vec![
        group("shop", "web", "10.0.0.1"),
        group("shop", "client", "10.0.0.2"),
        group("ops", "tool", "10.1.0.3"),
    ]
}

fn namespaces() -> Vec<Namespace> {
    ["shop", "ops"]
        .map(|name| {
            let meta = json!({"name": name, "labels": {"team": name}});
            serde_json::from_value(json!({ "metadata": meta })).unwrap()
        })
        .into()
}

/// The policies' names with the pods at both ends, or none.
#[track_caller]
fn check(policies: Vec<(&str, Value)>, want: &[(&str, Direction, &str, &str)]) {
    let policies: Vec<_> = policies.into_iter().map(|(name, spec)| policy(name, spec)).collect();
    let (namespaces, mesh) = (namespaces(), mesh());
    let world = World { policies: &policies, namespaces: &namespaces, mesh: &mesh };
    let blocked = world.blocked();
    let got: Vec<_> = blocked
        .iter()
        .map(|one| (one.policy.as_str(), one.direction, one.pod.as_str(), one.peer.as_str()))
        .collect();
    assert_eq!(got, want, "{policies:#?}");
}

fn web() -> Value {
    json!({"matchLabels": {"app": "web"}})
}

fn port(number: u16) -> Value {
    json!([{"protocol": "TCP", "port": number}])
}

#[test]
fn a_rule_for_the_application_s_port_alone_blocks_the_tunnel() {
    let rule = json!({"podSelector": web(), "ingress": [{"ports": port(8080)}]});
    check(vec![("allow-8080", rule)], &[("shop/allow-8080", Direction::Ingress, "shop/web", "shop/web")]);
}

#[test]
fn one_more_rule_for_the_tunnel_s_port_is_all_it_takes() {
    let app = json!({"podSelector": web(), "ingress": [{"ports": port(8080)}]});
    for tunnel in [
        json!({"podSelector": {}, "ingress": [{"ports": port(15008)}]}),
        json!({"podSelector": {}, "ingress": [{"ports": [{"port": 15000, "endPort": 15010}]}]}),
        json!({"podSelector": {}, "ingress": [{"ports": [{"protocol": "TCP"}]}]}),
        json!({"podSelector": {}, "ingress": [{}]}),
    ] {
        check(vec![("app", app.clone()), ("tunnel", tunnel)], &[]);
    }
    let udp = json!({"podSelector": {}, "ingress": [{"ports": [{"protocol": "UDP", "port": 15008}]}]});
    let short = json!({"podSelector": {}, "ingress": [{"ports": [{"port": 15000, "endPort": 15007}]}]});
    for useless in [udp, short] {
        let found = [("shop/app", Direction::Ingress, "shop/web", "shop/web")];
        let policies = [policy("app", app.clone()), policy("useless", useless)];
        let (namespaces, mesh) = (namespaces(), mesh());
        let world = World { policies: &policies, namespaces: &namespaces, mesh: &mesh };
        assert!(world.blocked().iter().any(|one| one.policy == found[0].0), "{policies:#?}");
    }
}

#[test]
fn the_tunnel_must_be_open_to_those_whom_the_rule_lets_in() {
    let client = json!({"podSelector": {"matchLabels": {"app": "client"}}});
    let ops = json!({"namespaceSelector": {"matchLabels": {"team": "ops"}}});
    let app = json!({"podSelector": web(), "ingress": [{"from": [client, ops], "ports": port(8080)}]});
    let tunnel =
        |from: Value| json!({"podSelector": web(), "ingress": [{"from": [from], "ports": port(15008)}]});
    check(
        vec![("app", app.clone()), ("tunnel", tunnel(client))],
        &[("shop/app", Direction::Ingress, "shop/web", "ops/tool")],
    );
    check(
        vec![("app", app.clone()), ("tunnel", tunnel(ops))],
        &[("shop/app", Direction::Ingress, "shop/web", "shop/client")],
    );
    let anywhere = json!({"namespaceSelector": {}});
    check(vec![("app", app), ("tunnel", tunnel(anywhere))], &[]);
}

#[test]
fn what_lets_nothing_of_the_mesh_through_blocks_nothing_of_it() {
    // Closed before, closed afterwards.
    check(vec![("deny-all", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))], &[]);
    // Its peers are no pods of the mesh.
    let outside = json!({"podSelector": web(), "ingress": [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": port(443)}]});
    check(vec![("from-outside", outside)], &[]);
    let kube = json!({"namespaceSelector": {"matchLabels": {"team": "nobody"}}});
    let dns = json!({"podSelector": {}, "egress": [{"to": [kube], "ports": port(9153)}], "policyTypes": ["Egress"]});
    check(vec![("to-others", dns)], &[]);
    // Names are looked up outside the tunnel.
    let names = json!({"podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}]});
    check(vec![("dns", names)], &[]);
    // Another namespace's.
    let elsewhere =
        json!({"podSelector": {"matchLabels": {"app": "tool"}}, "ingress": [{"ports": port(80)}]});
    check(vec![("not-here", elsewhere)], &[]);
}

#[test]
fn what_leaves_a_pod_is_looked_at_as_what_enters_it() {
    let egress = json!({"podSelector": web(), "policyTypes": ["Egress"], "egress": [{"ports": port(80)}]});
    check(vec![("out", egress)], &[("shop/out", Direction::Egress, "shop/web", "shop/web")]);
    // Types that are not given follow what is there.
    let implied = json!({"podSelector": web(), "egress": [{"ports": port(80)}], "ingress": [{}]});
    check(vec![("out", implied)], &[("shop/out", Direction::Egress, "shop/web", "shop/web")]);
    let ingress_only = json!({"podSelector": web(), "policyTypes": ["Ingress"], "ingress": [{}], "egress": [{"ports": port(80)}]});
    check(vec![("in", ingress_only)], &[]);
}

#[test]
fn an_address_block_may_hold_pods_of_the_mesh_and_leave_some_out() {
    let block = |except: Value| {
        json!({"podSelector": web(), "ingress": [
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": except}}], "ports": port(8080)}]})
    };
    check(vec![("wide", block(json!([])))], &[("shop/wide", Direction::Ingress, "shop/web", "shop/web")]);
    check(
        vec![("less", block(json!(["10.0.0.0/16"])))],
        &[("shop/less", Direction::Ingress, "shop/web", "ops/tool")],
    );
    check(vec![("none", block(json!(["10.0.0.0/16", "10.1.0.0/16"])))], &[]);
}

#[test]
fn probes_come_from_the_mesh_s_own_address() {
    let source: IpAddr = "169.254.7.127".parse().unwrap();
    let probes = |spec: Value| {
        let policies = [policy("p", spec)];
        let (namespaces, mesh) = (namespaces(), mesh());
        World { policies: &policies, namespaces: &namespaces, mesh: &mesh }.probes(source)
    };
    let from = |peer: Value| json!({"podSelector": {}, "ingress": [{"from": [peer], "ports": port(8080)}]});
    let closed = Probe { policies: vec!["shop/p".to_owned()], pod: "shop/web".to_owned(), port: 8080 };
    assert_eq!(probes(from(json!({"podSelector": {}}))), std::slice::from_ref(&closed));
    assert_eq!(probes(from(json!({"ipBlock": {"cidr": "10.0.0.0/8"}}))), std::slice::from_ref(&closed));
    assert_eq!(probes(json!({"podSelector": {}})), [closed]);
    assert_eq!(probes(from(json!({"ipBlock": {"cidr": "169.254.7.127/32"}}))), []);
    assert_eq!(probes(json!({"podSelector": {}, "ingress": [{"ports": port(8080)}]})), []);
    assert_eq!(probes(json!({"podSelector": {}, "policyTypes": ["Egress"]})), []);
}
