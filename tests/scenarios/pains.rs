//! What users of ambient meshes complain of, when pods come, stay and go while their node changes.

use std::net::SocketAddr;

use tests::lab::{Conn, Lab, Node, Pod, Speaks, eventually, eventually_is, http};

use super::captured;
use super::enroll::{listeners, rules};

pub(crate) fn after_a_reboot_pods_are_measured_and_not_taken_at_their_annotation_s_word() {
    let lab = super::meshed();
    let server = captured(&lab, "web", "b");
    let _echo = server.serve(7001, Speaks::Echo);
    let pods: Vec<_> = (0..9).map(|number| captured(&lab, &format!("pod-{number}"), "a")).collect();
    let node = lab.node("a");
    node.agent().kill();
    node.proxy().process().kill();
    let pods: Vec<_> = pods
        .into_iter()
        .enumerate()
        .map(|(number, pod)| match number % 3 {
            0 => pod.moved_unseen(),
            1 => {
                flush(&pod);
                pod
            }
            _ => pod,
        })
        .collect();
    for pod in &pods {
        assert_eq!(pod.redirection().as_deref(), Some("enabled"), "nobody has looked yet");
    }
    assert_eq!(pods.iter().filter(|pod| rules(pod).is_empty()).count(), 6);

    node.begin_agent();
    node.begin_proxy(|spec| spec);
    node.wait_agent();
    node.proxy().wait_ready();
    for pod in &pods {
        eventually(format_args!("{} is captured and served", pod.name()), || captured_again(pod));
        pod.wait_enrolled();
    }
    eventually("each gap was counted", || match gaps(&node)? {
        counted if counted >= 6 => Ok(()),
        counted => Err(format!("{counted} gaps")),
    });
    let capture = lab.capture();
    for pod in &pods {
        pod.connect(server.at(7001)).echo("hello");
    }
    let seen = capture.finish();
    for pod in &pods {
        let ports = seen.between(&[pod.ip()]).server_ports();
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [15008], "{}", pod.name());
    }
}

pub(crate) fn bad_pods_keep_no_node_from_serving_the_others_through_restarts() {
    let lab = Lab::new().one_node().start();
    let pod = |name: &str| lab.pod(name).create();
    let good: Vec<_> = (0..9).map(|number| pod(&format!("good-{number}"))).collect();
    let [taken, gone, no_ipv6] = ["taken", "gone", "no-ipv6"].map(pod);
    let _squatter = taken.serve(15008, Speaks::Echo);
    gone.netns().remove();
    no_ipv6.run(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").expect("a switch of the kernel");
    });
    let _echoes: Vec<_> = good.iter().map(|pod| pod.serve(7001, Speaks::Echo)).collect();
    lab.enroll_namespace("default");
    // Without IPv6 on loopback a pod of IPv4 lacks nothing.
    let served: Vec<_> = good.iter().chain([&no_ipv6]).collect();
    for pod in &served {
        pod.wait_enrolled();
    }
    let node = lab.node("a");
    let mut dice: u32 = 7;
    for round in 0..15 {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match (dice >> 16) % 3 {
            0 => node.restart_agent(),
            1 => drop(node.begin_proxy(|spec| spec)),
            _ => {
                node.agent().kill();
                node.begin_proxy(|spec| spec);
                node.begin_agent();
                node.wait_agent();
            }
        }
        node.proxy().wait_ready();
        for (number, pod) in served.iter().enumerate() {
            eventually(format_args!("{} is served in round {round}", pod.name()), || captured_again(pod));
            let server = &good[(number + round) % good.len()];
            eventually(format_args!("{} talks in round {round}", pod.name()), || talk(pod, server.at(7001)));
        }
        for bad in [&taken, &gone] {
            assert_ne!(bad.redirection().as_deref(), Some("enabled"), "{} in round {round}", bad.name());
        }
    }
    for (bad, why) in [(&taken, "15008"), (&gone, "namespace")] {
        eventually(format_args!("the agent tells why {} is not served", bad.name()), || {
            let log = node.agent().log();
            let name = format!("default/{}", bad.name());
            let told = log.lines().any(|line| line.contains(&name) && line.contains(why));
            if told { Ok(()) } else { Err(tests::lab::process::tail(&log, 20)) }
        });
    }
}

