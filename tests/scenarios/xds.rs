//! What proxies know, and from whom: written by hand, on demand, from the disk, and beside what Kubernetes says.

use std::net::SocketAddr;

use tests::lab::proxy::ProxySpec;
use tests::lab::{Lab, Pod, Proxy, Server, Speaks, eventually};
use tests::sample_app;

use super::{captured, meshed, url};

pub(crate) fn a_proxy_without_a_control_plane_serves_what_was_written_by_hand() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let web = captured(&lab, "web", "b");
    web.sample_app("blue");
    let local = format!(
        "workloads:\n{}{}services:\n- {{name: page, namespace: default, hostname: page.example, \
         vips: [/10.96.77.7], ports: {{80: 8080}}}}\n",
        by_hand(&client, "{}"),
        by_hand(&web, "{default/page.example: {80: 8080}}"),
    );
    let proxy = lab.node("a").restart_proxy(|spec| spec.env("XDS_ADDRESS", "").env("LOCAL_XDS", &local));

    let dump = proxy.config_dump().expect("a dump");
    assert_eq!(dump["staticConfig"]["services"][0]["hostname"], "page.example");
    assert_eq!(names(&proxy), ["client", "web"]);
    let vip: SocketAddr = "10.96.77.7:80".parse().expect("an address");
    for at in [vip, web.at(8080)] {
        let page = client.curl(&[&url(at, "/")]);
        assert_eq!((page.status, page.body), (200, sample_app::page("blue")), "{at}: {}", page.stderr);
    }
    tunneled(&proxy, &web);
}

pub(crate) fn what_is_written_by_hand_wrongly_ends_the_proxy_with_its_field() {
    let lab = meshed();
    let proxy = lab.node("a").begin_proxy(|spec| spec.env("LOCAL_XDS", "workloads: [{nodeName: a}]"));
    assert!(!proxy.process().wait().success());
    let log = proxy.process().log();
    assert!(log.contains("LOCAL_XDS") && log.contains("nodeName"), "{log}");
}

/// Addresses on demand, which leave DNS to others.
fn on_demand(spec: ProxySpec) -> ProxySpec {
    spec.env("XDS_ON_DEMAND", "true").env("ISTIO_META_DNS_CAPTURE", "false")
}

pub(crate) fn on_demand_a_proxy_knows_what_was_needed_and_no_more() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let web = captured(&lab, "web", "b");
    let _other = captured(&lab, "other", "b");
    web.sample_app("blue");
    let service = lab.service("web").port(80, 8080).create();
    service.wait_endpoints(1);
    let proxy = lab.node("a").restart_proxy(on_demand);
    eventually("the workloads of its own node come unasked", || match names(&proxy) {
        known if known == ["client"] => Ok(()),
        known => Err(format!("{known:?}")),
    });

    let page = client.curl(&[&url(service.at(80), "/")]);
    assert_eq!((page.status, page.body), (200, sample_app::page("blue")), "{}", page.stderr);
    tunneled(&proxy, &web);
    assert_eq!(names(&proxy), ["client", "web"], "the other was never asked for");

    // What came by an alias is followed like everything else.
    web.delete();
    eventually("what is gone is gone here too", || match names(&proxy) {
        known if known == ["client"] => Ok(()),
        known => Err(format!("{known:?}")),
    });
}

pub(crate) fn on_demand_an_unknown_address_passes_through() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let node = lab.node("b");
    // A node's own address is no workload.
    let _server = Server::start(node.netns(), 7001, Speaks::Echo);
    lab.node("a").restart_proxy(on_demand);
    let at = SocketAddr::new(node.ip(), 7001);
    for _ in 0..3 {
        client.connect(at).echo("hello");
    }
}

