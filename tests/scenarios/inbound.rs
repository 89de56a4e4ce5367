//! What may come in, where it lands, and the proxy's other doors.

pub(crate) mod dedicated;
pub(crate) mod doors;
pub(crate) mod socks5;

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use tests::lab::hbone::Hbone;
use tests::lab::{Lab, Pod, Speaks, binaries, eventually};

use super::policy::DENY;
use super::{captured, meshed, uncaptured, url};

pub(crate) fn an_application_behind_a_proxy_tunnel_gets_its_header_over_loopback() {
    let (_lab, client, server) = tunneled(Lab::new().start());
    let app = server.serve(15088, Speaks::Echo);
    let mut conn = client.connect(server.at(8080));
    conn.say("hello");
    let header = Header::echoed(&mut conn);
    conn.hear("hello");
    assert_eq!(header.source.ip(), client.ip());
    assert_eq!(header.destination, server.at(8080));
    assert_eq!(header.identity, client.identity());
    assert!(app.served()[0].peer.ip().is_loopback(), "{:?}", app.served());
}

pub(crate) fn an_application_behind_a_proxy_tunnel_may_listen_at_the_pod_s_address() {
    let lab = Lab::new().proxy_env("LOCALHOST_APP_TUNNEL", "false").start();
    let (_lab, client, server) = tunneled(lab);
    let app = server.serve(15088, Speaks::Echo);
    let mut conn = client.connect(server.at(8080));
    conn.say("hello");
    assert_eq!(Header::echoed(&mut conn).identity, client.identity());
    assert_eq!(app.served()[0].peer.ip(), client.ip(), "the application sees who it is");
}

pub(crate) fn a_captured_waypoint_takes_what_it_fronts() {
    let lab = meshed();
    let (client, waypoint) = (captured(&lab, "client", "a"), captured(&lab, "waypoint", "b"));
    let server = captured(&lab, "web", "b");
    let service = lab.service("web").port(80, 7001).create();
    service.wait_endpoints(1);
    let fronted = waypoint.serve(7001, Speaks::First("waypoint"));
    let by_vip = waypoint.serve(80, Speaks::First("waypoint"));
    let gateway = format!("{{destination: '/{}', hboneMtlsPort: 15008}}", waypoint.ip());
    give(
        &lab,
        &format!(
            "workloads: [{{uid: '{}', waypoint: {gateway}}}]
services: [{{name: web, namespace: default, hostname: {}, waypoint: {gateway}}}]",
            uid(&server),
            service.host()
        ),
    );
    wait_workload(&lab, &server, |workload| workload["waypoint"].is_object());
    client.connect(server.at(7001)).hear("waypoint").echo("by address");
    client.connect(service.at(80)).hear("waypoint").echo("by service");
    assert_eq!((fronted.served().len(), by_vip.served().len()), (1, 1));
}

