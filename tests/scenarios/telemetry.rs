//! What a proxy says of the traffic it carried, in the words that tools read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tests::lab::http::{self, curl};
use tests::lab::observe::{AccessLine, Sample};
use tests::lab::{Conn, Lab, Pod, Proxy, Speaks, eventually, eventually_is};

use super::policy::{DENIED, DENY, SERVED, Story};
use super::{captured, meshed, uncaptured, url};

pub(crate) fn a_denied_request_leaves_two_lines_inbound_first() {
    // As in the tutorial: everything on one node, so both lines are one proxy's.
    let story = Story::on("a", "a");
    story.lab.apply_policy(DENY, "default/layer4-authz");
    let proxy = story.lab.node("a").proxy();
    let before = proxy.access_log().len();
    story.expect(&story.deny, DENIED);
    let lines = lines(&proxy, before, 2);
    let (inbound, outbound) = (&lines[0], &lines[1]);
    assert_eq!((inbound.text("direction"), outbound.text("direction")), ("inbound", "outbound"));
    for line in [inbound, outbound] {
        let text = |field| line.text(field).to_owned();
        assert_eq!(text("level"), "error");
        assert!(text("src.addr").starts_with(&format!("{}:", story.deny.ip())), "{line:?}");
        assert_eq!(text("src.workload"), "curl-deny");
        assert_eq!(text("src.identity"), story.deny.identity());
        assert_eq!(text("dst.addr"), story.app.at(15008).to_string());
        assert_eq!(text("dst.hbone_addr"), story.app.at(8080).to_string());
        assert_eq!(text("dst.service"), story.service.host());
        assert_eq!(text("dst.workload"), "handson-blue");
        assert_eq!(text("dst.identity"), story.app.identity());
        assert_eq!((line.number("bytes_sent"), line.number("bytes_recv")), (Some(0), Some(0)));
    }
    let refusal = inbound.text("error");
    assert!(refusal.contains("connection closed due to policy rejection"), "{refusal}");
    assert!(refusal.contains("explicitly denied by: default/layer4-authz"), "{refusal}");
    assert_eq!(outbound.text("error"), "http status: 401 Unauthorized");
}

pub(crate) fn both_reporters_count_a_connection_once() {
    let story = Story::on("a", "b");
    story.expect(&story.allow, SERVED);
    for (reporter, node) in [("source", "a"), ("destination", "b")] {
        let proxy = story.lab.node(node).proxy();
        let labels = [
            ("reporter", reporter),
            ("source_workload", "curl-allow"),
            ("source_principal", &*story.allow.identity()),
            ("destination_workload", "handson-blue"),
            ("destination_principal", &*story.app.identity()),
            ("destination_service", &*story.service.host()),
            ("destination_service_name", "handson"),
            ("destination_service_namespace", "default"),
            ("request_protocol", "tcp"),
            ("connection_security_policy", "mutual_tls"),
        ];
        let both = [&labels[..], &[("response_flags", "-")]].concat();
        for (name, labels) in [
            ("istio_tcp_connections_opened_total", &labels[..]),
            ("istio_tcp_connections_closed_total", &both[..]),
        ] {
            eventually_is(format_args!("{name} of the {reporter}"), Some("1".to_owned()), || {
                let sum = proxy.metrics().sum(name, labels);
                Some(sum.to_string())
            });
        }
        let metrics = proxy.metrics();
        // Received is what went towards the application, for both reporters.
        let (received, sent) = (
            metrics.sum("istio_tcp_received_bytes_total", &labels),
            metrics.sum("istio_tcp_sent_bytes_total", &labels),
        );
        assert!(received > 50.0 && sent > 100.0, "{reporter}: received {received}, sent {sent}");
    }
}

