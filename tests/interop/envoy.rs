//! Envoy as client, server and waypoint of HBONE, between pods whose proxies do not know that it is Envoy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::{env, fs};

use serde_json::Value;
use tests::lab::observe::AccessLine;
use tests::lab::usual::{captured, meshed, uncaptured, url};
use tests::lab::{End, Lab, Pod, Program, Speaks, eventually, http};

use super::config::{
    ADMIN, bootstrap, ends_tunnels, hbone_cluster, internal_cluster, internal_listener, listener,
    opens_tunnels, plain_cluster, speaks_http,
};

/// Denies Envoy's identity at port 8080 of the application.
const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-envoy, namespace: default}
spec:
  selector: {matchLabels: {app: app}}
  action: DENY
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/envoy]}}]
    to: [{operation: {ports: ['8080']}}]
";

pub(crate) fn a_client_that_is_envoy_is_served_and_obeys_policy() {
    let lab = meshed();
    let (app, envoy) = (captured(&lab, "app", "b"), uncaptured(&lab, "envoy", "a"));
    app.sample_app("blue");
    envoy_as_client(&lab, &envoy, &app);
    let page = || envoy.curl(&[&url(LOCAL, "/")]);
    let answer = page();
    assert_eq!((answer.exit, answer.status), (0, 200), "{answer:?}");
    let line = last_line(&app, true);
    assert_eq!(line.text("src.identity"), envoy.identity(), "{line:?}");
    assert_eq!(line.text("dst.hbone_addr"), app.at(8080).to_string(), "{line:?}");
    lab.apply_policy(DENY, "default/no-envoy");
    let answer = page();
    assert_eq!(answer.status, 0, "{answer:?}");
    eventually("the denial is in the log", || {
        let line = last_line(&app, true);
        let error = line.text("error");
        if error.contains("explicitly denied by: default/no-envoy") { Ok(()) } else { Err(error.to_owned()) }
    });
}

pub(crate) fn a_server_that_is_envoy_ends_our_tunnels() {
    let lab = meshed();
    let (client, envoy) = (captured(&lab, "client", "a"), uncaptured(&lab, "envoy", "b"));
    envoy.sample_app("green");
    let issued = lab.control().issue(&envoy.identity());
    start(
        &envoy,
        &bootstrap(
            &[listener("hbone", everywhere(15008), Some(&issued), &ends_tunnels("app"))],
            &[plain_cluster("app", LOCAL_APP)],
        ),
    );
    announce(&lab, &format!("workloads: [{{uid: {}, protocol: HBONE}}]", uid(&envoy)));
    envoy.wait_known("HBONE");
    let answer = client.curl(&[&url(envoy.at(8080), "/")]);
    assert_eq!((answer.exit, answer.status), (0, 200), "{answer:?}");
    let line = last_line(&client, false);
    assert_eq!(line.text("dst.addr"), envoy.at(15008).to_string(), "{line:?}");
    assert_eq!(line.text("dst.identity"), envoy.identity(), "{line:?}");
}

