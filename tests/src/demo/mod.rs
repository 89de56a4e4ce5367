//! The demo: the tutorial's story on two nodes of a lab, each step checked.

mod tell;

use std::process::ExitCode;

use tell::Teller;

use crate::lab::http::Curl;
use crate::lab::observe::AccessLine;
use crate::lab::{Lab, Pod, Proxy, Seen, Service, eventually, isolate, logs};
use crate::sample_app;

/// What a person chose.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Leave the lab up when the story is told.
    pub keep: bool,
}

/// Tells the story; fails at the first step that does not hold. `pid` is how the outside knows this lab.
pub fn run(pid: &str, options: Options) -> ExitCode {
    // A step that fails says why in one line; where in the demo's code it was is of no use to a reader.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let why = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("the demo failed");
        eprintln!("\n   FAILED  {why}");
    }));
    let told = std::panic::catch_unwind(|| {
        let mut tell = Teller::default();
        let story = Story::begin(&mut tell);
        story.before_the_mesh(&mut tell);
        story.enroll(&mut tell);
        story.through_the_mesh(&mut tell);
        story.deny(&mut tell);
        story.logs(&mut tell);
        story.metrics(&mut tell);
        story
    });
    match told {
        Ok(story) => {
            println!("\nEvery step holds.");
            if options.keep {
                story.keep(pid);
            }
            ExitCode::SUCCESS
        }
        Err(_) => {
            logs::print(30);
            ExitCode::FAILURE
        }
    }
}

/// The pods of the story.
struct Story {
    lab: Lab,
    app: Pod,
    allow: Pod,
    deny: Pod,
    service: Service,
}

impl Story {
    fn begin(tell: &mut Teller) -> Self {
        tell.step("Two nodes");
        let lab = Lab::new().start();
        for node in lab.nodes() {
            tell.did(format_args!(
                "node {}: a network namespace at {} with its node agent and {}",
                node.name(),
                node.ip(),
                node.proxy_spec().path.display()
            ));
            let ready = node.proxy().readiness();
            tell.check(
                matches!(ready, Ok((200, _))),
                format_args!("node {} is ready", node.name()),
                format_args!("{ready:?}"),
            );
        }

        tell.step("An application and two clients, outside the mesh");
        let app = lab.pod("sample-app-blue").on("b").label("app", "sample-app").create();
        app.sample_app("blue");
        let [allow, deny] = ["curl-allow", "curl-deny"].map(|name| lab.pod(name).on("a").create());
        let service = lab.service("sample-app").port(8080, "http").create();
        for pod in [&app, &allow, &deny] {
            let node = pod.node().name();
            tell.did(format_args!(
                "pod {} at {} on node {node}, through the CNI chain with adit-cni",
                pod.name(),
                pod.ip()
            ));
        }
        tell.did(format_args!("service {} at {}", service.host(), service.at(8080)));
        Self { lab, app, allow, deny, service }
    }

    fn before_the_mesh(&self, tell: &mut Teller) {
        tell.step("The page, before the mesh");
        for client in [&self.allow, &self.deny] {
            let (answer, seen) = self.watched(client, self.app.at(8080));
            tell.did(format_args!("{}: curl http://{}/", client.name(), self.app.at(8080)));
            tell.check(answer.status == 200, "the answer is 200", format_args!("{answer:?}"));
            tell.check(
                seen.holds(TEXT),
                format_args!("between the nodes the page is in the clear, on port {}", ports(&seen)),
                format_args!("{} bytes", seen.bytes()),
            );
        }
    }

    fn enroll(&self, tell: &mut Teller) {
        tell.step("The namespace joins the mesh; no pod restarts");
        self.lab.enroll_namespace("default");
        tell.did("kubectl label namespace default istio.io/dataplane-mode=ambient");
        for pod in [&self.app, &self.allow, &self.deny] {
            pod.wait_enrolled();
            tell.check(
                pod.redirection().as_deref() == Some("enabled"),
                format_args!("{}: ambient.istio.io/redirection=enabled", pod.name()),
                format_args!("{:?}", pod.redirection()),
            );
        }
        self.service.wait_endpoints(1);
    }

    fn through_the_mesh(&self, tell: &mut Teller) {
        tell.step("The page, through the mesh");
        let (answer, seen) = self.watched(&self.allow, self.service.at(8080));
        tell.did(format_args!("curl-allow: curl http://{}/ (the service's address)", self.service.at(8080)));
        let whole = answer.status == 200 && answer.body == sample_app::page("blue");
        tell.check(whole, "the answer is 200 and the page is whole", format_args!("{answer:?}"));
        tell.show(&answer.body);
        tell.check(ports(&seen) == "15008", "between the nodes there was only port 15008", ports(&seen));
        tell.check(
            !seen.holds(TEXT) && seen.bytes() > answer.body.len(),
            format_args!("{} bytes crossed, and the page's text is not among them", seen.bytes()),
            "the page's text",
        );
        let denied = self.deny.curl(&[&self.url()]);
        tell.check(denied.status == 200, "curl-deny is served too, so far", format_args!("{denied:?}"));
    }

    fn deny(&self, tell: &mut Teller) {
        tell.step("A policy denies one of the two");
        self.lab.apply_policy(POLICY, "default/layer4-authz");
        tell.did("kubectl apply -f docs/tutorial/deny.yaml");
        tell.show(POLICY.trim());
        let denied = self.deny.curl(&[&self.url()]);
        tell.check(
            (denied.exit, denied.status) == (56, 0),
            "curl-deny: 000, and curl ends with 56: the connection was reset",
            format_args!("{denied:?}"),
        );
        let served = self.allow.curl(&[&self.url()]);
        tell.check(served.status == 200, "curl-allow: 200", format_args!("{served:?}"));
    }

