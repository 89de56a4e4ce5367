//! The proxy as a process: its command line, its environment, its own servers, and its end.

use std::process::{Output, Stdio};

use tests::lab::http::{self, Curl, curl};
use tests::lab::{Lab, Netns, Program, Proxy, Speaks, binaries, eventually, eventually_is};

use super::captured;

pub(crate) fn the_command_line_is_that_of_ztunnel() {
    let version = run(&["version"]);
    assert!(version.status.success(), "{version:?}");
    assert!(text(&version.stdout).starts_with("adit-proxy "), "{version:?}");
    let help = run(&["help"]);
    assert!(help.status.success(), "{help:?}");
    assert!(text(&help.stdout).contains("usage: adit-proxy"), "{help:?}");
    let unknown = run(&["gateway"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let said = text(&unknown.stderr);
    assert!(said.contains("\"gateway\"") && said.contains("usage: adit-proxy"), "{said}");
    // `proxy ztunnel` is how the lab starts every proxy; without arguments it runs too.
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    node.proxy().process().kill();
    let spec = node.proxy_spec();
    let program = spec.env.iter().fold(Program::new(&spec.path), |program, (k, v)| program.env(k, v.clone()));
    let bare = program.start("bare", node.netns(), &node.home().join("bare.log"));
    eventually_is("it is ready", Ok((200, "ready\n".to_owned())), || {
        bare.assert_running();
        http::get(node.netns(), READINESS.parse().expect("an address"), "/healthz/ready")
    });
}

pub(crate) fn every_variable_of_the_chart_is_taken() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let control = lab.control().address().to_string();
    let metadata = "proxyMetadata: {ISTIO_META_ENABLE_HBONE: 'true', PROXY_KEY: kept}";
    let mesh = format!(
        "{{discoveryAddress: '{control}', concurrency: 2, tracing: {{}}, statsPort: 15020, {metadata}}}"
    );
    // Those of the chart that the lab does not set already, beside what users add to them.
    let added = [
        ("PROXY_CONFIG", mesh.as_str()),
        ("NETWORK", ""),
        ("ZTUNNEL_CPU_LIMIT", "2"),
        ("ZTUNNEL_RESOURCE_CPU_LIMIT", "1500m"),
        ("ZTUNNEL_RESOURCE_CPU_REQUEST", "200m"),
        ("CRL_PATH", "/var/run/secrets/istio/crl/ca-crl.pem"),
        ("ISTIO_META_ENABLE_HBONE", "true"),
        ("ISTIO_META_DNS_CAPTURE", "true"),
        ("UNSTABLE_ENABLE_SOCKS5", "true"),
        ("RUST_LOG", "info,xds_client=info"),
    ];
    let proxy = node.begin_proxy(|spec| added.iter().fold(spec, |spec, (key, value)| spec.env(key, value)));
    let spec = node.proxy_spec();
    for key in CHART {
        assert!(spec.env.contains_key(key) || added.iter().any(|(k, _)| *k == key), "{key} is not tried");
    }
    proxy.wait_ready();
    lab.enroll_namespace("default");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "a"));
    let _echo = server.serve(7001, Speaks::Echo);
    client.connect(server.at(7001)).echo("hello");
    let log = proxy.process().log();
    for line in log.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?} is not JSON: {e}"));
        for field in ["level", "time", "scope", "message"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
    }
    assert_eq!(log.lines().filter(|line| line.contains("has no effect")).count(), 0, "{log}");
}

