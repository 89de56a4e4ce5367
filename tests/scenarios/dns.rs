//! Pods ask their resolver as ever: the mesh answers for what is its own, and nobody else notices it.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use proxy_core::dns::{A, AAAA, asked, lookup, set_id};
use tests::lab::dns::{ask, getent};
use tests::lab::{Families, Lab, Over, Pod, Proxy, Speaks, eventually, eventually_is};

use super::{captured, meshed, uncaptured};

/// How long a scenario waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn a_pod_finds_services_under_every_name_and_the_rest_where_it_always_was() {
    let lab = Lab::new().proxy_env("RUST_LOG", "info,dns=debug").start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let (one, two) = (captured(&lab, "web", "b"), captured(&lab, "web-2", "a"));
    let outside = uncaptured(&lab, "outside", "a");
    let web = lab.service("web").port(80, 8080).create();
    lab.service("peers").select("app", "web").port(80, 8080).headless().create();
    lab.apply(WILDCARD);
    web.wait_endpoints(1);
    lab.node("a").proxy().wait_service("default", "wild", 0);
    one.sample_app("blue");
    two.sample_app("blue");
    lab.names().set("db.example", &[ip("10.9.9.9"), ip("fd00::9")]);

    let host = web.host();
    for name in ["web", "web.default", "web.default.svc", host.as_str(), "WEB.Default"] {
        assert_eq!(getent(client.netns(), "ahostsv4", name), [web.ip()], "{name}");
        assert_eq!(addresses(&client, lab.names().address().ip(), name, AAAA), Some(vec![]), "{name}");
    }
    assert_eq!(getent(client.netns(), "ahostsv4", "any.wild.example"), [ip("10.96.9.9")]);
    assert_eq!(getent(client.netns(), "ahostsv4", "peers"), [one.ip()]);
    lab.node("a").proxy().wait_workload("default", "web-2", "HBONE");
    two.relabel("app", Some("web"));
    eventually_is("addresses of the headless service", 2, || {
        getent(client.netns(), "ahostsv4", "peers").len()
    });
    assert_eq!(client.curl(&["http://web/color"]).body, "blue");
    let mesh_names = |from: &Pod| {
        let got = lab.names().received();
        got.iter().filter(|got| got.from.ip() == from.ip() && !got.name().ends_with("db.example.")).count()
    };
    assert_eq!(mesh_names(&client), 0, "{:?}", lab.names().received());

    // What is not the mesh's is asked for in the pod's own name, and answered as it was.
    assert_eq!(getent(client.netns(), "ahosts", "db.example"), [ip("10.9.9.9"), ip("fd00::9")]);
    assert!(lab.names().asked_by(client.ip(), "db.example.") > 0);
    assert_eq!(getent(client.netns(), "ahosts", "nobody.example"), [] as [IpAddr; 0]);
    // Pods that are not captured ask by themselves.
    assert_eq!(getent(outside.netns(), "ahostsv4", "web"), [] as [IpAddr; 0]);
    assert!(lab.names().asked_by(outside.ip(), "web.") > 0);
    told(&lab.node("a").proxy());
}

/// What metrics and the log say of the queries of the first scenario.
fn told(proxy: &Proxy) {
    let metrics = proxy.metrics();
    let sum = |name: &str, kind: &str| {
        let labels = [
            ("request_query_type", kind),
            ("request_protocol", "udp"),
            ("source_canonical_service", "client"),
            ("source_canonical_revision", "latest"),
        ];
        metrics.sum(name, &labels)
    };
    assert!(sum("istio_dns_requests_total", "a") > sum("istio_dns_upstream_requests_total", "a"));
    assert!(sum("istio_dns_upstream_requests_total", "aaaa") >= 1.0);
    let count = "istio_dns_upstream_request_duration_seconds_count";
    assert_eq!(sum(count, "a"), sum("istio_dns_upstream_requests_total", "a"));
    let lines = proxy.process().log();
    let said = |domain: &str, result: &str| {
        lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).any(|line| {
            line["scope"] == "dns"
                && line["level"] == "debug"
                && line["domain"] == domain
                && line["query"] == "A"
                && line["result"] == result
                && line["src.workload"] == "client"
                && line["src.namespace"] == "default"
        })
    };
    for (domain, result) in [("web.default.", "success"), ("db.example.", "forwarded")] {
        assert!(said(domain, result), "no line for {domain}, {result}: {lines}");
    }
}