    fn logs(&self, tell: &mut Teller) {
        tell.step("What the proxies wrote");
        for (node, direction, error) in [
            (
                "b",
                "inbound",
                "connection closed due to policy rejection: explicitly denied by: default/layer4-authz",
            ),
            ("a", "outbound", "http status: 401 Unauthorized"),
        ] {
            let line = denied_line(&self.lab.node(node).proxy(), direction);
            tell.saw(format_args!("node {node}:"));
            tell.show(&line.0.to_string());
            tell.check(
                line.text("error").starts_with(error) && line.text("src.identity") == self.deny.identity(),
                format_args!("{direction}: \"{error}\""),
                format_args!("{line:?}"),
            );
        }
    }

    fn metrics(&self, tell: &mut Teller) {
        tell.step("What the proxies count");
        for (name, client, flags) in [
            ("istio_tcp_connections_closed_total", "curl-allow", &["-"][..]),
            // Both call the refusal by what they saw of it: an answer of 401, a policy.
            ("istio_tcp_connections_closed_total", "curl-deny", &["CONNECT", "DENY"]),
            ("istio_tcp_sent_bytes_total", "curl-allow", &["-"]),
            ("istio_tcp_received_bytes_total", "curl-allow", &["-"]),
        ] {
            // The two learn of an ending in their own time.
            let told = eventually(format_args!("{name} of {client} at both"), || {
                let told = [("source", "a"), ("destination", "b")]
                    .map(|(reporter, node)| (node, self.counted(node, name, reporter, client, flags)));
                let same = told[0].1.0.total_cmp(&told[1].1.0).is_eq();
                if same { Ok(told) } else { Err(format!("{told:?}")) }
            });
            for (node, (value, labels)) in &told {
                tell.saw(format_args!("node {node}: {name}{{{labels}}} {value}"));
            }
            tell.check(true, format_args!("{client}: both reporters say {}", told[0].1.0), "");
        }
    }

    /// The sum of a series of one client's connections to the service, once there is one, and its labels.
    fn counted(&self, node: &str, name: &str, reporter: &str, client: &str, flags: &[&str]) -> (f64, String) {
        let proxy = self.lab.node(node).proxy();
        let labels = [
            ("reporter", reporter),
            ("source_workload", client),
            ("destination_service_name", "sample-app"),
            ("connection_security_policy", "mutual_tls"),
        ];
        eventually(format_args!("{name} of {client} at the {reporter}"), || {
            let metrics = proxy.metrics();
            let ours: Vec<_> = metrics
                .matching(name, &labels)
                .filter(|s| s.labels.get("response_flags").is_none_or(|flag| flags.contains(&flag.as_str())))
                .collect();
            let flag = ours.iter().find_map(|s| s.labels.get("response_flags"));
            let flag = flag.map_or_else(String::new, |flag| format!(", response_flags={flag}"));
            let value: f64 = ours.iter().map(|s| s.value).sum();
            let shown = format!("reporter={reporter}, source_workload={client}{flag}");
            if ours.is_empty() { Err("no such series yet") } else { Ok((value, shown)) }
        })
    }

    /// Asks for the page while what crosses between the nodes is captured.
    fn watched(&self, client: &Pod, at: std::net::SocketAddr) -> (Curl, Seen) {
        let capture = self.lab.capture();
        let answer = client.curl(&[&format!("http://{at}/")]);
        (answer, capture.finish().between(&[client.ip(), self.app.ip()]))
    }

    fn url(&self) -> String {
        format!("http://{}/", self.service.at(8080))
    }

    /// Says how to look around, and stays until it is told to end.
    fn keep(&self, pid: &str) {
        let enter = format!("nsenter --target {pid} {}--mount --preserve-credentials", isolate::enter_user());
        println!("\nThe lab stays up. In another shell of the same user:");
        for pod in [&self.allow, &self.deny, &self.app] {
            println!("  {:<16} {enter} nsenter --net={} bash", pod.name(), pod.netns().path().display());
        }
        println!("  {:<16} {enter} ls {}", "logs", isolate::HOME);
        println!(
            "  for example      {enter} nsenter --net={} curl -i {}",
            self.allow.netns().path().display(),
            self.url()
        );
        println!("It ends with Ctrl-C here, or with: kill {pid}");
        wait_for_the_end();
    }
}

/// The ports that were seen, for a reader.
fn ports(seen: &Seen) -> String {
    let ports: Vec<_> = seen.server_ports().iter().map(u16::to_string).collect();
    ports.join(", ")
}

/// The last line of the denied client in a proxy's access log.
fn denied_line(proxy: &Proxy, direction: &str) -> AccessLine {
    eventually(format_args!("an {direction} line of curl-deny"), || {
        let lines = proxy.access_log();
        let ours = |line: &&AccessLine| {
            line.text("direction") == direction
                && line.text("src.workload") == "curl-deny"
                && line.text("level") == "error"
        };
        lines.iter().rev().find(ours).cloned().ok_or_else(|| format!("none among {}", lines.len()))
    })
}

fn wait_for_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM");
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
}

/// Text of the page that must not be seen on the wire.
const TEXT: &str = "sample-app is blue";

/// What a reader of the tutorial applies.
const POLICY: &str = include_str!("../../../docs/tutorial/deny.yaml");