pub(crate) fn a_proxy_that_starts_without_its_control_plane_serves_from_its_snapshot() {
    let lab = Lab::new().standalone().start();
    lab.enroll_namespace("default");
    let client = captured(&lab, "client", "a");
    let web = super::uncaptured(&lab, "web", "b");
    web.sample_app("blue");
    let service = lab.service("web").port(80, 8080).create();
    service.wait_endpoints(1);
    let node = lab.node("a");
    let folder = node.home().join("snapshot").display().to_string();
    let proxy = node.restart_proxy(|spec| spec.env("ADIT_SNAPSHOT_DIR", &folder));
    proxy.wait_service("default", "web", 1);
    eventually("it is kept", || match proxy.metrics().sum("adit_snapshot_writes_total", &[]) {
        writes if writes > 0.0 => Ok(()),
        writes => Err(format!("{writes} writes")),
    });
    assert_eq!(proxy.metrics().sum("adit_snapshot_serving", &[]).to_string(), "0");

    lab.control().standalone().process().kill();
    let proxy =
        node.restart_proxy(|spec| spec.env("ADIT_SNAPSHOT_DIR", &folder).env("ADIT_SNAPSHOT_WAIT", "100ms"));
    assert_eq!(proxy.metrics().sum("adit_snapshot_serving", &[]).to_string(), "1");
    let (status, says) = proxy.readiness().expect("an answer");
    assert_eq!(status, 200);
    assert!(says.starts_with("ready\n") && says.contains("snapshot"), "{says}");
    // The virtual address leads to the pod only for who knows the service.
    let page = client.curl(&[&url(service.at(80), "/")]);
    assert_eq!((page.status, page.body), (200, sample_app::page("blue")), "{}", page.stderr);
}

pub(crate) fn what_kubernetes_cannot_say_is_followed_like_everything_else() {
    let lab = meshed();
    let client = captured(&lab, "client", "a");
    let web = captured(&lab, "web", "b");
    web.sample_app("blue");
    let vip: SocketAddr = "10.96.99.9:80".parse().expect("an address");
    lab.apply(
        "apiVersion: adit.dev/v1alpha1
kind: MeshResources
metadata: {name: vm}
workloads: [{uid: Kubernetes//Pod/default/web, services: {default/vm.example: {80: 8080}}}]
services: [{name: vm, namespace: default, hostname: vm.example, vips: [/10.96.99.9], ports: {80: 8080}}]",
    );
    let proxy = lab.node("a").proxy();
    proxy.wait_service("default", "vm", 1);
    let page = client.curl(&[&url(vip, "/")]);
    assert_eq!((page.status, page.body), (200, sample_app::page("blue")), "{}", page.stderr);
    tunneled(&proxy, &web);

    lab.delete("MeshResources", "", "vm");
    eventually("the service is gone, the pod is not", || {
        let dump = proxy.config_dump()?;
        let services = dump["services"].as_array().into_iter().flatten();
        let there = services.filter(|service| service["name"] == "vm").count();
        if there == 0 { Ok(()) } else { Err("still there".to_owned()) }
    });
    let page = client.curl(&[&url(web.at(8080), "/")]);
    assert_eq!(page.status, 200, "{}", page.stderr);
}

/// A pod as a line of a local configuration.
fn by_hand(pod: &Pod, services: &str) -> String {
    let identity = pod.identity();
    let account = identity.rsplit('/').next().expect("an account");
    format!(
        "- {{uid: hand/{name}, name: {name}, workloadName: {name}, namespace: {namespace}, \
         trustDomain: cluster.local, serviceAccount: {account}, workloadIps: ['{ip}'], protocol: HBONE, node: {node}, services: {services}}}\n",
        name = pod.name(),
        namespace = pod.namespace(),
        ip = pod.ip(),
        node = pod.node().name(),
    )
}

/// The workloads that a proxy knows, by name.
fn names(proxy: &Proxy) -> Vec<String> {
    let dump = proxy.config_dump().expect("a dump");
    let workloads = dump["workloads"].as_array().expect("workloads").iter();
    let mut names: Vec<_> = workloads.filter_map(|w| Some(w["name"].as_str()?.to_owned())).collect();
    names.sort();
    names
}

/// The last connection went to this pod through a tunnel.
fn tunneled(proxy: &Proxy, to: &Pod) {
    eventually(format_args!("a tunnel to {} is told", to.name()), || {
        let log = proxy.access_log();
        let through = log
            .iter()
            .any(|line| line.text("dst.workload") == to.name() && line.text("dst.addr").ends_with(":15008"));
        if through { Ok(()) } else { Err(format!("{} lines, none of them", log.len())) }
    });
}