pub(crate) fn the_probe_is_answered_as_kubelets_read_it() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let ask = |args: &[&str]| curl(node.netns(), args);
    let status =
        |method: &str, at: &str, path: &str| ask(&["-X", method, &format!("http://{at}{path}")]).status;
    let ready = ask(&["-i", &format!("http://{READINESS}/healthz/ready")]);
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(ready.body.ends_with("\r\n\r\nready\n"), "{ready:?}");
    assert_eq!(header(&ready, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(status("POST", READINESS, "/healthz/ready"), 405);
    assert_eq!(status("GET", READINESS, "/"), 404);
    // The kubelet asks by the pod's address; admin is for the inside only.
    assert_eq!(status("GET", &format!("{}:15021", node.ip()), "/healthz/ready"), 200);
    assert_eq!(ask(&[&format!("http://{}:15000/config_dump", node.ip())]).exit, REFUSED);
    assert_eq!(status("GET", ADMIN, "/nothing"), 404);
    let dump = ask(&["-i", &format!("http://{ADMIN}/config_dump")]);
    assert_eq!((dump.status, header(&dump, "content-type").as_str()), (200, "application/json"));
    // A client that never finishes its request is no hindrance.
    let _stuck = tests::lab::Conn::open(node.netns(), READINESS.parse().expect("an address"));
    node.proxy().wait_ready();
}

pub(crate) fn metrics_name_the_format_they_come_in() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let plain = "text/plain; charset=utf-8";
    let open = "application/openmetrics-text;charset=utf-8;version=1.0.0";
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4";
    for (accept, want) in [("", plain), ("text/plain", plain), ("*/*", plain), (prometheus, open)] {
        for path in ["/metrics", "/stats/prometheus"] {
            let accept = format!("accept: {accept}");
            let answer = curl(node.netns(), &["-i", "-H", &accept, &format!("http://{STATS}{path}")]);
            assert_eq!((answer.status, header(&answer, "content-type").as_str()), (200, want), "{accept}");
            assert!(answer.body.ends_with("# EOF\n"), "{answer:?}");
            assert!(answer.body.contains("istio_build{component=\"ztunnel\""), "{answer:?}");
        }
    }
    assert_eq!(curl(node.netns(), &[&format!("http://{STATS}/")]).status, 404);
}

pub(crate) fn log_levels_change_while_it_runs() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let proxy = node.proxy();
    let post = |query: &str| {
        let answer = http::request(node.netns(), ADMIN.parse().expect("an address"), "POST", query);
        answer.unwrap_or_else(|why| panic!("{why}"))
    };
    let has_debug = || proxy.process().log().lines().any(|line| line.contains("\"level\":\"debug\""));
    let (status, before) = post("/logging");
    assert_eq!(status, 200, "{before}");
    assert!(!has_debug(), "{before}");
    for wrong in ["level=loud", "level=xds_client=loud", "level=info,,=", "volume=11"] {
        let (status, said) = post(&format!("/logging?{wrong}"));
        assert_eq!(status, 400, "{wrong}: {said}");
        assert!(said.contains("usage") || said.contains("POST /logging"), "{wrong}: {said}");
        assert_eq!(post("/logging").1, before, "{wrong} changed the level");
    }
    assert_eq!(curl(node.netns(), &[&format!("http://{ADMIN}/logging")]).status, 405, "GET");

    let (status, said) = post("/logging?level=debug");
    assert_eq!(status, 200, "{said}");
    assert!(said.contains("debug"), "{said}");
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let _ = client.try_connect(client.at(9)).map(|mut conn| conn.try_say("x"));
    eventually("debug lines appear", || if has_debug() { Ok(()) } else { Err(proxy.process().log()) });
    assert_eq!(post("/logging?reset"), (200, before));
}

pub(crate) fn told_to_quit_it_drains_first() {
    let lab = Lab::new().one_node().start();
    lab.enroll_namespace("default");
    let node = lab.node("a");
    let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "web", "a"));
    let _echo = server.serve(7001, Speaks::Echo);
    let mut open = client.connect(server.at(7001));
    open.echo("before");
    let proxy = node.proxy();
    let quit = format!("http://{ADMIN}/quitquitquit");
    assert_eq!(curl(node.netns(), &[&quit]).status, 405, "GET asks for nothing");
    let answer = curl(node.netns(), &["-X", "POST", &quit]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "shutdown now\n"));
    for port in [READINESS, STATS, ADMIN] {
        eventually_is(format_args!("nobody listens on {port}"), REFUSED, || {
            curl(node.netns(), &[&format!("http://{port}/")]).exit
        });
    }
    eventually("the pod's ports are closed", || match client.try_connect(server.at(7001)) {
        Err(_) => Ok(()),
        Ok(_) => Err("a new connection was taken"),
    });
    open.echo("while it drains");
    assert_eq!(proxy.process().ended(), None);
    open.finish();
    open.rest();
    let status = proxy.process().wait();
    assert!(status.success(), "{status}");
}

