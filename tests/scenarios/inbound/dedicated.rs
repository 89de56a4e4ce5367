//! A proxy for one workload alone, in that workload's own namespace.

use std::os::fd::AsFd;

use cni_plugin_redirect::{Backend, DnsListeners, Kind, PodOverrides, Settings, Variant, apply, plan};
use tests::lab::proxy::{Proxy, ProxySpec};
use tests::lab::{Lab, Pod, Program, Speaks, control, eventually};

use super::{captured, give, meshed, uid, url};

pub(crate) fn a_dedicated_proxy_carries_and_guards_its_one_workload() {
    let lab = meshed();
    let (client, deny) = (captured(&lab, "client", "b"), captured(&lab, "curl-deny", "b"));
    let pod = lab.pod("dedicated").on("a").label("app", "handson").label("istio.io/dataplane-mode", "none");
    let pod = pod.create();
    pod.wait_known("TCP");
    pod.sample_app("blue");
    let proxy = start(&pod);
    proxy.wait_ready();
    redirect(&lab, &pod);
    give(&lab, &format!("workloads: [{{uid: '{}', protocol: HBONE}}]", uid(&pod)));
    pod.wait_known("HBONE");
    proxy.wait_workload("default", "dedicated", "HBONE");

    let inbound = client.curl(&[&url(pod.at(8080), "/color")]);
    assert_eq!((inbound.status, inbound.body.as_str()), (200, "blue"), "{inbound:?}");
    let echo = client.serve(7001, Speaks::Echo);
    pod.connect(client.at(7001)).echo("hello");
    assert_eq!(echo.served()[0].peer.ip(), pod.ip());
    eventually("both went through the tunnel", || {
        let lines = proxy.access_log();
        let tunneled = |inbound, source: &Pod| {
            lines.iter().any(|l| l.is_inbound() == inbound && l.text("src.identity") == source.identity())
        };
        if tunneled(true, &client) && tunneled(false, &pod) { Ok(()) } else { Err(format!("{lines:?}")) }
    });
    lab.apply(super::DENY);
    proxy.wait_policy("default/layer4-authz", true);
    assert_eq!(deny.curl(&[&url(pod.at(8080), "/color")]).status, 0, "policy");
    assert_eq!(client.curl(&[&url(pod.at(8080), "/color")]).status, 200);

    // It asked for nobody else's certificate, and told to end it lets open connections end.
    let signed = lab.control().signed();
    assert!(signed.contains(&pod.identity()), "{signed:?}");
    let mut open = pod.connect(client.at(7001));
    open.echo("before");
    proxy.terminate();
    open.echo("while it ends");
    drop(open);
    assert!(proxy.process().wait().success());
}

pub(crate) fn a_taken_port_is_an_error_of_the_start() {
    let lab = meshed();
    let pod = lab.pod("dedicated").on("a").label("istio.io/dataplane-mode", "none").create();
    pod.wait_known("TCP");
    let _taken = pod.serve(15006, Speaks::Echo);
    let proxy = start(&pod);
    assert!(!proxy.process().wait().success());
    let log = proxy.process().log();
    assert!(log.contains("15006") || log.contains("in use"), "{log}");
}

/// Starts a proxy for the pod alone, inside of it, with the pod's own token.
#[track_caller]
fn start(pod: &Pod) -> Proxy {
    let node = pod.node();
    let (token, identity) = control::DEDICATED;
    assert_eq!(identity, pod.identity());
    let mut spec: ProxySpec = node.proxy_spec();
    for key in ["POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT", "INPOD_UDS"] {
        spec.env.remove(key);
    }
    spec.name = "dedicated".to_owned();
    spec.netns = pod.netns().clone();
    spec.log = node.home().join("dedicated.log");
    spec.env("PROXY_MODE", "dedicated")
        .env("PROXY_WORKLOAD_INFO", "default/dedicated/dedicated")
        .env("PACKET_MARK", "1337")
        .env("AUTH_TOKEN", token)
        .env("POD_NAME", "dedicated")
        .env("POD_NAMESPACE", "default")
        .start()
}

/// Redirects the pod's traffic as an agent would, but for the proxy's own calls to the control plane: those come from
/// inside the pod here.
#[track_caller]
fn redirect(lab: &Lab, pod: &Pod) {
    let backend = Backend::try_out(Kind::Iptables(Variant::Nft)).unwrap_or_else(|e| panic!("{e}"));
    let settings = Settings { ipv6: false, ..Settings::default() };
    let plan = plan(&settings, &PodOverrides::default(), DnsListeners::default());
    apply::apply(&backend, pod.netns().file().as_fd(), &plan).expect("the rules of a pod");
    let control = lab.control().address().ip().to_string();
    let rule = ["-w", "-t", "nat", "-I", "OUTPUT", "-p", "tcp", "-d", &control, "-j", "ACCEPT"];
    let status = pod.run(|| Program::new("iptables-nft").args(rule).command().status());
    assert!(status.expect("iptables").success());
}