pub(crate) fn the_dump_shows_what_istioctl_reads() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = captured(&lab, "web", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("hello");
    let dump = lab.node("a").proxy().config_dump().unwrap_or_else(|e| panic!("{e}"));
    let web = find(&dump["workloads"], "name", "web");
    assert_eq!(web["workloadIps"], serde_json::json!([server.ip().to_string()]));
    assert_eq!((&web["protocol"], &web["node"]), (&Value::from("HBONE"), &Value::from("b")));
    let certificate = find(&dump["certificates"], "identity", &client.identity());
    assert_eq!(certificate["state"], "Available");
    assert!(!certificate["certChain"].as_array().expect("a chain").is_empty());
    let state = &dump["workloadState"][client.uid()];
    assert_eq!((&state["state"], &state["info"]["name"]), (&Value::from("Up"), &Value::from("client")));
    let outbound = &state["connections"]["outbound"][0];
    assert_eq!(outbound["protocol"], "HBONE", "{state}");
    assert_eq!(outbound["originalDst"], server.at(7001).to_string(), "{state}");
    assert_eq!(client.curl(&["--connect-timeout", "1", &url(client.at(15000), "/config_dump")]).status, 0);
}

/// Istio's own test of L4 telemetry asks for these, of both reporters.
const ASKED: [&str; 17] = [
    "source_workload",
    "source_workload_namespace",
    "source_canonical_service",
    "source_canonical_revision",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "request_protocol",
];

pub(crate) fn both_reporters_give_every_pair_the_same_known_labels() {
    let lab = meshed();
    let pods = [captured(&lab, "one", "a"), captured(&lab, "two", "a"), captured(&lab, "three", "b")];
    let _servers: Vec<_> = pods.iter().map(|pod| pod.serve(7001, Speaks::Echo)).collect();
    let service = lab.service("three").port(80, 7001).create();
    service.wait_endpoints(1);
    for client in &pods {
        for server in others(&pods, client) {
            finish(client.connect(server.at(7001)));
        }
        finish(client.connect(service.at(80)));
    }
    for client in &pods {
        for server in others(&pods, client) {
            let pair = [("source_workload", client.name()), ("destination_workload", server.name())];
            let told = |reporter, node: &str| {
                let proxy = lab.node(node).proxy();
                let labels = [&pair[..], &[("reporter", reporter), ("response_flags", "-")]].concat();
                series(&proxy, "istio_tcp_connections_closed_total", &labels)
            };
            let by_source = told("source", client.node().name());
            let by_destination = told("destination", server.node().name());
            let known = |sample: &Sample| -> Vec<_> {
                ASKED.iter().map(|label| (*label, sample.labels[*label].clone())).collect()
            };
            for labels in [known(&by_source), known(&by_destination)] {
                assert!(
                    labels.iter().all(|(_, value)| value != "unknown" && !value.is_empty()),
                    "{labels:?}"
                );
            }
            assert_eq!(known(&by_source), known(&by_destination));
            assert_eq!(by_source.labels["source_principal"], client.identity());
            assert_eq!(by_source.labels["destination_principal"], server.identity());
            assert_eq!(by_source.labels["source_cluster"], "Kubernetes");
            assert_eq!(by_source.labels["connection_security_policy"], "mutual_tls");
        }
    }
    let asked_for = [("destination_service", &*service.host()), ("destination_service_name", "three")];
    for (node, reporter) in [("a", "source"), ("b", "destination")] {
        let labels = [&asked_for[..], &[("reporter", reporter), ("source_workload", "one")]].concat();
        series(&lab.node(node).proxy(), "istio_tcp_connections_closed_total", &labels);
    }
}

pub(crate) fn a_failure_is_counted_once_and_told_once_whatever_its_reason() {
    let lab = Lab::new().proxy_env("ADIT_CONNECT_TIMEOUT", "1s").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let stranger = uncaptured(&lab, "stranger", "a");
    let empty = lab.service("empty").port(80, 7001).create();
    lab.node("a").proxy().wait_service("default", "empty", 0);
    lab.apply_policy(NO_7002, "default/no-7002");
    let (a, b) = (lab.node("a").proxy(), lab.node("b").proxy());

    // No endpoint: known before there is a route.
    provoke(&client, empty.at(80));
    failed(&a, "source", "NO_ENDPOINT", "connection failed", "no healthy upstream");
    // Our own port: known before anything is.
    provoke(&client, SocketAddr::from(([127, 0, 0, 1], 15001)));
    failed(&a, "source", "SELF_CALL", "connection failed", "attempted recursive call to ourselves");
    // Nobody listens at the application: both sides tell.
    provoke(&client, server.at(7009));
    failed(&b, "destination", "CONNECT", "connection complete", "connection failed");
    failed(&a, "source", "CONNECT", "connection complete", "http status: 503 Service Unavailable");
    // Policy.
    provoke(&client, server.at(7002));
    failed(&b, "destination", "DENY", "connection complete", "explicitly denied by: default/no-7002");
    // Bytes that are no handshake, at the tunnel port.
    provoke(&stranger, server.at(15008));
    failed(&b, "destination", "TLS_FAILURE", "connection failed", "tls handshake error");
    // The port for plain text in, asked for by itself.
    provoke(&client, SocketAddr::from(([127, 0, 0, 1], 15006)));
    failed(&a, "destination", "SELF_CALL", "connection failed", "15006");
}