pub(crate) fn whatever_the_mesh_does_not_answer_passes_as_it_is() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let outside = uncaptured(&lab, "outside", "a");
    lab.service("web").port(80, 8080).create();
    lab.node("a").proxy().wait_service("default", "web", 0);
    lab.names().parrot();
    let server = lab.names().address();
    let mut compared = 0;
    for (what, message) in strange_messages() {
        for over in [Over::Udp, Over::Tcp] {
            let answer = |pod: &Pod| {
                let answer = ask(pod.netns(), server, over, &message, PATIENCE);
                answer.unwrap_or_else(|| panic!("no answer to {what} over {over:?} for {}", pod.name()))
            };
            assert_eq!(answer(&client), answer(&outside), "{what} over {over:?}");
            compared += 1;
        }
    }
    assert!(compared >= 200, "{compared}");
    // The server got the same bytes from both, but for ids over UDP, which are the proxy's own.
    let got = |from: &Pod| {
        let got = lab.names().received().into_iter().filter(|got| got.from.ip() == from.ip());
        let mut all: Vec<_> = got
            .map(|got| {
                let mut message = got.message;
                if got.over == Over::Udp {
                    set_id(&mut message, 0);
                }
                (got.over == Over::Tcp, message)
            })
            .collect();
        all.sort();
        all
    };
    assert!(got(&client) == got(&outside), "the server got other bytes than were sent");
}

/// Messages that are not the mesh's to answer, in name or in kind, each with what is strange about it.
fn strange_messages() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let plain = |name: &str, kind: u16| lookup(name, kind, 0x4242).expect("a name");
    let bare = |name: &str, kind: u16| {
        let mut message = plain(name, kind);
        message.truncate(message.len() - 11);
        message[11] = 0;
        message
    };
    for kind in (1..=70).chain([99, 250, 251, 252, 255, 257, 32_768, 65_280]) {
        all.push((format!("type {kind}"), plain("wEb.eXample", kind)));
        // A of a name of the mesh is the mesh's to answer.
        if kind != A && kind != AAAA {
            all.push((format!("type {kind} of a service"), bare("web.default.svc.cluster.local", kind)));
        }
    }
    for opcode in 1..16_u8 {
        let mut message = bare("web.default.svc.cluster.local", 6);
        message[2] = opcode << 3;
        all.push((format!("opcode {opcode}"), message));
    }
    for flag in 0..16 {
        let mut message = bare("web", A);
        let place = 2 + usize::from(flag >= 8);
        message[place] ^= 0x80 >> (flag % 8);
        // A response is nothing to answer, and these flags leave a question that is the mesh's.
        if !matches!(flag, 0 | 7 | 10 | 11) {
            all.push((format!("flag {flag}"), message));
        }
    }
    let with = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = bare("web", A);
        change(&mut message);
        (name.to_owned(), message)
    };
    let end = bare("web", A).len();
    all.extend([
        with("two questions", &|m| {
            let question = m[12..].to_vec();
            m.extend_from_slice(&question);
            m[5] = 2;
        }),
        with("no question", &|m| m[5] = 0),
        with("a question cut short", &|m| m.truncate(end - 3)),
        with("bytes after the end", &|m| m.extend_from_slice(b"junk")),
        with("a pointer in the name", &|m| m[12] = 0xc0),
        with("class CHAOS", &|m| m[end - 1] = 3),
        with("a signature", &|m| {
            m[11] = 1;
            m.extend_from_slice(b"\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04");
        }),
        with("EDNS 1", &|m| {
            m[11] = 1;
            m.extend_from_slice(&[0, 0, 41, 4, 208, 0, 1, 0x80, 0, 0, 0]);
        }),
        with("two OPT records", &|m| {
            m[11] = 2;
            m.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0].repeat(2));
        }),
        with("an answer in a query", &|m| m[7] = 1),
    ]);
    all
}

pub(crate) fn a_long_answer_is_truncated_and_then_whole_over_tcp() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    lab.apply(&crowd());
    lab.node("a").proxy().wait_service("default", "crowd", 60);
    let message = lookup("crowd", A, 7).expect("a name");
    let mut small = message[..message.len() - 11].to_vec();
    small[11] = 0;
    let server = lab.names().address();
    let answer = ask(client.netns(), server, Over::Udp, &small, PATIENCE).expect("an answer");
    assert!(answer.len() <= 512 && answer[2] & 0x02 != 0, "{} bytes, flags {:02x}", answer.len(), answer[2]);
    let answer = ask(client.netns(), server, Over::Tcp, &small, PATIENCE).expect("an answer");
    assert!(answer[2] & 0x02 == 0);
    assert_eq!(proxy_core::dns::addresses(&answer).expect("addresses").addresses.len(), 60);
    assert_eq!(getent(client.netns(), "ahostsv4", "crowd").len(), 60);
}