pub(crate) fn connections_live_through_every_enrollment_and_withdrawal() {
    let lab = Lab::new().start();
    let client = lab.pod("client").on("a").create();
    let server = lab.pod("web").on("b").create();
    let _echo = server.serve(7001, Speaks::Echo);
    let mut plain: Vec<Conn> = Vec::new();
    for round in ["first", "second", "third"] {
        plain.extend((0..10).map(|_| client.connect(server.at(7001))));
        all_echo(&mut plain, round);

        lab.enroll_namespace("default");
        for pod in [&client, &server] {
            pod.wait_enrolled();
        }
        all_echo(&mut plain, "enrolled");
        assert_eq!(ports_of_a_new_one(&lab, &client, &server), [15008], "{round}");

        lab.withdraw_namespace("default");
        for pod in [&client, &server] {
            pod.wait_withdrawn();
            eventually_is("rules in the pod", String::new(), || rules(pod));
        }
        all_echo(&mut plain, "withdrawn");
        assert_eq!(ports_of_a_new_one(&lab, &client, &server), [7001], "{round}");
    }
}

#[track_caller]
fn all_echo(open: &mut [Conn], text: &str) {
    for open in open {
        open.echo(text);
    }
}

/// The ports that a connection of now goes to on the wire.
#[track_caller]
fn ports_of_a_new_one(lab: &Lab, client: &Pod, server: &Pod) -> Vec<u16> {
    let capture = lab.capture();
    client.connect(server.at(7001)).echo("a new one");
    capture.finish().between(&[client.ip()]).server_ports().into_iter().collect()
}

/// Whether rules lead to a proxy that listens.
fn captured_again(pod: &Pod) -> Result<(), String> {
    let (rules, listeners) = (rules(pod), listeners(pod));
    let serves = [15001, 15006, 15008].iter().all(|port| listeners.contains(port));
    if serves && rules.to_uppercase().contains("REDIRECT") {
        Ok(())
    } else {
        Err(format!("ports {listeners:?}, rules {rules:?}"))
    }
}

fn talk(from: &Pod, to: SocketAddr) -> Result<(), std::io::Error> {
    let mut open = from.try_connect(to)?;
    open.try_say("hello")?;
    open.try_hear("hello")
}

/// Takes all rules out of a pod, as another program's flush does.
fn flush(pod: &Pod) {
    let done = pod.run(|| {
        let all = [("iptables-nft", "nat"), ("iptables-nft", "mangle"), ("iptables-legacy", "nat")]
            .into_iter()
            .chain([("iptables-legacy", "mangle")]);
        let flushed = all.map(|(program, table)| {
            let flush = |flag: &str| tests::lab::Program::new(program).args(["-t", table, flag]).command();
            flush("-F").status().is_ok_and(|status| status.success())
                & flush("-X").status().is_ok_and(|status| status.success())
        });
        let flushed = flushed.filter(|flushed| *flushed).count() > 0;
        let nft = tests::lab::Program::new("nft").args(["flush", "ruleset"]).command().status();
        nft.is_ok_and(|status| status.success()) || flushed
    });
    assert!(done, "no program takes the rules of {} away", pod.name());
}

/// How many gaps the agent counted.
fn gaps(node: &Node) -> Result<u64, String> {
    let (_, text) = http::get(node.netns(), SocketAddr::from(([127, 0, 0, 1], 15_014)), "/metrics")?;
    let samples = text.lines().filter(|line| line.starts_with("adit_agent_failed_proofs_total"));
    Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
