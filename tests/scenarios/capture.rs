//! Captured and uncaptured pods reach each other, and captured ones only through the tunnel.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::lab::{End, Families, Lab, Pod, Program, Speaks, always, binaries, eventually};
use tests::sample_app;

use super::{captured, meshed, meshed_with, uncaptured, url};

pub(crate) fn every_pair_of_pods_talks_and_captured_pairs_over_hbone() {
    let lab = meshed();
    let clients = [(captured(&lab, "in", "a"), true), (uncaptured(&lab, "out", "a"), false)];
    let servers = [
        (captured(&lab, "in-near", "a"), true),
        (captured(&lab, "in-far", "b"), true),
        (uncaptured(&lab, "out-near", "a"), false),
        (uncaptured(&lab, "out-far", "b"), false),
    ];
    for (server, server_in) in &servers {
        let service = lab.service(server.name()).port(80, 7001).port(81, 7002).create();
        service.wait_endpoints(1);
        let echo = server.serve(7001, Speaks::Echo);
        let first = server.serve(7002, Speaks::First("welcome"));
        for (client, client_in) in &clients {
            let mut ways = vec![("by address", server.at(7001), server.at(7002))];
            // Who resolves a virtual address is the mesh: an uncaptured pod has none.
            if *client_in {
                ways.push(("by service", service.at(80), service.at(81)));
            }
            for (way, talks, greets) in ways {
                let row = format!("{} to {} {way}", client.name(), server.name());
                let before = tunnels(&lab, client, server);
                client.connect(talks).echo(&row);
                client.connect(greets).hear("welcome").echo(&row);
                for peer in [echo.served().last(), first.served().last()] {
                    assert_eq!(
                        peer.expect("a connection").peer.ip(),
                        client.ip(),
                        "{row}: the source address"
                    );
                }
                let want = if *client_in && *server_in { before + 2.0 } else { before };
                eventually(&row, || match tunnels(&lab, client, server) {
                    have if have.total_cmp(&want).is_eq() => Ok(()),
                    have => Err(format!("{have} tunnels, want {want}")),
                });
            }
        }
    }
}

pub(crate) fn a_pod_is_told_whether_it_is_captured() {
    let lab = meshed();
    let told = |pod: &Pod| {
        let mut command = Program::new(binaries::proxy_of("a")).arg("captured").command();
        let output = pod.run(|| command.stdin(Stdio::null()).output()).expect("the proxy's binary runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, said) = told(&captured(&lab, "in", "a"));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("192.0.2.1:9"), "{said}");
    let (code, said) = told(&uncaptured(&lab, "out", "a"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("do not come to a node proxy"), "{said}");
}

/// Connections that the source's proxy has counted from one pod to another over mutual TLS.
fn tunnels(lab: &Lab, client: &Pod, server: &Pod) -> f64 {
    lab.node(client.node().name()).proxy().metrics().sum(
        "istio_tcp_connections_opened_total",
        &[
            ("reporter", "source"),
            ("source_workload", client.name()),
            ("destination_workload", server.name()),
            ("connection_security_policy", "mutual_tls"),
        ],
    )
}

pub(crate) fn a_page_crosses_between_nodes_only_inside_the_tunnel() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("blue");
    let service = lab.service("web").port(8080, "http").create();
    service.wait_endpoints(1);
    let capture = lab.capture();
    let page = client.curl(&[&url(service.at(8080), "/")]);
    let seen = capture.finish().between(&[client.ip(), server.ip()]);
    assert_eq!((page.status, page.body), (200, sample_app::page("blue")));
    assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [15008]);
    assert!(!seen.holds("sample-app is blue"), "the page's text crossed in the clear");
    assert!(
        seen.bytes() > sample_app::page("blue").len(),
        "the page must have crossed: {} bytes",
        seen.bytes()
    );
}

pub(crate) fn a_service_spreads_over_its_pods_on_both_nodes() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    for (name, node, color) in [("web-1", "a", "blue"), ("web-2", "b", "green")] {
        let pod = lab.pod(name).on(node).label("app", "web").create();
        pod.wait_enrolled();
        pod.sample_app(color);
    }
    let service = lab.service("web").port(80, 8080).create();
    service.wait_endpoints(2);
    let mut missing = vec!["blue", "green"];
    eventually("every pod of the service answers", || {
        let answer = client.curl(&[&url(service.at(80), "/color")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        missing.retain(|color| *color != answer.body);
        if missing.is_empty() { Ok(()) } else { Err(format!("not seen: {missing:?}")) }
    });
}

pub(crate) fn the_pods_of_a_service_are_replaced_without_a_failed_connection() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let service = lab.service("web").port(80, 8080).create();
    let another = |name: &str, node: &str| {
        // An endpoint only once it serves.
        let pod = captured(&lab, name, node);
        let server = pod.serve(8080, Speaks::Echo);
        pod.relabel("app", Some("web"));
        (pod, server)
    };
    let mut serving = another("web-0", "b");
    service.wait_endpoints(1);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut served = 0;
            while !over.load(Ordering::Relaxed) {
                client.connect(service.at(80)).echo("hello");
                served += 1;
            }
            served
        });
        for (name, node) in [("web-1", "a"), ("web-2", "b"), ("web-3", "a")] {
            let next = another(name, node);
            service.wait_endpoints(2);
            // As a rollout does: no endpoint any more, and gone a while later.
            let (old, _server) = std::mem::replace(&mut serving, next);
            old.relabel("app", Some("leaving"));
            for proxy in lab.nodes().iter().map(|node| node.proxy()) {
                proxy.wait_dump("has one endpoint left", |dump| {
                    let services = dump["services"].as_array().cloned().unwrap_or_default();
                    let web = services.iter().find(|service| service["name"] == "web");
                    let left =
                        web.and_then(|web| web["endpoints"].as_object()).map_or(0, serde_json::Map::len);
                    if left == 1 { Ok(()) } else { Err(format!("{left}")) }
                });
            }
            always(Duration::from_millis(300), "calls go on", || {
                if calls.is_finished() { Err("one has failed") } else { Ok(()) }
            });
            old.delete();
        }
        over.store(true, Ordering::Relaxed);
        assert!(calls.join().expect("every call is served") > 10);
    });
}

