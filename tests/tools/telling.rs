//! A lab whose proxies have something of everything to tell.

use tests::lab::{Conn, Lab, Pod, Server, Service, Speaks, eventually};

/// Both nodes call and are called, one pod is refused, and connections are open on both.
pub(crate) struct Telling {
    pub(crate) lab: Lab,
    pub(crate) web: [Pod; 2],
    pub(crate) service: Service,
    /// Open while the lab lives: from each node to the other's pod.
    _open: Vec<Conn>,
    _servers: Vec<Server>,
}

const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-strangers, namespace: default}
spec:
  selector: {matchLabels: {app: web-b}}
  action: DENY
  rules:
  - from:
    - source: {principals: ['cluster.local/ns/default/sa/stranger'], notNamespaces: ['kube-*']}
    - source: {ipBlocks: ['192.0.2.0/24'], notIpBlocks: ['192.0.2.7']}
    to: [{operation: {ports: ['7001'], notPorts: ['9999']}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: everything-for-all, namespace: default}
spec:
  action: ALLOW
  rules:
  - from: [{source: {principals: ['*']}}]
  - to: [{operation: {ports: ['7001', '8080']}}]
";

impl Telling {
    pub(crate) fn start() -> Self {
        let lab = Lab::new().start();
        lab.enroll_namespace("default");
        let captured = |name: &str, node: &str, tier: &str| {
            let pod = lab.pod(name).on(node).label("tier", tier).create();
            pod.wait_enrolled();
            pod
        };
        let web = [captured("web-a", "a", "web"), captured("web-b", "b", "web")];
        let stranger = captured("stranger", "a", "none");
        let service = lab.service("web").select("tier", "web").port(80, 7001).create();
        for node in lab.nodes() {
            node.proxy().wait_service("default", "web", 2);
        }
        lab.apply_policy(POLICIES, "default/no-strangers");
        lab.wait_policy("default/everything-for-all", true);
        let servers = web.iter().map(|pod| pod.serve(7001, Speaks::Echo)).collect();
        let [a, b] = &web;
        let mut open = vec![a.connect(b.at(7001)), b.connect(a.at(7001)), a.connect(service.at(80))];
        for conn in &mut open {
            conn.echo("hello");
        }
        for _ in 0..3 {
            let refused = stranger.try_connect(b.at(7001)).and_then(|mut conn| conn.try_say("x"));
            drop(refused);
        }
        let mut done = a.connect(b.at(7001));
        done.echo("and goodbye");
        done.finish();
        done.rest();
        eventually("both nodes have told of a connection", || {
            let told = lab.nodes().iter().all(|node| {
                let metrics = node.proxy().metrics();
                metrics.sum("istio_tcp_connections_closed_total", &[]) >= 1.0
            });
            if told { Ok(()) } else { Err("not yet") }
        });
        Self { lab, web, service, _open: open, _servers: servers }
    }
}
