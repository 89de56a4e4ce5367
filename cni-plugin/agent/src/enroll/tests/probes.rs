//! Which probes the host is to let past the proxies, from a pod's start to its end.

use std::net::IpAddr;

use super::*;
use crate::model::Pod;

/// The pod with a probe of port 8080.
fn probed(mut pod: Pod) -> Pod {
    let spec = r#"{"containers": [{"name": "app", "livenessProbe": {"tcpSocket": {"port": 8080}}}]}"#;
    let node = std::mem::take(&mut pod.spec.node_name);
    pod.spec = serde_json::from_str(spec).unwrap();
    pod.spec.node_name = node;
    pod
}

fn probes(rig: &Rig) -> Vec<String> {
    let all = rig.machine.probes();
    all.iter()
        .flat_map(|(uid, probes)| probes.iter().map(move |(ip, port)| format!("{} {ip} {port}", uid.0)))
        .collect()
}

#[test]
fn the_probes_of_a_pod_that_starts_are_let_through_at_the_plugin_s_addresses_before_its_rules() {
    let mut rig = Rig::new();
    rig.seen(&probed(without_address("a")));
    assert_eq!(probes(&rig), [""; 0]);
    let add = Event::Add {
        request: RequestId(1),
        sandbox: sandbox("a", "c1"),
        uid: Some(uid("a")),
        netns: Arc::new(stand_in()),
        ips: ["10.0.0.7", "fd00::7"].map(|ip| ip.parse::<IpAddr>().unwrap()).to_vec(),
    };
    assert_eq!(rig.on(add), ["redirect a"]);
    assert_eq!(probes(&rig), ["u-a 10.0.0.7 8080", "u-a fd00::7 8080"]);
    rig.seen(&probed(pod("a")));
    assert_eq!(probes(&rig), ["u-a 10.0.0.5 8080"], "what its status says counts once it says something");
}

#[test]
fn a_pod_keeps_its_probes_until_its_rules_are_gone() {
    let (mut rig, _netns) = Rig::enrolled(&probed(pod("a")));
    rig.on(Event::WithdrawAll);
    assert_eq!(probes(&rig), ["u-a 10.0.0.5 8080"]);
    rig.later(1);
    rig.done("a", Ended::Recorded(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Released(Ok(())));
    rig.later(1);
    rig.done("a", Ended::Retracted);
    rig.done("a", Ended::Unredirected(Ok(())));
    rig.done("a", Ended::Recorded(Ok(())));
    assert_eq!(probes(&rig), [""; 0]);
}
