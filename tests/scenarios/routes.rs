//! Where connections go when services, waypoints and other networks say so.

pub(crate) mod hostnames;
pub(crate) mod networks;
pub(crate) mod waypoints;

use std::net::SocketAddr;

use tests::lab::observe::AccessLine;
use tests::lab::{Conn, End, Lab, Peer, Peers, Pod, Proxy, Server, Speaks, binaries, eventually};

use super::{captured, meshed, uncaptured};

/// Applies what Kubernetes objects cannot say, in place of what was said under this name.
#[track_caller]
pub(crate) fn give(lab: &Lab, name: &str, entries: &str) {
    lab.apply(&format!(
        "apiVersion: adit.dev/v1alpha1\nkind: MeshResources\nmetadata: {{name: {name}}}\n{entries}"
    ));
}

/// The uid that the control plane gives a pod.
pub(crate) fn uid(pod: &Pod) -> String {
    format!("Kubernetes//Pod/{}/{}", pod.namespace(), pod.name())
}

/// Whether the proxy of node `a`, which is the source's, is ours: some promises are not ztunnel's.
fn ours() -> bool {
    binaries::is_ours("a")
}

/// Waits until the proxies know a service as `look` wants it.
#[track_caller]
fn wait_service(lab: &Lab, hostname: &str, look: impl Fn(&serde_json::Value) -> bool) {
    for node in lab.nodes() {
        node.proxy().wait_dump(&format!("has service {hostname} as it should be"), |dump| {
            let all = dump["services"].as_array().cloned().unwrap_or_default();
            let found = all.iter().find(|service| service["hostname"] == hostname);
            let found = found.ok_or_else(|| format!("no such service among {}", all.len()))?;
            if look(found) { Ok(()) } else { Err(found.to_string()) }
        });
    }
}

/// Waits until the proxies know a workload as `look` wants it.
#[track_caller]
pub(crate) fn wait_workload(lab: &Lab, uid: &str, look: impl Fn(&serde_json::Value) -> bool) {
    for node in lab.nodes() {
        node.proxy().wait_dump(&format!("has workload {uid} as it should be"), |dump| {
            let all = dump["workloads"].as_array().cloned().unwrap_or_default();
            let found = all.iter().find(|workload| workload["uid"] == uid);
            let found = found.ok_or_else(|| format!("no such workload among {}", all.len()))?;
            if look(found) { Ok(()) } else { Err(found.to_string()) }
        });
    }
}

/// What the source's proxy says of a connection that is over.
#[track_caller]
fn line_of(proxy: &Proxy, conn: SocketAddr) -> AccessLine {
    eventually(format_args!("the line of the connection from {conn}"), || {
        let lines = proxy.access_log();
        let found = lines.into_iter().find(|l| !l.is_inbound() && l.text("src.addr") == conn.to_string());
        found.ok_or_else(|| "not there".to_owned())
    })
}

/// Opens a connection that the proxy ends, with a reset if it is ours, and answers what the proxy said of it.
#[track_caller]
pub(crate) fn refused(client: &Pod, to: SocketAddr) -> AccessLine {
    let mut conn = client.connect(to);
    let local = conn.local();
    let _ = conn.try_say("anybody there?");
    let (heard, end) = conn.rest();
    assert_eq!(heard, "", "nobody may answer");
    assert!(end == End::Reset || !ours(), "a refusal must not look like an end in good order");
    line_of(&client.node().proxy(), local)
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address with a port")
}

pub(crate) fn a_passthrough_service_is_left_alone_but_for_its_waypoint() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let node = lab.node("b");
    let _echo = Server::start(node.netns(), 7001, Speaks::Echo);
    let to = SocketAddr::new(node.ip(), 7001);
    let service = |rest: &str| {
        give(
            &lab,
            "service",
            &format!(
                "services: [{{namespace: default, hostname: svc.example, vips: [/{}], ports: {{7001: 7001}}{rest}}}]",
                node.ip()
            ),
        );
    };
    service("");
    wait_service(&lab, "svc.example", |_| true);
    let line = refused(&client, to);
    assert!(line.text("error").contains("no healthy upstream"), "{line:?}");

    service(", loadBalancer: {mode: Passthrough, healthPolicy: AllowAll}");
    wait_service(&lab, "svc.example", |service| service["loadBalancer"]["mode"] == "Passthrough");
    let mut conn = client.connect(to);
    conn.echo("hello");
    let local = conn.local();
    drop(conn);
    let line = line_of(&client.node().proxy(), local);
    assert_eq!((line.text("dst.addr"), line.text("dst.hbone_addr")), (&*to.to_string(), ""), "{line:?}");

    let waypoint = uncaptured(&lab, "waypoint", "b");
    let peer = Peer::start(&lab, &waypoint, Peers::Deliver);
    service(&format!(", loadBalancer: {{mode: Passthrough}}, waypoint: {{destination: /{}}}", waypoint.ip()));
    wait_service(&lab, "svc.example", |service| !service["waypoint"].is_null());
    client.connect(to).echo("hello");
    assert_eq!(peer.asked().last().map(|asked| asked.authority.clone()), Some(to.to_string()));
}