pub(crate) fn a_blocked_tunnel_port_is_told_as_such() {
    let lab = Lab::new().proxy_env("ADIT_CONNECT_TIMEOUT", "1s").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let _echo = server.serve(7001, Speaks::Echo);
    // What a NetworkPolicy that knows nothing of the mesh comes to.
    let block = ["-w", "-I", "INPUT", "-p", "tcp", "--dport", "15008", "-j", "DROP"];
    let status = server.run(|| std::process::Command::new("iptables").args(block).status());
    assert!(status.expect("iptables").success());
    let (heard, end) = client.connect(server.at(7001)).rest();
    assert!(heard.is_empty(), "{heard:?}");
    if binaries::is_ours("a") {
        assert_eq!(end, End::Reset);
    }
    let line = eventually("the timeout is on record", || {
        let lines = client.node().proxy().access_log();
        lines.into_iter().find(|line| line.text("src.workload") == "client").ok_or("no line")
    });
    let why = line.text("error");
    assert!(
        why.contains("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008"),
        "{why}"
    );
}

pub(crate) fn an_unknown_address_of_the_mesh_is_refused_where_that_is_asked_for() {
    let lab =
        Lab::new().proxy_env("ADIT_MESH_CIDRS", "10.1.0.0/16").proxy_env("ADIT_UNKNOWN_IN_MESH", "enforce");
    let lab = lab.start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let _echo = server.serve(7001, Speaks::Echo);
    client.connect(server.at(7001)).echo("what is known is served");
    let nobody = SocketAddr::new("10.1.77.7".parse().expect("an address"), 7001);
    assert_eq!(client.connect(nobody).rest(), (String::new(), End::Reset));
    let line = eventually("the refusal is on record", || {
        let lines = client.node().proxy().process().log();
        lines
            .lines()
            .find(|line| line.contains("unknown destination of the mesh"))
            .map(str::to_owned)
            .ok_or("no line")
    });
    assert!(line.contains("10.1.77.7:7001"), "{line}");
}

pub(crate) fn the_application_sees_the_address_of_the_client() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    for (name, node) in [("near", "a"), ("far", "b")] {
        let server = captured(&lab, name, node);
        server.sample_app("blue");
        let peer = client.curl(&[&url(server.at(8080), "/peer")]);
        assert!(peer.body.starts_with(&format!("{}:", client.ip())), "{name}: {peer:?}");
    }
}

