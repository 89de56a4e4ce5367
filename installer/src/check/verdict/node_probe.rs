//! Nodes, as a pod on each of them found them: `--node-probe`.

use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known};
use crate::check::finding::{Judged, Problem, Verdict};
use crate::check::node::{is_linux, name};
use crate::check::node_facts::NodeFacts;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "node-redirection",
        area: Area::Nodes,
        title: "the kernel can redirect pods",
        when: When::Before,
        about: "Each way to redirect (nftables, iptables-nft, iptables-legacy) is tried out in a network namespace made for that, and \
                nothing is left behind. It needs the modules nf_tables with nft_nat, nft_redir and nft_ct, or those of iptables; they \
                are the node's own, no container can bring them.",
        hint: "load the modules on the node (modprobe nf_tables nft_nat nft_redir nft_ct), and list them in /etc/modules-load.d",
        judge: redirection,
    },
    Check {
        id: "node-probes",
        area: Area::Nodes,
        title: "kubelets' probes can be let past the proxy",
        when: When::Probed,
        about: "Probes are given a source address of their own on the host, by nftables or by iptables with ipset.",
        hint: "load the modules on the node: nf_tables, or ip_set and ip_set_hash_ip with xt_set",
        judge: probes,
    },
    Check {
        id: "node-cni",
        area: Area::Nodes,
        title: "the node's CNI directories are found",
        when: When::Probed,
        about: "The plugin joins the chain that the runtime loads first. Platforms keep it elsewhere than /etc/cni/net.d and \
                /opt/cni/bin: see `global.platform`.",
        hint: "set global.platform, or cniConfDir and cniBinDir, to where this node's runtime looks",
        judge: cni,
    },
    Check {
        id: "node-limits",
        area: Area::Nodes,
        title: "the node's limits leave room",
        when: When::Probed,
        about: "Programs on a node share the number of inotify instances of one user; with 128 some of them fail to start, with \
                \"too many open files\".",
        hint: "raise it on the node: sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
        judge: limits,
    },
    Check {
        id: "node-firewall",
        area: Area::Nodes,
        title: "nothing on the host guards its rules against others",
        when: When::Probed,
        about: "A firewall that writes the host's rules anew may drop port 15008 between pods and takes away what lets probes pass, \
                until the agent has put it back.",
        hint: "let the firewall pass traffic between pods (firewalld: put the pods' interfaces or addresses into zone trusted)",
        judge: firewall,
    },
];

/// Asks each node that was looked at; every Linux node must have been.
fn each(facts: &Facts, fine: &str, judge: impl Fn(&NodeFacts) -> Option<Problem>) -> Judged {
    let nodes = known(&facts.nodes)?;
    let Some(probed) = &facts.probed else {
        let what =
            "not known: nobody has looked at the nodes' kernels, CNI directories, limits and firewalls";
        let mut verdict = Verdict::default();
        verdict.add(
            Problem::warning("", what).hint("--node-probe runs a short-lived pod on each node that looks"),
        );
        return Ok(verdict);
    };
    let mut verdict = Verdict::fine(fine);
    for node in nodes.iter().filter(|node| is_linux(node)) {
        let subject = format!("node {}", name(node));
        match probed.get(name(node)) {
            Some(Ok(found)) => {
                verdict.problems.extend(judge(found).map(|problem| Problem { subject, ..problem }))
            }
            Some(Err(unread)) => {
                let what = format!("not known: {}: {}", unread.attempt, unread.why);
                verdict.add(Problem::warning(subject, what).hint(PROBE));
            }
            None => verdict.add(Problem::warning(subject, "not known: it was not looked at").hint(PROBE)),
        }
    }
    Ok(verdict)
}

fn redirection(facts: &Facts) -> Judged {
    each(facts, "a way to redirect works on every node", |node| {
        let Some(chosen) = &node.chosen.backend else {
            let tried = node.redirection.iter().filter_map(|one| one.why.clone()).collect::<Vec<_>>();
            return Some(Problem::error("", format!("no way to redirect pods works: {}", tried.join("; "))));
        };
        let way = node.redirection.iter().find(|one| &one.backend == chosen)?;
        let why = way.why.clone().unwrap_or_default();
        (!way.ipv6).then(|| Problem::warning("", format!("{chosen} works for IPv4 only: {why}")))
    })
}

fn probes(facts: &Facts) -> Judged {
    each(facts, "on every node", |node| {
        let why = &node.probes.why;
        node.probes.backend.is_none().then(|| Problem::error("", format!("probes of pods would fail: {why}")))
    })
}

fn cni(facts: &Facts) -> Judged {
    each(facts, "on every node", |node| {
        if !node.cni.exists {
            return Some(Problem::error(
                "",
                "there is no directory of CNI configurations where the charts expect it",
            ));
        }
        if let Some(trouble) = &node.cni.trouble {
            return Some(Problem::error("", format!("the plugin cannot join a chain: {trouble}")));
        }
        let empty = node.binaries.iter().find(|one| !one.exists || one.programs.is_empty());
        empty.map(|_| Problem::error("", "there are no CNI plugins where the charts expect them"))
    })
}

fn limits(facts: &Facts) -> Judged {
    each(facts, "on every node", |node| {
        let instances = node.limits.inotify_instances.filter(|instances| *instances < INSTANCES)?;
        Some(Problem::warning(
            "",
            format!("one user may have {instances} inotify instances, {INSTANCES} are advised"),
        ))
    })
}

fn firewall(facts: &Facts) -> Judged {
    each(facts, "on every node", |node| {
        let running = node.firewalls.join(", ");
        (!running.is_empty()).then(|| Problem::warning("", format!("{running} runs on the host")))
    })
}

const INSTANCES: u64 = 512;
const PROBE: &str =
    "see whether the namespace takes privileged pods and the node can pull the agent's image (--probe-image)";