pub(crate) fn a_pod_whose_dns_port_is_taken_resolves_without_the_mesh_and_alone() {
    let lab = Lab::new().one_node().start();
    let (poor, rich) = (lab.pod("poor").create(), lab.pod("rich").create());
    let taken = poor.run(|| UdpSocket::bind("127.0.0.1:15053").expect("the port"));
    let web = lab.service("web").port(80, 8080).create();
    lab.enroll_namespace("default");
    poor.wait_enrolled();
    rich.wait_enrolled();
    let proxy = lab.node("a").proxy();
    proxy.wait_service("default", "web", 0);
    assert_eq!(proxy.readiness().expect("an answer").0, 200);
    lab.names().set("db.example", &[ip("10.9.9.9")]);
    assert_eq!(getent(rich.netns(), "ahostsv4", "web"), [web.ip()]);
    assert_eq!(getent(poor.netns(), "ahostsv4", "web"), [] as [IpAddr; 0]);
    for pod in [&poor, &rich] {
        assert_eq!(getent(pod.netns(), "ahostsv4", "db.example"), [ip("10.9.9.9")]);
    }
    assert_eq!(proxy.metrics().sum("adit_dns_pods_without_listener", &[]), 1.0);
    drop(taken);
    eventually_is("pods without DNS", 0.0, || proxy.metrics().sum("adit_dns_pods_without_listener", &[]));
    // A measurement finds the listener, and the rules follow it.
    eventually("the pod resolves by the mesh", || {
        let _ = poor.cni_check();
        match getent(poor.netns(), "ahostsv4", "web") {
            found if found == [web.ip()] => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
}

pub(crate) fn without_the_proxy_a_pod_resolves_as_it_would_outside_the_mesh() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let web = lab.service("web").port(80, 8080).create();
    let node = lab.node("a");
    node.proxy().wait_service("default", "web", 0);
    lab.names().set("db.example", &[ip("10.9.9.9")]);
    assert_eq!(getent(client.netns(), "ahostsv4", "web"), [web.ip()]);
    node.proxy().process().kill();
    eventually_is("addresses of a name outside the mesh", vec![ip("10.9.9.9")], || {
        getent(client.netns(), "ahostsv4", "db.example")
    });
    assert_eq!(getent(client.netns(), "ahostsv4", "web"), [] as [IpAddr; 0]);
    node.restart_proxy(|spec| spec);
    eventually_is("addresses of a name of the mesh", vec![web.ip()], || {
        getent(client.netns(), "ahostsv4", "web")
    });
}

pub(crate) fn a_pod_may_keep_its_dns_to_itself() {
    let lab = meshed();
    let pod = lab.pod("own").on("a").annotation("ambient.istio.io/dns-capture", "false").create();
    pod.wait_enrolled();
    lab.service("web").port(80, 8080).create();
    lab.node("a").proxy().wait_service("default", "web", 0);
    assert_eq!(getent(pod.netns(), "ahostsv4", "web"), [] as [IpAddr; 0]);
    assert!(lab.names().asked_by(pod.ip(), "web.") > 0);
}

pub(crate) fn a_query_under_way_is_answered_while_another_proxy_takes_over() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let web = lab.service("web").port(80, 8080).create();
    let node = lab.node("a");
    let old = node.proxy();
    old.wait_service("default", "web", 0);
    lab.names().set("db.example", &[ip("10.9.9.9")]);
    lab.names().hold(true);
    let found = std::thread::scope(|scope| {
        let asking = scope.spawn(|| addresses(&client, lab.names().address().ip(), "db.example", A));
        eventually("the query is with the server", || {
            match lab.names().asked_by(client.ip(), "db.example.") {
                0 => Err("not yet"),
                _ => Ok(()),
            }
        });
        let new = node.start_successor();
        new.wait_service("default", "web", 0);
        old.terminate();
        for _ in 0..20 {
            assert_eq!(getent(client.netns(), "ahostsv4", "web"), [web.ip()]);
        }
        lab.names().hold(false);
        asking.join().expect("the client")
    });
    assert_eq!(found, Some(vec![ip("10.9.9.9")]));
    old.process().wait();
    assert_eq!(getent(client.netns(), "ahostsv4", "db.example"), [ip("10.9.9.9")]);
}

pub(crate) fn a_workload_known_by_name_is_resolved_for_the_connection() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let server = uncaptured(&lab, "server", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    lab.apply(BY_NAME);
    lab.names().set("db.example", &[server.ip()]);
    lab.node("a").proxy().wait_service("default", "db", 1);
    for _ in 0..3 {
        client.connect("10.96.9.8:7001".parse().expect("an address")).echo("hello");
    }
    let asked_for = || {
        let got = lab.names().received();
        got.iter()
            .filter(|got| got.name() == "db.example." && asked(&got.message).is_some_and(|q| q.kind == A))
            .count()
    };
    assert_eq!(asked_for(), 1, "the answer is remembered");
    let labels =
        [("hostname", "db.example"), ("source_workload", "client"), ("source_workload_namespace", "default")];
    let metrics = lab.node("a").proxy().metrics();
    assert_eq!(metrics.sum("istio_on_demand_dns_total", &labels), 3.0);
    // Pods that ask for it themselves get the cluster's answer.
    assert_eq!(getent(client.netns(), "ahostsv4", "db.example"), [server.ip()]);
    assert!(lab.names().asked_by(client.ip(), "db.example.") > 0);
}

pub(crate) fn a_client_that_stalls_in_the_middle_of_a_query_is_let_go() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let mut stalled = client.connect(lab.names().address());
    // Of a message of 256 bytes, the length and a little.
    stalled.say_bytes(&[1, 0, 0x12, 0x34]);
    let (heard, _) = stalled.rest();
    assert_eq!(heard, "");
    let found = addresses(&client, lab.names().address().ip(), "nobody.example", A);
    assert_eq!(found, Some(vec![]), "others are served");
}