/// A pod's own traffic to itself does not leave it.
fn others<'a>(pods: &'a [Pod], pod: &'a Pod) -> impl Iterator<Item = &'a Pod> {
    pods.iter().filter(|other| other.uid() != pod.uid())
}

const NO_7002: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-7002, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {ports: ['7002']}}]
";

/// Says something on a connection that comes to nothing, and waits for its end.
fn provoke(client: &Pod, to: SocketAddr) {
    if let Ok(mut conn) = client.try_connect(to) {
        let _ = conn.try_say("GET / HTTP/1.1\r\n\r\n");
        conn.rest();
    }
}

/// One more failure with this flag, and one line that says why.
#[track_caller]
fn failed(proxy: &Proxy, reporter: &str, flag: &str, message: &str, why: &str) {
    eventually(format_args!("{flag} of the {reporter} is counted"), || {
        let labels = [("reporter", reporter), ("response_flags", flag)];
        match proxy.metrics().sum("istio_tcp_connections_failed_total", &labels) {
            1.0 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    eventually(format_args!("a line says {why:?}"), || {
        let lines = proxy.access_log();
        let told: Vec<_> = lines.iter().filter(|line| line.text("error").contains(why)).collect();
        match told[..] {
            [line] if line.text("message") == message => Ok(()),
            _ => Err(format!("{lines:?}")),
        }
    });
}

pub(crate) fn a_connection_is_told_when_it_opens_and_when_it_ends_field_by_field() {
    let lab = Lab::new().proxy_env("LOG_FORMAT", "plain").proxy_env("RUST_LOG", "info,access=debug").start();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "b"));
    let _counts = server.serve(7001, Speaks::Counts);
    let mut conn = client.connect(server.at(7001));
    conn.say("hello").finish();
    assert_eq!(conn.rest().0, "5");
    for (node, direction, sent, received) in [("a", "outbound", 5, 1), ("b", "inbound", 1, 5)] {
        let proxy = lab.node(node).proxy();
        let line = |message: &str| {
            eventually(format_args!("{message} on {node}"), || {
                let log = proxy.process().log();
                log.lines().find(|line| line.contains(message)).map(str::to_owned).ok_or(log)
            })
        };
        let opened = told(&line("\tconnection opened\t"), "debug", "connection opened");
        let ended = told(&line("\tconnection complete\t"), "info", "connection complete");
        let order = ["bytes_sent", "bytes_recv", "duration"];
        // The service is a guess by its port, which nobody has here.
        let known: Vec<_> = FIELDS.iter().copied().filter(|field| *field != "dst.service").collect();
        assert_eq!(opened.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), known);
        assert_eq!(ended.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), [&known[..], &order].concat());
        let ended: BTreeMap<_, _> = ended.into_iter().collect();
        let bare = |key: &str| ended[key].clone();
        assert_eq!(bare("dst.addr"), server.at(15008).to_string());
        assert_eq!(bare("dst.hbone_addr"), server.at(7001).to_string());
        assert_eq!(bare("src.workload"), "\"client\"");
        assert_eq!(bare("direction"), format!("\"{direction}\""));
        assert_eq!((bare("bytes_sent"), bare("bytes_recv")), (sent.to_string(), received.to_string()));
        assert!(bare("duration").starts_with('"') && bare("duration").ends_with("ms\""));
    }
}

