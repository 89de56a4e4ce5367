//! NetworkPolicies against the mesh.

use std::net::{IpAddr, Ipv4Addr};

use crate::check::catalog::{Area, Check, When};
use crate::check::enrollment::Enrollment;
use crate::check::facts::{Facts, known};
use crate::check::finding::{Judged, Problem, Verdict};
use crate::check::policies::{Direction, World};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "policy-hbone",
        area: Area::Workloads,
        title: "NetworkPolicies let the tunnel's port through",
        when: When::Always,
        about: "Between pods of the mesh all TCP travels to port 15008, which is the port that NetworkPolicies see. A policy that lets \
                pods reach an application's port and not 15008 cuts them off as soon as both are enrolled. Policies are read, no \
                packet is sent; policies of a CNI's own kind are not looked at.",
        hint: "add port 15008/TCP to the ports of that rule",
        judge: hbone,
    },
    Check {
        id: "policy-probes",
        area: Area::Workloads,
        title: "NetworkPolicies let probes through",
        when: When::Always,
        about: "Pods of the mesh see kubelets' probes come from 169.254.7.127. Most CNIs let a node reach its own pods whatever policies \
                say; those that go by the address (Cilium, Calico with eBPF) need a rule for it.",
        hint: "if probes fail once the pod is enrolled, let 169.254.7.127/32 in by a policy",
        judge: probes,
    },
];

fn hbone(facts: &Facts) -> Judged {
    let mesh = Enrollment::of(facts)?.groups(known(&facts.pods)?);
    let policies = known(&facts.policies)?;
    let world = World { policies, namespaces: known(&facts.namespaces)?, mesh: &mesh };
    let mut verdict = Verdict::fine(format!("{} policies", policies.len()));
    for one in world.blocked() {
        let what = match one.direction {
            Direction::Ingress => format!("it lets {} reach {}, but not on port 15008", one.peer, one.pod),
            Direction::Egress => format!("it lets {} out to {}, but not to port 15008", one.pod, one.peer),
        };
        verdict.add(Problem::error(format!("networkpolicy {}", one.policy), what));
    }
    Ok(verdict)
}

fn probes(facts: &Facts) -> Judged {
    let mesh = Enrollment::of(facts)?.groups(known(&facts.pods)?);
    let world =
        World { policies: known(&facts.policies)?, namespaces: known(&facts.namespaces)?, mesh: &mesh };
    let mut verdict = Verdict::fine("no policy is in the way of a probe");
    for probe in world.probes(IpAddr::V4(SOURCE)) {
        let policies = probe.policies.join(", ");
        let what = format!("no rule of {policies} lets {SOURCE} reach port {}", probe.port);
        verdict.add(Problem::warning(format!("pod {}", probe.pod), what));
    }
    Ok(verdict)
}

/// The address of probes, as pods see it.
const SOURCE: Ipv4Addr = Ipv4Addr::new(169, 254, 7, 127);
