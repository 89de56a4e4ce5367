//! Pods that reach nobody past the proxy before they are proved, with the kernel's own refusal.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use cni_plugin_agent::config::RawEnrollment;
use cni_plugin_redirect::in_netns;

use crate::enroll::process;
use crate::rig::{PodNetns, Rig, TempDir, eventually, obey, uid, until};

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    /// Somebody answered, and it can only have been the proxy.
    Captured,
    /// It went out, where nobody is.
    Out,
}

fn speak(pod: &PodNetns) -> Outcome {
    let to = SocketAddr::from(([10, 0, 0, 1], 80));
    let said = in_netns(pod.fd().as_fd(), || TcpStream::connect_timeout(&to, Duration::from_millis(200)));
    match said.unwrap() {
        Ok(_) => Outcome::Captured,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Out,
    }
}

#[tokio::test]
async fn a_pod_that_runs_is_refused_until_it_is_proved_and_let_out_when_it_leaves() {
    let pod = PodNetns::with_address("10.0.0.5");
    pod.run("ip", &["link", "set", "veth1", "up"]);
    pod.run("ip", &["route", "add", "default", "via", "10.0.0.1"]);
    let text = |text: &str| Some(text.to_owned());
    let enrollment = RawEnrollment { canary: text("on"), unproved_outbound: text("refuse") };
    let rig = Rig::start(TempDir::new(), |raw, _| raw.enrollment = enrollment).await;
    process(&rig.dir, 100, "a", &pod);
    assert_eq!(speak(&pod), Outcome::Out);
    rig.namespace("shop", "ambient");
    rig.pod("shop", "a", "10.0.0.5");
    eventually("it is refused", || speak(&pod) == Outcome::Refused).await;
    assert!(!pod.is_captured(), "no proxy is there");

    let _listener = in_netns(pod.fd().as_fd(), || TcpListener::bind("0.0.0.0:15001").unwrap()).unwrap();
    let mut asked = obey(rig.proxy());
    until(&mut asked, &format!("add {}", uid("a"))).await;
    eventually("the pod is enabled", || rig.is_enabled("shop", "a")).await;
    assert_eq!(speak(&pod), Outcome::Captured);
    assert!(!pod.run("iptables-save", &[]).contains("ADIT_REFUSAL"), "nothing is refused any more");

    rig.namespace("shop", "");
    until(&mut asked, &format!("delete {}", uid("a"))).await;
    assert_eq!(speak(&pod), Outcome::Out);
}

#[tokio::test]
async fn a_pod_that_leaves_before_it_is_captured_is_let_out() {
    let pod = PodNetns::with_address("10.0.0.5");
    pod.run("ip", &["link", "set", "veth1", "up"]);
    let refuse = |raw: &mut cni_plugin_agent::config::Raw, _: &TempDir| {
        raw.enrollment.unproved_outbound = Some("refuse".to_owned());
    };
    let rig = Rig::start(TempDir::new(), refuse).await;
    process(&rig.dir, 100, "a", &pod);
    rig.namespace("shop", "ambient");
    rig.pod("shop", "a", "10.0.0.5");
    eventually("it is refused", || speak(&pod) == Outcome::Refused).await;
    rig.namespace("shop", "");
    eventually("it is let out", || speak(&pod) == Outcome::Out).await;
}