pub(crate) fn a_captured_waypoint_with_a_share_takes_it() {
    let lab = meshed();
    let (client, waypoint) = (captured(&lab, "client", "a"), captured(&lab, "waypoint", "b"));
    let server = captured(&lab, "web", "b");
    let service = lab.service("web").port(80, 7001).create();
    service.wait_endpoints(1);
    let app = waypoint.serve(80, Speaks::First("waypoint"));
    give(
        &lab,
        &format!(
            "services: [{{name: web, namespace: default, hostname: {}, weightedWaypoints: [{{weight: 1, \
             destination: {{destination: '/{}', hboneMtlsPort: 15008}}}}]}}]",
            service.host(),
            waypoint.ip()
        ),
    );
    for node in lab.nodes() {
        node.proxy().wait_dump("knows the share", |dump| {
            let all = dump["services"].as_array().cloned().unwrap_or_default();
            let found = all.iter().find(|found| found["hostname"] == service.host());
            match found.map(|found| &found["weightedWaypoints"]) {
                Some(Value::Array(shares)) if !shares.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    if binaries::is_ours("b") {
        client.connect(service.at(80)).hear("waypoint").echo("by service");
        assert_eq!(app.served().len(), 1);
    }
    drop(server);
}

pub(crate) fn a_stream_for_a_service_by_name_lands_at_the_pod_s_own_port() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let outside = uncaptured(&lab, "outside", "a");
    let service = lab.service("web").port(80, 7001).port(81, "http").create();
    service.wait_endpoints(1);
    let numbered = server.serve(7001, Speaks::Counts);
    let named = server.serve(8080, Speaks::Counts);
    let peer = peer(&lab, &outside, &client, &server);
    let host = service.host();
    for (port, app) in [(80, &numbered), (81, &named)] {
        let answer = peer.ask(&format!("{host}:{port}"), "hello");
        assert_eq!(answer, Ok((200, b"5".to_vec())), "port {port}");
        assert_eq!(app.served().len(), 1, "port {port}");
    }
    for authority in [format!("{host}:82"), "nobody.default.svc.cluster.local:80".to_owned()] {
        assert_eq!(peer.ask(&authority, "hello").map(|(status, _)| status), Ok(503), "{authority}");
    }
}

pub(crate) fn a_stream_that_is_refused_is_told_why_by_its_status() {
    let lab = meshed();
    let (client, deny) = (captured(&lab, "client", "a"), captured(&lab, "curl-deny", "a"));
    let server = lab.pod("web").on("b").label("app", "handson").create();
    server.wait_enrolled();
    let outside = uncaptured(&lab, "outside", "a");
    let app = server.serve(8080, Speaks::Echo);
    let peer_of = |pod: &Pod| peer(&lab, &outside, pod, &server);
    let peer = peer_of(&client);
    let own = |port: u16| server.at(port).to_string();
    let asked = |peer: &Hbone, authority: &str| peer.ask(authority, "hello").map(|(status, _)| status);
    assert_eq!(peer.ask(&own(8080), "hello"), Ok((200, b"hello".to_vec())));
    assert_eq!(asked(&peer, &client.at(8080).to_string()), Ok(400), "another address");
    let log = lab.node("b").proxy();
    let mismatch = format!("ip mismatch: {} != {}", server.ip(), client.ip());
    let ours = format!("ip mismatch: {} != {}", client.ip(), server.ip());
    eventually("the log tells of the mismatch", || {
        let log = log.process().log();
        if log.contains(&mismatch) || log.contains(&ours) { Ok(()) } else { Err("not a word") }
    });
    assert_eq!(asked(&peer, "web"), Ok(400), "no port");
    let post = peer.request(http::Method::POST, &own(8080), "").map(|(status, _)| status);
    assert_eq!(post, Ok(400), "another method");
    for port in [15001, 15006, 15008] {
        assert_eq!(asked(&peer, &own(port)), Ok(503), "our own port {port}");
    }
    assert_eq!(asked(&peer, &own(7999)), Ok(503), "nobody listens");
    lab.apply_policy(DENY, "default/layer4-authz");
    assert_eq!(asked(&peer_of(&deny), &own(8080)), Ok(401), "policy");
    assert_eq!(asked(&peer, &own(8080)), Ok(200), "nobody's policy");
    assert_eq!(app.served().len(), 2);
    eventually("the log tells of the refusal", || {
        let lines = log.access_log();
        let refused = lines.iter().find(|line| line.text("src.identity") == deny.identity());
        let refused = refused.ok_or("no line")?;
        let why = refused.text("error");
        if why.contains("explicitly denied by: default/layer4-authz") {
            Ok(())
        } else {
            Err("another reason")
        }
    });
    // The connection is there, and the control plane forgets whom it is to.
    give(&lab, &format!("workloads: [{{uid: '{}', name: renamed}}]", uid(&server)));
    lab.node("b").proxy().wait_no_workload("default", "web");
    assert_eq!(asked(&peer, &own(8080)), Ok(503), "an unknown workload");
}

pub(crate) fn the_proxy_s_metrics_are_scraped_through_its_own_tunnel_and_policy() {
    let lab = meshed();
    let (client, deny) = (captured(&lab, "client", "a"), captured(&lab, "deny", "a"));
    let node = lab.node("b");
    let itself = format!("ztunnel-{}", node.name());
    lab.create_namespace("istio-system");
    give(
        &lab,
        &format!(
            "workloads: [{{uid: 'Kubernetes//Pod/istio-system/{itself}', name: {itself}, namespace: istio-system, \
             serviceAccount: ztunnel, workloadIps: ['{}'], node: {}, protocol: HBONE}}]",
            node.ip(),
            node.name()
        ),
    );
    for node in lab.nodes() {
        node.proxy().wait_workload("istio-system", &itself, "HBONE");
    }
    let metrics = SocketAddr::new(node.ip(), 15020);
    let page = client.curl(&[&url(metrics, "/metrics")]);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("# TYPE"), "{}", page.body);
    let line = eventually("the scrape's line", || {
        let lines = node.proxy().access_log();
        let found = lines.into_iter().find(|line| line.is_inbound() && line.text("dst.workload") == itself);
        found.ok_or("not there")
    });
    assert_eq!(line.text("src.workload"), "client");
    assert_eq!(line.text("src.identity"), client.identity());
    assert_eq!(line.text("dst.identity"), "spiffe://cluster.local/ns/istio-system/sa/ztunnel");
    assert_eq!(line.text("dst.addr"), SocketAddr::new(node.ip(), 15008).to_string());
    assert_eq!(line.text("dst.hbone_addr"), metrics.to_string());
    lab.apply_policy(SCRAPERS, "istio-system/scrapers");
    assert_eq!(client.curl(&[&url(metrics, "/metrics")]).status, 200);
    assert_eq!(deny.curl(&[&url(metrics, "/metrics")]).status, 0, "no scraper");
}

/// Only `client` scrapes the proxies.
const SCRAPERS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: scrapers, namespace: istio-system}
spec:
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/client]}}]
    to: [{operation: {ports: ['15020']}}]
";