/// The parts of a plain line as Kiali splits it: the time, the level, the scope, the message, and the fields in order.
#[track_caller]
fn told(line: &str, level: &str, message: &str) -> Vec<(String, String)> {
    let parts: Vec<_> = line.split('\t').collect();
    assert_eq!(parts.len(), 5, "{line}");
    assert_eq!(parts[1..4], [level, "access", message], "{line}");
    let fields = parts[4].split(' ').map(|field| field.split_once('=').expect("key=value"));
    fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What a line tells of a connection through a tunnel, before its sizes.
const FIELDS: [&str; 13] = [
    "src.addr",
    "src.workload",
    "src.namespace",
    "src.identity",
    "src.cluster",
    "dst.addr",
    "dst.hbone_addr",
    "dst.service",
    "dst.workload",
    "dst.namespace",
    "dst.identity",
    "dst.cluster",
    "direction",
];

pub(crate) fn the_process_tells_what_it_uses_and_whom_it_serves() {
    let lab = meshed();
    let node = lab.node("a");
    let proxy = node.proxy();
    let one = |name: &str| proxy.metrics().sum(name, &[]);
    let (first, second) = (captured(&lab, "first", "a"), captured(&lab, "second", "a"));
    for (name, want) in [
        ("workload_manager_active_proxy_count", 2.0),
        ("workload_manager_pending_proxy_count", 0.0),
        ("workload_manager_proxies_started_total", 2.0),
        ("workload_manager_proxies_stopped_total", 0.0),
    ] {
        eventually_is(name, Some(want.to_string()), || Some(one(name).to_string()));
    }
    let held = one("process_open_fds");
    let _open: Vec<_> = (0..20).map(|_| Conn::open(node.netns(), STATS)).collect();
    eventually("its descriptors are counted", || match one("process_open_fds") {
        now if now >= held + 20.0 => Ok(()),
        now => Err(format!("{now} after {held}")),
    });
    assert!(one("process_max_fds") >= one("process_open_fds"));
    assert!(one("tokio_num_workers") >= 1.0 && one("tokio_num_alive_tasks") >= 1.0);
    assert!(one("tokio_worker_park_count_total") >= 1.0);
    assert!(one("istio_xds_message_total") >= 2.0 && one("istio_xds_message_bytes_total") > 0.0);
    second.delete();
    eventually_is("the withdrawn pod is counted", Some("1".to_owned()), || {
        Some(one("workload_manager_proxies_stopped_total").to_string())
    });
    drop(first);
}

pub(crate) fn admin_answers_as_ztunnel_does() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let ask = |method: &str, path: &str| {
        http::request(node.netns(), ADMIN, method, path)
            .unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    };
    let index = curl(node.netns(), &["-i", "http://127.0.0.1:15000/"]);
    assert!(index.body.to_ascii_lowercase().contains("content-type: text/html"), "{index:?}");
    for path in ["config_dump", "logging", "quitquitquit"] {
        assert!(index.body.contains(path), "{path} is listed: {index:?}");
    }
    for (method, path, status) in [
        ("GET", "/config_dump", 200),
        ("POST", "/config_dump", 200),
        ("GET", "/logging", 405),
        ("PUT", "/logging", 405),
        ("GET", "/quitquitquit", 405),
        ("GET", "/config", 404),
        ("GET", "/debug/pprof", 404),
        ("POST", "/logging?level=loud", 400),
    ] {
        assert_eq!(ask(method, path).0, status, "{method} {path}");
    }
    assert!(ask("GET", "/logging").1.contains("POST /logging"), "the usage is told");
    assert!(ask("POST", "/logging").1.starts_with("current log level is "));
    assert!(ask("POST", "/logging?level=access=debug,warn").1.contains("access=debug"));
    assert_eq!(ask("POST", "/logging?reset&level=dns=off").1, ask("POST", "/logging").1);
    // HTTP/1.1 is all it speaks.
    assert_ne!(curl(node.netns(), &["--http2-prior-knowledge", "http://127.0.0.1:15000/"]).exit, 0);
}

