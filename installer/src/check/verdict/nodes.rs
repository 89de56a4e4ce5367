//! Nodes, as the API server knows them.

use std::collections::BTreeMap;

use super::version::Version;
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known};
use crate::check::finding::{Judged, Problem, Verdict};
use crate::check::node::{info, is_linux, is_ready, name};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "node-ready",
        area: Area::Nodes,
        title: "nodes are ready",
        when: When::Always,
        about: "A node that is not ready takes no pods of the DaemonSets, and an installation waits for it.",
        hint: "see why: kubectl describe node NAME",
        judge: ready,
    },
    Check {
        id: "node-os",
        area: Area::Nodes,
        title: "nodes run Linux",
        when: When::Always,
        about: "Pods are redirected by Linux's netfilter. Pods on nodes of another system stay outside of the mesh.",
        hint: "keep pods of the mesh off that node, by a nodeSelector on kubernetes.io/os: linux",
        judge: os,
    },
    Check {
        id: "node-kernel",
        area: Area::Nodes,
        title: "nodes' kernels are new enough",
        when: When::Always,
        about: "Native nftables need Linux 5.13; iptables do with older ones. Below 5.4 nothing is tried. Whether a kernel has what is \
                needed is seen only on the node itself: --node-probe.",
        hint: "upgrade the node's kernel, or see with --node-probe whether it has what is needed",
        judge: kernel,
    },
    Check {
        id: "node-runtime",
        area: Area::Nodes,
        title: "nodes' container runtimes use CNI",
        when: When::Always,
        about: "New pods are captured by a CNI plugin, which containerd and CRI-O call.",
        hint: "use containerd or CRI-O on the node",
        judge: runtime,
    },
    Check {
        id: "node-clock",
        area: Area::Nodes,
        title: "nodes' clocks agree",
        when: When::Always,
        about: "Certificates are valid from the moment they are signed: a node whose clock is late refuses those of its peers. The \
                times at which kubelets renew their Leases are compared with this machine's clock; with --node-probe, the node's \
                own clock is.",
        hint: "synchronize the node's clock (chronyd, systemd-timesyncd)",
        judge: clock,
    },
];

fn ready(facts: &Facts) -> Judged {
    let nodes = known(&facts.nodes)?;
    if nodes.is_empty() {
        return Ok(Verdict::error("", "there is no node"));
    }
    let mut verdict = Verdict::fine(format!("all {}", nodes.len()));
    for node in nodes.iter().filter(|node| !is_ready(node)) {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let why = conditions.into_iter().find(|one| one.type_ == "Ready").and_then(|one| one.message.clone());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        verdict.add(Problem::warning(format!("node {}", name(node)), format!("it is not ready{why}")));
    }
    Ok(verdict)
}

fn os(facts: &Facts) -> Judged {
    let mut verdict = Verdict::fine("all of them");
    for node in known(&facts.nodes)?.iter().filter(|node| !is_linux(node)) {
        let os = info(node).map(|info| info.operating_system.clone()).unwrap_or_default();
        verdict.add(Problem::warning(format!("node {}", name(node)), format!("it runs {os}")));
    }
    Ok(verdict)
}

fn kernel(facts: &Facts) -> Judged {
    let mut kernels = BTreeMap::new();
    let mut verdict = Verdict::default();
    for node in known(&facts.nodes)?.iter().filter(|node| is_linux(node)) {
        let release = info(node).map(|info| info.kernel_version.as_str()).unwrap_or_default();
        *kernels.entry(release).or_insert(0) += 1;
        let subject = format!("node {}", name(node));
        match Version::parse(release) {
            None => verdict.add(Problem::warning(subject, format!("{release:?} is no release of Linux"))),
            Some(version) if version < OLDEST => {
                verdict.add(Problem::warning(subject, format!("Linux {release} is older than {OLDEST}")));
            }
            Some(_) => {}
        }
    }
    verdict.fine = told(&kernels);
    Ok(verdict)
}

fn runtime(facts: &Facts) -> Judged {
    let mut runtimes = BTreeMap::new();
    let mut verdict = Verdict::default();
    for node in known(&facts.nodes)?.iter().filter(|node| is_linux(node)) {
        let runtime = info(node).map(|info| info.container_runtime_version.as_str()).unwrap_or_default();
        *runtimes.entry(runtime).or_insert(0) += 1;
        let kind = runtime.split("://").next().unwrap_or_default();
        if !matches!(kind, "containerd" | "cri-o") {
            let what = format!("its runtime is {runtime:?}, with which nothing is tried");
            verdict.add(Problem::warning(format!("node {}", name(node)), what));
        }
    }
    verdict.fine = told(&runtimes);
    Ok(verdict)
}

fn told(counts: &BTreeMap<&str, i32>) -> String {
    if counts.is_empty() {
        return "there is no node".to_owned();
    }
    counts.iter().map(|(what, count)| format!("{what} ({count})")).collect::<Vec<_>>().join(", ")
}

fn clock(facts: &Facts) -> Judged {
    let here = known(&facts.clocks)?.here;
    let leases = known(&facts.leases)?;
    let mut verdict = Verdict::fine("within seconds, as far as Leases tell");
    for node in known(&facts.nodes)?.iter().filter(|node| is_linux(node) && is_ready(node)) {
        let probed = facts.probed.as_ref().and_then(|probed| probed.get(name(node)));
        let lease = leases.iter().find(|lease| lease.metadata.name.as_deref() == Some(name(node)));
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref());
        let (clock, here, late) = match (probed, renewed) {
            (Some(Ok(probe)), _) => (i64::try_from(probe.clock_ms).unwrap_or_default(), probe.read_at, PROBE),
            (_, Some(renewed)) => (renewed.0.as_millisecond(), here, LEASE),
            (_, None) => {
                let what = "not known: it is ready, and no Lease of it is in kube-node-lease";
                verdict.add(Problem::warning(format!("node {}", name(node)), what));
                continue;
            }
        };
        // Positive where the node's clock is ahead.
        let seconds = (clock - here) / 1000;
        let subject = format!("node {}", name(node));
        if seconds > AHEAD {
            verdict.add(grade(subject, seconds, format!("its clock is {seconds} s ahead of this machine's")));
        } else if -seconds > late {
            let behind = -seconds;
            verdict.add(grade(
                subject,
                behind,
                format!("its clock is about {behind} s behind this machine's"),
            ));
        }
    }
    Ok(verdict)
}

fn grade(subject: String, seconds: i64, what: String) -> Problem {
    if seconds > BACKDATED { Problem::error(subject, what) } else { Problem::warning(subject, what) }
}

const OLDEST: Version = Version(5, 4);
/// Seconds that a clock may be ahead.
const AHEAD: i64 = 10;
/// istiod dates certificates back by two minutes.
const BACKDATED: i64 = 120;
/// A kubelet renews every ten seconds; a node stays ready for forty.
const LEASE: i64 = 60;
/// From the probe's answer to when it is read.
const PROBE: i64 = 30;
