//! What enrolment costs on a full node, and what a restart of the agent does to the traffic of its pods. Figures, not
//! limits: what they are on a machine is printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;
use tests::lab::{Pod, Process, Speaks, eventually};

use super::one_node;
use super::takeover::load::Load;

pub(crate) fn a_full_node_is_enrolled_and_proved_again_without_a_refused_connection() {
    let count = std::env::var("ADIT_E2E_PODS").ok().filter(|text| !text.is_empty());
    let count: usize = count.map_or(PODS, |text| text.parse().expect("ADIT_E2E_PODS is a number up to 250"));
    let lab = one_node().start();
    lab.enroll_namespace("default");
    let node = lab.node("a");
    let agent = Meter::of(&node.agent(), "agent");
    let client = lab.pod("client").create();
    let mut pods: Vec<Pod> = Vec::with_capacity(count);
    let (mut agents, mut plugins, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let pod = lab.pod(&format!("pod-{number}"));
        let (before, children, began) = (agent.used(), children(), Instant::now());
        pods.push(pod.create());
        waits.push(began.elapsed());
        agents.push(agent.used() - before);
        plugins.push(self::children() - children);
    }
    for pod in &pods {
        eventually(format_args!("{} is enrolled", pod.name()), || match pod.redirection().as_deref() {
            Some("enabled") => Ok(()),
            other => Err(format!("annotation {other:?}")),
        });
    }
    let servers: Vec<_> = pods.iter().map(|pod| pod.serve(7001, Speaks::Echo)).collect();
    let load = Load::start(client.netns(), pods.iter().map(|pod| pod.at(7001)).collect());
    let began = Instant::now();
    node.agent().kill();
    node.begin_agent();
    let restarted = Meter::of(&node.agent(), "restarted");
    node.wait_agent();
    let ready = began.elapsed();
    eventually("every pod has been proved by the new agent", || match unproved(&node.agent_pods()?) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{} left: {left:?}", left.len())),
    });
    let proved = began.elapsed();
    let spent = restarted.used();
    // Every pod has been asked for a connection since, and once more after that.
    let so_far = load.served();
    eventually("traffic to every pod goes on", || {
        let more = usize::try_from(load.served() - so_far).unwrap_or(usize::MAX);
        if more >= 2 * count { Ok(()) } else { Err(format!("{more} served")) }
    });
    let outcome = load.finish();
    drop(servers);
    let text = format!(
        "{count} pods: CPU per enrolment, median: agent with what it runs {:?}, plugin {:?}; a pod's chain, median {:?}\n\
         restart: ready again after {ready:?}, all proved after {proved:?} and {spent:?} of CPU; {} exchanges served, {} failed",
        median(agents),
        median(plugins),
        median(waits),
        outcome.served,
        outcome.failed.len(),
    );
    println!("{text}");
    if let Some(file) = std::env::var_os("ADIT_E2E_FIGURES") {
        fs::write(&file, format!("{text}\n")).expect("write the figures");
    }
    assert_eq!(outcome.failed, [""; 0]);
}

/// The pods that are to be in the mesh and whose rules, proxy and canary the agent has not seen to be right itself.
fn unproved(pods: &[Value]) -> Vec<&str> {
    let proved = |pod: &Value| {
        let netns = &pod["netns"];
        pod["enrolled"] == true
            && [&pod["rules"], &pod["announced"], &pod["proved"]].iter().all(|one| *one == netns)
    };
    let left = pods.iter().filter(|pod| pod["goal"] == "in" && !proved(pod));
    left.map(|pod| pod["name"].as_str().unwrap_or_default()).collect()
}

/// What a process and everything it starts uses of the CPU, as a control group of its own counts it.
struct Meter(PathBuf);

impl Meter {
    #[track_caller]
    fn of(process: &Process, name: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let root =
            if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join("cpuacct") };
        let group = root.join("adit-e2e").join(format!("{name}-{}", process.pid()));
        fs::create_dir_all(&group).unwrap_or_else(|e| panic!("create {}: {e}", group.display()));
        fs::write(group.join("cgroup.procs"), process.pid().to_string()).expect("move the process");
        Self(group)
    }

    #[track_caller]
    fn used(&self) -> Duration {
        if let Ok(text) = fs::read_to_string(self.0.join("cpuacct.usage")) {
            return Duration::from_nanos(text.trim().parse().expect("nanoseconds"));
        }
        let text = fs::read_to_string(self.0.join("cpu.stat")).expect("what the group used");
        let used = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("microseconds");
        Duration::from_micros(used.parse().expect("microseconds"))
    }
}

/// What programs that the lab started and that have ended used of the CPU: plugins.
fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("what children used");
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(
            u64::try_from(time.tv_sec()).unwrap_or(0),
            u32::try_from(time.tv_usec()).unwrap_or(0) * 1000,
        )
    };
    of(usage.user_time()) + of(usage.system_time())
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// As many as a node of a cluster may well have.
const PODS: usize = 250;