pub(crate) fn both_families_are_answered_where_pods_have_them() {
    let lab = Lab::new().families(Families::Dual).one_node().start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let web = lab.service("web").port(80, 8080).create();
    lab.node("a").proxy().wait_service("default", "web", 0);
    let found = getent(client.netns(), "ahosts", "web");
    assert!(found.contains(&web.ip()) && found.iter().any(IpAddr::is_ipv6), "{found:?}");
}

pub(crate) fn ipv6_alone_is_enough_to_resolve() {
    let lab = Lab::new().families(Families::V6).one_node().start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let web = lab.service("web").port(80, 8080).create();
    lab.node("a").proxy().wait_service("default", "web", 0);
    lab.names().set("db.example", &[ip("fd00::9")]);
    assert_eq!(getent(client.netns(), "ahostsv6", "web"), [web.ip()]);
    assert_eq!(getent(client.netns(), "ahostsv6", "db.example"), [ip("fd00::9")]);
}

/// The addresses of one type that an answer of the pod's resolver holds.
fn addresses(pod: &Pod, server: IpAddr, name: &str, kind: u16) -> Option<Vec<IpAddr>> {
    let message = lookup(name, kind, 0x1234).expect("a name");
    let answer = ask(pod.netns(), (server, 53).into(), Over::Udp, &message, PATIENCE)?;
    Some(proxy_core::dns::addresses(&answer).expect("an answer that says something").addresses)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A headless service of sixty machines.
fn crowd() -> String {
    let workloads = (1..=60).map(|number| {
        format!(
            "- {{uid: crowd-{number}, name: crowd-{number}, namespace: default, serviceAccount: crowd, \
             workloadIps: [10.7.0.{number}], services: {{default/crowd.default.svc.cluster.local: {{80: 8080}}}}}}\n"
        )
    });
    format!(
        "apiVersion: adit.dev/v1alpha1\nkind: MeshResources\nmetadata: {{name: crowd}}\nservices:\n\
         - {{name: crowd, namespace: default, hostname: crowd.default.svc.cluster.local, ports: {{80: 8080}}}}\n\
         workloads:\n{}",
        workloads.collect::<String>()
    )
}

const WILDCARD: &str = r#"
apiVersion: adit.dev/v1alpha1
kind: MeshResources
metadata: {name: wild}
services:
- {name: wild, namespace: default, hostname: "*.wild.example", vips: ["/10.96.9.9"], ports: {80: 8080}}
"#;

const BY_NAME: &str = r#"
apiVersion: adit.dev/v1alpha1
kind: MeshResources
metadata: {name: db}
services:
- {name: db, namespace: default, hostname: db.internal, vips: ["/10.96.9.8"], ports: {7001: 7001}}
workloads:
- {uid: db, name: db, namespace: default, serviceAccount: db, hostname: db.example, services: {default/db.internal: {7001: 7001}}}
"#;