pub(crate) fn a_waypoint_that_is_envoy_decides_on_http_and_passes_on() {
    let lab = meshed();
    let app = captured(&lab, "app", "b");
    app.sample_app("blue");
    let service = lab.service("app").port(80, 8080).create();
    let (client, waypoint) = (captured(&lab, "client", "a"), uncaptured(&lab, "waypoint", "b"));
    service.wait_endpoints(1);
    let issued = lab.control().issue(&waypoint.identity());
    start(
        &waypoint,
        &bootstrap(
            &[
                listener("hbone", everywhere(15008), Some(&issued), &ends_tunnels("inner")),
                internal_listener("http", &speaks_http("outer")),
                internal_listener("tunnels", &opens_tunnels("app", app.at(8080))),
            ],
            &[
                internal_cluster("inner", "http"),
                internal_cluster("outer", "tunnels"),
                hbone_cluster("app", app.at(15008), &issued, &app.identity()),
            ],
        ),
    );
    announce(
        &lab,
        &format!(
            "services: [{{namespace: default, hostname: {}, waypoint: {{destination: /{}, hboneMtlsPort: 15008}}}}]",
            service.host(),
            waypoint.ip()
        ),
    );
    eventually("requests take the waypoint", || {
        let answer = client.curl(&["-i", &url(service.at(80), "/")]);
        let through = answer.body.to_lowercase().contains("x-waypoint: envoy");
        if answer.status == 200 && through { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let there = last_line(&client, false);
    assert_eq!(there.text("dst.addr"), waypoint.at(15008).to_string(), "{there:?}");
    assert_eq!(there.text("dst.hbone_addr"), service.at(80).to_string(), "{there:?}");
    assert_eq!(there.text("dst.identity"), waypoint.identity(), "{there:?}");
    // Envoy keeps its own connection for the next request, so there is no line about it yet.
    let opened = app.node().proxy().metrics().sum(
        "istio_tcp_connections_opened_total",
        &[("reporter", "destination"), ("source_principal", &waypoint.identity())],
    );
    assert!(opened >= 1.0, "the application is called by its waypoint");
    let refused = client.curl(&[&url(service.at(80), "/forbidden")]);
    assert_eq!((refused.exit, refused.status), (0, 403), "{refused:?}");
    // By its own address the application is reached without the waypoint.
    let direct = client.curl(&["-i", &url(app.at(8080), "/")]);
    assert!(direct.status == 200 && !direct.body.to_lowercase().contains("x-waypoint"), "{direct:?}");
}

pub(crate) fn a_tunnel_from_envoy_carries_much_and_keeps_its_endings() {
    let lab = meshed();
    let (app, envoy) = (captured(&lab, "app", "b"), uncaptured(&lab, "envoy", "a"));
    let server = app.serve(8080, Speaks::Echo);
    envoy_as_client(&lab, &envoy, &app);
    let text = "0123456789abcdef".repeat(64 * 1024);
    let mut first = envoy.connect(LOCAL);
    first.echo(&text).finish();
    assert_eq!(first.rest(), (String::new(), End::Fin));
    // A client that resets must not look like one that was done.
    let mut second = envoy.connect(LOCAL);
    second.echo("before");
    second.reset();
    eventually("the application saw both ends", || {
        let served = server.served();
        let ends: Vec<_> = served.iter().filter_map(|connection| connection.end).collect();
        if ends.len() == 2 { Ok(()) } else { Err(format!("{served:?}")) }
    });
    assert_eq!(server.served()[0].end, Some(End::Fin));
}

/// A listener on loopback whose connections Envoy tunnels to the application's port 8080.
fn envoy_as_client(lab: &Lab, envoy: &Pod, app: &Pod) {
    let issued = lab.control().issue(&envoy.identity());
    start(
        envoy,
        &bootstrap(
            &[listener("local", LOCAL, None, &opens_tunnels("mesh", app.at(8080)))],
            &[hbone_cluster("mesh", app.at(15008), &issued, &app.identity())],
        ),
    );
}

/// Runs Envoy in a pod until it is live.
#[track_caller]
fn start(pod: &Pod, config: &Value) {
    let path: PathBuf = env::var_os(BINARY)
        .unwrap_or_else(|| panic!("{BINARY} names no Envoy: run this suite with `make interop`"))
        .into();
    let folder = pod.node().home().join(format!("envoy-{}", pod.name()));
    fs::create_dir_all(&folder).expect("a folder for Envoy");
    let file = folder.join("envoy.json");
    fs::write(&file, config.to_string()).expect("Envoy's configuration");
    let program = Program::new(path)
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"])
        .arg(&file);
    let process = pod.start(&program);
    eventually("Envoy is live", || {
        process.assert_running();
        match http::get(pod.netns(), ADMIN, "/ready")? {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// Tells the control plane what no Kubernetes object says.
fn announce(lab: &Lab, resources: &str) {
    lab.apply(&format!(
        "apiVersion: adit.dev/v1alpha1\nkind: MeshResources\nmetadata: {{name: envoy, namespace: default}}\n{resources}\n"
    ));
}

fn uid(pod: &Pod) -> String {
    format!("Kubernetes//Pod/{}/{}", pod.namespace(), pod.name())
}

/// The newest line about a pod's side of a connection.
#[track_caller]
fn last_line(pod: &Pod, inbound: bool) -> AccessLine {
    let field = if inbound { "dst.workload" } else { "src.workload" };
    eventually(format_args!("a log line of {}", pod.name()), || {
        let lines = pod.node().proxy().access_log();
        let mut about = lines.into_iter().rev().filter(|l| l.is_inbound() == inbound);
        about.find(|line| line.text(field) == pod.name()).ok_or("none yet")
    })
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// Where Envoy takes connections to tunnel.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);
/// The application beside an Envoy that ends tunnels.
const LOCAL_APP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The variable that names Envoy's program.
const BINARY: &str = "ADIT_ENVOY";