pub(crate) fn readers_that_never_read_hold_up_neither_other_readers_nor_traffic() {
    let lab = meshed();
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "a"));
    let _echo = server.serve(7001, Speaks::Echo);
    let node = lab.node("a");
    let mut slow = Vec::new();
    for _ in 0..20 {
        for (at, path) in [(STATS, "/metrics"), (ADMIN, "/config_dump")] {
            let mut conn = Conn::open(node.netns(), at).expect("a connection");
            // Many answers, none of which is ever read.
            conn.say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(50));
            slow.push(conn);
        }
    }
    finish(client.connect(server.at(7001)));
    assert!(!node.proxy().metrics().0.is_empty());
    node.proxy().config_dump().unwrap_or_else(|e| panic!("{e}"));
}

pub(crate) fn metrics_come_packed_to_who_asks() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    for (asked, given) in [("gzip, deflate, br, zstd", "gzip"), ("deflate", "deflate"), ("identity", "")] {
        let accept = format!("accept-encoding: {asked}");
        let answer =
            curl(node.netns(), &["-i", "--compressed", "-H", &accept, "http://127.0.0.1:15020/metrics"]);
        let (head, body) = answer.body.split_once("\r\n\r\n").expect("a head and a body");
        let named = head.to_ascii_lowercase();
        assert_eq!(named.contains("content-encoding: "), !given.is_empty(), "{head}");
        assert!(given.is_empty() || named.contains(&format!("content-encoding: {given}")), "{head}");
        assert!(body.ends_with("# EOF\n") && body.contains("istio_build{"), "{asked}: {answer:?}");
    }
}

pub(crate) fn profiles_tell_of_cpu_and_heap_once_they_are_asked_for() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let ask = |path: &str| http::get(node.netns(), ADMIN, path).unwrap_or_else(|why| panic!("{path}: {why}"));
    let (status, profile) = ask("/debug/pprof/profile?seconds=2&frequency=1000");
    assert_eq!(status, 200, "{profile}");
    assert!(profile.contains("nanoseconds") && profile.contains("samples"), "{profile}");
    for wrong in ["seconds=0", "seconds=301", "frequency=1001"] {
        assert_eq!(ask(&format!("/debug/pprof/profile?{wrong}")).0, 400, "{wrong}");
    }
    node.restart_proxy(|spec| spec.env("_RJEM_MALLOC_CONF", "prof:true,prof_active:false,lg_prof_sample:12"));
    let switch = "/debug/pprof/heap/profiling";
    assert_eq!(ask(switch), (200, "heap profiling active: false\n".to_owned()));
    let (status, why) = ask("/debug/pprof/heap");
    assert!(status == 500 && why.contains("heap profiling not active"), "{why}");
    assert_eq!(ask(&format!("{switch}?activate=true")), (200, "heap profiling active: true\n".to_owned()));
    // So that there is something to tell.
    ask("/config_dump");
    let heap = node.home().join("heap.pb.gz").display().to_string();
    let answer = curl(node.netns(), &["-o", &heap, "http://127.0.0.1:15000/debug/pprof/heap"]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let packed = std::fs::read(&heap).expect("the heap profile");
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() > 500, "{} bytes", packed.len());
    assert_eq!(ask(&format!("{switch}?activate=false")), (200, "heap profiling active: false\n".to_owned()));
}

const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 15000);
const STATS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 15020);

/// Uses a connection to an echo server and ends it.
fn finish(mut conn: Conn) {
    conn.echo("hello").finish();
    conn.rest();
}

/// A series of this name with these labels, once it is there.
#[track_caller]
fn series(proxy: &Proxy, name: &str, labels: &[(&str, &str)]) -> Sample {
    eventually(format_args!("{name} {labels:?}"), || {
        let metrics = proxy.metrics();
        let mut found = metrics.matching(name, labels);
        found.next().cloned().ok_or_else(|| format!("{:?}", metrics.0))
    })
}

#[track_caller]
fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let all = list.as_array().expect("a list");
    all.iter().find(|entry| entry[key] == value).unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}

/// The access-log lines after the first `before`, once there are so many.
#[track_caller]
fn lines(proxy: &Proxy, before: usize, count: usize) -> Vec<AccessLine> {
    eventually("the access log", || {
        let lines = proxy.access_log().split_off(before);
        if lines.len() == count { Ok(lines) } else { Err(format!("{} lines: {lines:?}", lines.len())) }
    })
}