pub(crate) fn a_prefix_stands_for_its_service_where_no_address_does() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let (wide, exact) = (uncaptured(&lab, "wide", "b"), uncaptured(&lab, "exact", "b"));
    let _servers = [wide.serve(7001, Speaks::First("wide")), exact.serve(7001, Speaks::First("exact"))];
    let endpoints = |of_wide: &Pod, of_exact: &Pod| {
        let serves = |pod, host| format!("- {{uid: {}, services: {{default/{host}: {{}}}}}}", uid(pod));
        let (first, second) = (serves(of_wide, "wide.example"), serves(of_exact, "exact.example"));
        give(&lab, "endpoints", &format!("workloads:\n{first}\n{second}"));
    };
    let wait_endpoint = |hostname: &str, pod: &Pod| {
        wait_service(&lab, hostname, |service| !service["endpoints"][uid(pod)].is_null());
    };
    endpoints(&wide, &exact);
    for pod in [&wide, &exact] {
        // ztunnel takes no endpoint of a prefix's service that comes after the service.
        wait_workload(&lab, &uid(pod), |workload| !workload["services"].is_null());
    }
    give(
        &lab,
        "services",
        "services:
- {namespace: default, hostname: wide.example, cidrVips: [{cidr: 10.97.0.0/16}], ports: {80: 7001}}
- {namespace: default, hostname: exact.example, vips: [/10.97.0.9], ports: {80: 7001}}",
    );
    wait_endpoint("wide.example", &wide);
    wait_endpoint("exact.example", &exact);
    client.connect(at("10.97.3.4:80")).hear("wide");
    client.connect(at("10.97.0.9:80")).hear("exact");
    if ours() {
        endpoints(&exact, &wide);
        wait_endpoint("wide.example", &exact);
        wait_endpoint("exact.example", &wide);
        client.connect(at("10.97.3.4:80")).hear("exact");
        client.connect(at("10.97.0.9:80")).hear("wide");
    }
}

pub(crate) fn a_service_that_a_client_may_not_see_is_unknown_to_it() {
    let lab = meshed();
    lab.create_namespace("other");
    lab.enroll_namespace("other");
    let stranger = captured(&lab, "stranger", "a");
    let friend = lab.pod("friend").in_namespace("other").on("a").create();
    friend.wait_enrolled();
    let endpoint = uncaptured(&lab, "endpoint", "b");
    let node = lab.node("b");
    let _servers = [
        endpoint.serve(7001, Speaks::First("service")),
        Server::start(node.netns(), 80, Speaks::First("node")),
    ];
    give(
        &lab,
        "service",
        &format!(
            "workloads: [{{uid: {}, services: {{other/svc.example: {{}}}}}}]
services: [{{namespace: other, hostname: svc.example, vips: [/{}], ports: {{80: 7001}}, visibility: Namespace}}]",
            uid(&endpoint),
            node.ip()
        ),
    );
    wait_service(&lab, "svc.example", |service| {
        service["endpoints"].as_object().is_some_and(|e| e.len() == 1)
    });
    let to = SocketAddr::new(node.ip(), 80);
    friend.connect(to).hear("service");
    stranger.connect(to).hear("node");
}