pub(crate) fn a_client_of_another_network_is_known_by_what_it_says_of_itself() {
    let lab = meshed();
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let outside = uncaptured(&lab, "outside", "a");
    let _app = server.serve(8080, Speaks::Echo);
    let peer = peer(&lab, &outside, &client, &server);
    let said = "k8s.cluster.name=far,k8s.namespace.name=away,k8s.deployment.name=caller,service.name=shop";
    let (at, far) = (server.at(8080).to_string(), ("x-forwarded-network", "far-network"));
    let headers = peer.tell(&at, &[("baggage", said), far], "hello");
    let about = headers.get("baggage").and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert!(about.contains("k8s.namespace.name=default"), "the answer describes the server: {about:?}");
    // Of this network, or of none in particular, the address says who it is, whatever else is said.
    peer.tell(&at, &[("baggage", said), ("x-forwarded-network", "")], "hello");
    peer.tell(&at, &[("baggage", said)], "hello");
    let opened = |namespace: &str, workload: &str| {
        let labels = [
            ("reporter", "destination"),
            ("source_workload_namespace", namespace),
            ("source_workload", workload),
            ("destination_workload", "web"),
        ];
        server.node().proxy().metrics().sum("istio_tcp_connections_opened_total", &labels)
    };
    assert_eq!((opened("away", "caller"), opened("default", "outside")), (1.0, 2.0));
}

pub(crate) fn what_answers_is_not_described_where_that_is_switched_off() {
    let lab = Lab::new().proxy_env("ENABLE_RESPONSE_BAGGAGE", "false").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let outside = uncaptured(&lab, "outside", "a");
    let _app = server.serve(8080, Speaks::Echo);
    let headers = peer(&lab, &outside, &client, &server).tell(&server.at(8080).to_string(), &[], "hello");
    assert!(!headers.contains_key("baggage"), "{headers:?}");
    client.connect(server.at(8080)).echo("proxies do without it");
}

/// Client and server, whose application takes PROXY protocol on port 15088.
fn tunneled(lab: Lab) -> (Lab, Pod, Pod) {
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let tunnel = "applicationTunnel: {protocol: PROXY, port: 15088}";
    give(&lab, &format!("workloads: [{{uid: '{}', {tunnel}}}]", uid(&server)));
    wait_workload(&lab, &server, |workload| workload["applicationTunnel"]["protocol"] == "PROXY");
    (lab, client, server)
}

/// A connection by hand to the tunnel port of `server`, under the identity of `client`, from the pod `outside`.
#[track_caller]
fn peer(lab: &Lab, outside: &Pod, client: &Pod, server: &Pod) -> Hbone {
    let identity = lab.control().issue(&client.identity());
    Hbone::connect(outside.netns(), server.at(15008), &identity).unwrap_or_else(|e| panic!("{e}"))
}

/// A PROXY protocol header, as an application reads it.
struct Header {
    source: SocketAddr,
    destination: SocketAddr,
    identity: String,
}

impl Header {
    /// Reads the header that an echo server sent back.
    #[track_caller]
    fn echoed(conn: &mut tests::lab::Conn) -> Self {
        let start = conn.hear_bytes(16);
        assert_eq!(&start[..12], b"\r\n\r\n\0\r\nQUIT\n", "the signature");
        assert_eq!(&start[12..14], [0x21, 0x11], "version 2, a stream over IPv4");
        let rest = conn.hear_bytes(usize::from(u16::from_be_bytes([start[14], start[15]])));
        let address = |at: usize, port: usize| {
            let ip: [u8; 4] = rest[at..at + 4].try_into().expect("four bytes");
            SocketAddr::new(IpAddr::from(ip), u16::from_be_bytes([rest[port], rest[port + 1]]))
        };
        assert_eq!(rest[12], 0xd0, "the source's identity follows");
        let length = usize::from(u16::from_be_bytes([rest[13], rest[14]]));
        assert_eq!(rest.len(), 15 + length, "and nothing else");
        Self {
            source: address(0, 8),
            destination: address(4, 10),
            identity: String::from_utf8(rest[15..].to_vec()).expect("text"),
        }
    }
}

/// Applies what Kubernetes objects cannot say, in place of what was said before.
#[track_caller]
fn give(lab: &Lab, entries: &str) {
    lab.apply(&format!(
        "apiVersion: adit.dev/v1alpha1\nkind: MeshResources\nmetadata: {{name: inbound}}\n{entries}"
    ));
}

/// The uid that the control plane gives a pod.
fn uid(pod: &Pod) -> String {
    format!("Kubernetes//Pod/{}/{}", pod.namespace(), pod.name())
}

/// Waits until the proxies know a pod's workload as `look` wants it.
#[track_caller]
fn wait_workload(lab: &Lab, pod: &Pod, look: impl Fn(&Value) -> bool) {
    let uid = uid(pod);
    for node in lab.nodes() {
        node.proxy().wait_dump(&format!("has {uid} as it should be"), |dump| {
            let all = dump["workloads"].as_array().cloned().unwrap_or_default();
            let found = all.iter().find(|workload| workload["uid"] == *uid).ok_or("no such workload")?;
            if look(found) { Ok(()) } else { Err(found.to_string()) }
        });
    }
}
