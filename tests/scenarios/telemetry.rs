//! What a proxy says of the traffic it carried, in the words that tools read.

use serde_json::Value;
use tests::lab::observe::AccessLine;
use tests::lab::{Proxy, Speaks, eventually, eventually_is};

use super::policy::{DENIED, DENY, SERVED, Story};
use super::{captured, meshed, url};

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
