//! What the caller may do.

use crate::check::catalog::{Area, Check, When};
use crate::check::facts::Facts;
use crate::check::finding::{Judged, Problem, Verdict};
use crate::check::rights::Purpose;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "rights-install",
        area: Area::Rights,
        title: "you may create what an installation creates",
        when: When::Before,
        about: "Each right is asked of the API server (SelfSubjectAccessReview): to get, create, patch and delete the objects of the \
                charts, DaemonSets included.",
        hint: "run this as a cluster administrator, or have these rights granted",
        judge: install,
    },
    Check {
        id: "rights-grant",
        area: Area::Rights,
        title: "you may grant the agent its rights",
        when: When::Before,
        about: "Kubernetes lets nobody grant a right that he does not have himself, unless he may `escalate` ClusterRoles. The agent \
                reads pods, nodes and namespaces, and writes pods' status and events.",
        hint: "run this as a cluster administrator, or have these rights granted, or `escalate` on clusterroles",
        judge: grant,
    },
];

fn install(facts: &Facts) -> Judged {
    missing(facts, Purpose::Install)
}

fn grant(facts: &Facts) -> Judged {
    let escalate = facts.rights.iter().find(|asked| asked.right.purpose == Purpose::Escalate);
    if escalate.is_some_and(|asked| asked.allowed == Ok(true)) {
        return Ok(Verdict::fine("you may grant any right"));
    }
    missing(facts, Purpose::Grant)
}

fn missing(facts: &Facts, purpose: Purpose) -> Judged {
    let asked: Vec<_> = facts.rights.iter().filter(|asked| asked.right.purpose == purpose).collect();
    let mut verdict = Verdict::fine(format!("all {} rights that were asked about", asked.len()));
    let mut refused: Vec<(String, Vec<&str>)> = Vec::new();
    for one in asked {
        if one.allowed.clone()? {
            continue;
        }
        let object = one.right.object(&facts.istio_namespace);
        match refused.iter_mut().find(|(known, _)| *known == object) {
            Some((_, verbs)) => verbs.push(one.right.verb),
            None => refused.push((object, vec![one.right.verb])),
        }
    }
    for (object, verbs) in refused {
        verdict.add(Problem::error("", format!("you may not {} {object}", verbs.join(", "))));
    }
    Ok(verdict)
}