pub(crate) fn many_bytes_and_many_connections_arrive_whole() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("blue");
    let big = 20_000_000;
    let answer = client.curl(&[&url(server.at(8080), &format!("/big?bytes={big}"))]);
    assert_eq!((answer.status, answer.body.len()), (200, big));
    std::fs::write("/run/lab/upload", "x".repeat(5_000_000)).expect("a file to send");
    let echoed = client.curl(&["--data-binary", "@/run/lab/upload", &url(server.at(8080), "/echo")]);
    assert_eq!((echoed.status, echoed.body.len()), (200, 5_000_000));
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open: Vec<_> = (0..150).map(|_| client.connect(server.at(7001))).collect();
    for (number, conn) in open.iter_mut().enumerate() {
        conn.echo(&format!("connection {number}"));
    }
}

pub(crate) fn an_unknown_destination_passes_through() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let node = lab.node("b");
    // A node's own address is no workload.
    let _server = tests::lab::Server::start(node.netns(), 7001, Speaks::Echo);
    client.connect(SocketAddr::new(node.ip(), 7001)).echo("hello");
}

pub(crate) fn a_workload_outside_the_cluster_serves_behind_a_service() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let node = lab.node("b");
    let _server = tests::lab::Server::start(node.netns(), 7001, Speaks::Echo);
    lab.apply(&format!(
        "apiVersion: adit.dev/v1alpha1
kind: MeshResources
metadata: {{name: outside}}
workloads: [{{uid: cluster/outside/legacy, name: legacy, namespace: default, workloadIps: ['{}'],
              services: {{default/legacy.example: {{80: 7001}}}}}}]
services: [{{name: legacy, namespace: default, hostname: legacy.example, vips: [/10.96.9.9], ports: {{80: 7001}}}}]",
        node.ip()
    ));
    lab.node("a").proxy().wait_service("default", "legacy", 1);
    client.connect("10.96.9.9:80".parse().expect("an address")).echo("hello");
}

pub(crate) fn datagrams_are_left_alone() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let socket = |pod: &Pod, port: u16| {
        let at = SocketAddr::new(pod.ip(), port);
        let socket = pod.run(|| UdpSocket::bind(at)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket
    };
    let (here, there) = (socket(&client, 5000), socket(&server, 5001));
    here.send_to(b"ping", server.at(5001)).expect("a datagram");
    let mut buffer = [0; 16];
    let (size, from) = there.recv_from(&mut buffer).expect("the datagram arrives");
    assert_eq!((&buffer[..size], from), (&b"ping"[..], client.at(5000)));
    there.send_to(b"pong", from).expect("an answer");
    let (size, from) = here.recv_from(&mut buffer).expect("the answer arrives");
    assert_eq!((&buffer[..size], from), (&b"pong"[..], server.at(5001)));
}

pub(crate) fn our_own_ports_are_not_a_destination() {
    let lab = meshed();
    let clients = [captured(&lab, "in", "a"), uncaptured(&lab, "out", "a")];
    let server = captured(&lab, "web", "b");
    for client in &clients {
        for port in [15001, 15006] {
            let Ok(mut conn) = client.try_connect(server.at(port)) else {
                continue;
            };
            // Accepted by a proxy, then ended: no byte may come back and nothing may loop.
            let _ = conn.try_say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(conn.rest().0, "", "{} to port {port}", client.name());
        }
    }
    for node in lab.nodes() {
        node.proxy().process().assert_running();
    }
}

pub(crate) fn ipv6_pods_talk_over_hbone() {
    let lab = meshed_with(Families::Dual);
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("blue");
    for address in server.ips() {
        let capture = lab.capture();
        let at = SocketAddr::new(address, 8080);
        let answer = client.curl(&["-g", &url(at, "/color")]);
        let seen = capture.finish().between(&[client.ips(), server.ips()].concat());
        assert_eq!((answer.status, answer.body.as_str()), (200, "blue"), "{at}: {answer:?}");
        assert_eq!(seen.server_ports().into_iter().collect::<Vec<_>>(), [15008], "{at}");
    }
}

pub(crate) fn ipv6_alone_is_enough() {
    let lab = meshed_with(Families::V6);
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    server.sample_app("green");
    let service = lab.service("web").port(80, 8080).create();
    service.wait_endpoints(1);
    for at in [server.at(8080), service.at(80)] {
        let peer = client.curl(&["-g", &url(at, "/peer")]);
        assert!(peer.body.starts_with(&format!("[{}]:", client.ip())), "{at}: {peer:?}");
    }
}