pub(crate) fn an_end_does_not_wait_for_who_does_not_answer() {
    // Without the cut it would take the hour.
    let lab = Lab::new()
        .one_node()
        .proxy_env("ADIT_CONNECT_TIMEOUT", "1h")
        .proxy_env("CONNECTION_TERMINATION_DEADLINE", "1s")
        .start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let proxy = lab.node("a").proxy();
    swallow(lab.node("a").netns(), SILENT);
    let _open = client.connect(format!("{SILENT}:80").parse().expect("an address"));
    eventually("the connection is on its way", || is_dialing(&proxy, client.netns()));
    proxy.terminate();
    let status = proxy.process().wait();
    assert!(status.success(), "{status}");
    let lines = proxy.access_log();
    let line = lines.last().unwrap_or_else(|| panic!("no access log"));
    assert_eq!(line.text("error"), "connection closed due to connection drain", "{lines:?}");
}

/// Drops what is sent to an address, as a firewall does.
fn swallow(netns: &Netns, address: &str) {
    let program = Program::new("iptables").args(["-A", "FORWARD", "-d", address, "-j", "DROP"]);
    let output = netns.run(|| program.command().output().expect("iptables is installed"));
    assert!(output.status.success(), "{output:?}");
}

/// Whether a socket in the namespace waits for an answer to its SYN.
fn is_dialing(proxy: &Proxy, netns: &Netns) -> Result<(), String> {
    proxy.process().assert_running();
    let table = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default());
    if table.lines().any(|line| line.split_whitespace().nth(3) == Some("02")) { Ok(()) } else { Err(table) }
}

/// Runs the proxy's binary to its end, outside of any lab's mesh.
fn run(args: &[&str]) -> Output {
    let program = Program::new(binaries::proxy_of("a")).args(args.iter().copied());
    program.command().stdin(Stdio::null()).output().expect("the proxy's binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A header of an answer that curl printed with `-i`; empty when it is absent.
fn header(answer: &Curl, name: &str) -> String {
    let lines = answer.body.lines().take_while(|line| !line.is_empty());
    let found =
        lines.filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

const ADMIN: &str = "127.0.0.1:15000";
const STATS: &str = "127.0.0.1:15020";
const READINESS: &str = "127.0.0.1:15021";
/// curl's exit code for a refused connection.
const REFUSED: i32 = 7;
/// An address between the nodes that nobody has.
const SILENT: &str = "10.0.0.200";
/// What ztunnel's chart sets.
const CHART: [&str; 21] = [
    "CA_ADDRESS",
    "XDS_ADDRESS",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "ISTIO_META_CLUSTER_ID",
    "INPOD_ENABLED",
    "TERMINATION_GRACE_PERIOD_SECONDS",
    "POD_NAME",
    "POD_NAMESPACE",
    "NODE_NAME",
    "INSTANCE_IP",
    "SERVICE_ACCOUNT",
    "ZTUNNEL_CPU_LIMIT",
    "NETWORK",
    "LOG_FORMAT",
    "ZTUNNEL_RESOURCE_CPU_LIMIT",
    "ZTUNNEL_RESOURCE_CPU_REQUEST",
    "CRL_PATH",
    "PROXY_CONFIG",
    "ISTIO_META_ENABLE_HBONE",
    "ISTIO_META_DNS_CAPTURE",
];
