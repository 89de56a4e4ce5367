//! Pods: who belongs into the mesh, who is in it, and who never will be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use crate::check::catalog::{Area, Check, When};
use crate::check::enrollment::{Enrollment, Reason, Standing};
use crate::check::facts::{Facts, known, label_of};
use crate::check::finding::{Judged, Problem, Verdict};
use crate::check::pod::{ended, has_sidecar, named};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "namespace-injection",
        area: Area::Workloads,
        title: "no namespace asks for ambient mode and for sidecars",
        when: When::Always,
        about: "Pods that start in a namespace with both labels get a sidecar, and pods with a sidecar are never enrolled.",
        hint: "take the sidecar's label away (kubectl label namespace NAME istio-injection- istio.io/rev-) and restart its pods",
        judge: injection,
    },
    Check {
        id: "pods-sidecars",
        area: Area::Workloads,
        title: "no pod that belongs into the mesh has a sidecar",
        when: When::Always,
        about: "Sidecars go on carrying their pods' traffic; Adit leaves such pods alone.",
        hint: "take the namespace's sidecar label away and restart the pod; until then it is served by its sidecar",
        judge: sidecars,
    },
    Check {
        id: "pods-left-out",
        area: Area::Workloads,
        title: "every pod that is asked for can come in",
        when: When::Always,
        about: "Pods on the host's network share the node's network namespace, and pods of excluded namespaces are left alone: neither is \
                enrolled, whatever its labels say.",
        hint: "label the pod istio.io/dataplane-mode=none to say so, or change what keeps it out",
        judge: left_out,
    },
    Check {
        id: "pods-enrolled",
        area: Area::Workloads,
        title: "every pod that belongs into the mesh is in it",
        when: When::After,
        about: "The agent writes ambient.istio.io/redirection=enabled on a pod that is redirected and that a proxy serves; istiod sends \
                traffic to it through the tunnel only then.",
        hint: "ask the agent of the pod's node: /debug/pods on its socket has the reason, its log too",
        judge: enrolled,
    },
    Check {
        id: "pods-stale",
        area: Area::Workloads,
        title: "no pod is in the mesh that does not belong there",
        when: When::After,
        about: "A pod that says it is enrolled and is not selected (any more) is being withdrawn, or no agent serves its node.",
        hint: "see whether an agent runs on the pod's node",
        judge: stale,
    },
];

/// The pods of one kind, as one problem each up to a few, then a number.
fn some(pods: &[&Pod], problem: impl Fn(String) -> Problem) -> Vec<Problem> {
    let mut problems: Vec<Problem> =
        pods.iter().take(FEW).map(|pod| problem(format!("pod {}", named(pod)))).collect();
    if pods.len() > FEW {
        problems
            .push(Problem { subject: format!("{} more pods", pods.len() - FEW), ..problem(String::new()) });
    }
    problems
}

fn injection(facts: &Facts) -> Judged {
    let mut verdict = Verdict::fine("none");
    for namespace in known(&facts.namespaces)? {
        let label = |name: &str| label_of(&namespace.metadata.labels, name);
        if label(MODE) != Some("ambient") || label("istio-injection") == Some("disabled") {
            continue;
        }
        let asks = match (label("istio-injection"), label("istio.io/rev")) {
            (Some("enabled"), _) => "istio-injection=enabled".to_owned(),
            (_, Some(revision)) => format!("istio.io/rev={revision}"),
            _ => continue,
        };
        let subject = format!("namespace {}", namespace.metadata.name.as_deref().unwrap_or_default());
        verdict.add(Problem::warning(subject, format!("it is labelled {MODE}=ambient and {asks}")));
    }
    Ok(verdict)
}

fn sidecars(facts: &Facts) -> Judged {
    let enrollment = Enrollment::of(facts)?;
    let found: Vec<&Pod> = known(&facts.pods)?
        .iter()
        .filter(|pod| has_sidecar(pod) && enrollment.standing(pod) == Standing::Never(Reason::Sidecar))
        .collect();
    let mut verdict = Verdict::fine("none");
    let what = Reason::Sidecar.words();
    verdict.problems = some(&found, |subject| Problem::warning(subject, format!("it {what}")));
    Ok(verdict)
}

fn left_out(facts: &Facts) -> Judged {
    let enrollment = Enrollment::of(facts)?;
    let mut found: BTreeMap<Reason, Vec<&Pod>> = BTreeMap::new();
    for pod in known(&facts.pods)? {
        match enrollment.standing(pod) {
            Standing::Never(reason) if reason != Reason::Sidecar => {
                found.entry(reason).or_default().push(pod)
            }
            Standing::Never(_) | Standing::Wanted | Standing::NotSelected => {}
        }
    }
    let mut verdict = Verdict::fine("every one");
    for (reason, pods) in found {
        verdict
            .problems
            .extend(some(&pods, |subject| Problem::warning(subject, format!("it {}", reason.words()))));
    }
    Ok(verdict)
}

fn enrolled(facts: &Facts) -> Judged {
    let enrollment = Enrollment::of(facts)?;
    let pods = known(&facts.pods)?;
    let wanted: Vec<&Pod> = pods.iter().filter(|pod| enrollment.standing(pod) == Standing::Wanted).collect();
    let out: Vec<&Pod> = wanted.iter().copied().filter(|pod| redirection(pod) != Some("enabled")).collect();
    let mut verdict = Verdict::fine(format!("{} of {}", wanted.len(), wanted.len()));
    verdict.problems = some(&out, |subject| {
        let pending =
            out.iter().any(|pod| subject.ends_with(&named(pod)) && redirection(pod) == Some("pending"));
        let what =
            if pending { "it is redirected, and no proxy serves it yet" } else { "it is not redirected" };
        Problem::error(
            subject,
            format!("{what} ({} of {} are enrolled)", wanted.len() - out.len(), wanted.len()),
        )
    });
    Ok(verdict)
}

fn stale(facts: &Facts) -> Judged {
    let enrollment = Enrollment::of(facts)?;
    let found: Vec<&Pod> = known(&facts.pods)?
        .iter()
        .filter(|pod| !ended(pod) && redirection(pod).is_some())
        .filter(|pod| enrollment.standing(pod) != Standing::Wanted)
        .collect();
    let mut verdict = Verdict::fine("none");
    verdict.problems = some(&found, |subject| {
        Problem::warning(subject, "it says that it is enrolled, and nothing selects it")
    });
    Ok(verdict)
}

fn redirection(pod: &Pod) -> Option<&str> {
    label_of(&pod.metadata.annotations, "ambient.istio.io/redirection")
}

const MODE: &str = "istio.io/dataplane-mode";
/// So many pods are named.
const FEW: usize = 5;