pub(crate) fn locality_and_health_decide_who_serves() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let (near, far) = (uncaptured(&lab, "near", "a"), uncaptured(&lab, "far", "b"));
    let _servers = [near.serve(7001, Speaks::First("near")), far.serve(7001, Speaks::First("far_"))];
    let all = "default/strict.example: {}, default/failover.example: {}, default/any.example: {}";
    let given = |near_is: &str| {
        format!(
            "workloads:
- {{uid: {}, status: {near_is}, services: {{{all}}}}}
- {{uid: {}, services: {{default/strict.example: {{}}, default/failover.example: {{}}}}}}
services:
- {{namespace: default, hostname: strict.example, vips: [/10.97.0.1], ports: {{80: 7001}},
    loadBalancer: {{mode: Strict, routingPreferences: [Node]}}}}
- {{namespace: default, hostname: failover.example, vips: [/10.97.0.2], ports: {{80: 7001}},
    loadBalancer: {{mode: Failover, routingPreferences: [Network, Region, Zone, Subzone, Node]}}}}
- {{namespace: default, hostname: any.example, vips: [/10.97.0.3], ports: {{80: 7001}},
    loadBalancer: {{mode: Standard, healthPolicy: AllowAll}}}}",
            uid(&near),
            uid(&far)
        )
    };
    give(&lab, "services", &given("Healthy"));
    for (hostname, endpoints) in [("strict.example", 2), ("failover.example", 2), ("any.example", 1)] {
        wait_service(&lab, hostname, |service| {
            service["endpoints"].as_object().is_some_and(|e| e.len() == endpoints)
        });
    }
    for _ in 0..8 {
        client.connect(at("10.97.0.1:80")).hear("near");
        client.connect(at("10.97.0.2:80")).hear("near");
    }
    give(&lab, "services", &given("Unhealthy"));
    wait_workload(&lab, &uid(&near), |workload| workload["status"] == "Unhealthy");
    for _ in 0..4 {
        client.connect(at("10.97.0.2:80")).hear("far_");
        client.connect(at("10.97.0.3:80")).hear("near");
    }
    let line = refused(&client, at("10.97.0.1:80"));
    assert!(line.text("error").contains("no healthy upstream"), "{line:?}");
    // Whoever wants the pod itself gets it.
    client.connect(near.at(7001)).hear("near");
}

pub(crate) fn a_recycled_address_never_meets_the_tunnel_of_who_had_it() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let (pod, echo) = (uncaptured(&lab, "host", "b"), uncaptured(&lab, "echo", "b"));
    let _echo = echo.serve(7001, Speaks::Echo);
    let account = |name: &str| format!("spiffe://cluster.local/ns/default/sa/{name}");
    let peer = Peer::start_as(&lab, &pod, 15008, &account("one"), Peers::Forward(echo.at(7001)));
    // The pod itself gives its address up: what lives there now is told by documents.
    let lives = |uid: &str, account: &str| {
        let own = format!("{{uid: {}, workloadIps: []}}", self::uid(&pod));
        give(
            &lab,
            "owner",
            &format!(
                "workloads: [{own}, {{uid: Kubernetes//Pod/default/{uid}, namespace: default, name: {uid}, \
                 serviceAccount: {account}, workloadIps: [{}], protocol: HBONE}}]",
                pod.ip()
            ),
        );
        wait_workload(&lab, &format!("Kubernetes//Pod/default/{uid}"), |_| true);
        wait_workload(&lab, &self::uid(&pod), |workload| {
            workload["workloadIps"].as_array().is_none_or(Vec::is_empty)
        });
    };
    lives("first", "one");
    let mut open = client.connect(pod.at(80));
    open.echo("hello");
    client.connect(pod.at(80)).echo("hello");
    assert_eq!(peer.connections(), 1, "one owner, one tunnel connection");

    lives("second", "one");
    lab.node("a").proxy().wait_no_workload("default", "first");
    client.connect(pod.at(80)).echo("hello");
    if ours() {
        assert_eq!(peer.connections(), 2, "the new owner is met anew, even under the same identity");
    }
    open.echo("what was open is not disturbed");

    lives("third", "two");
    lab.node("a").proxy().wait_no_workload("default", "second");
    let asked = peer.asked().len();
    let line = refused(&client, pod.at(80));
    assert!(line.text("error").contains("expected SAN"), "{line:?}");
    assert_eq!(peer.asked().len(), asked, "nothing reaches who had the address before");
}

fn asked_for(peer: &Peer) -> Vec<String> {
    peer.asked().into_iter().map(|asked| asked.authority).collect()
}

/// Uses a connection, ends it, and answers what the source's proxy said of it.
#[track_caller]
fn told(client: &Pod, mut conn: Conn) -> AccessLine {
    conn.echo("hello");
    let local = conn.local();
    drop(conn);
    line_of(&client.node().proxy(), local)
}
