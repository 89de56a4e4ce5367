//! The namespace of the node components, and what is in the place of ours.

use k8s_openapi::api::apps::v1::DaemonSet;

use super::control_plane::tag;
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, known, label_of};
use crate::check::finding::{Judged, Problem, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "pod-security",
        area: Area::Workloads,
        title: "Pod Security lets the node components in",
        when: When::Always,
        about: "Agent and proxy mount directories of the host and have capabilities, which Pod Security admits at the level \
                `privileged` only.",
        hint: "kubectl label namespace NAMESPACE --overwrite pod-security.kubernetes.io/enforce=privileged",
        judge: pod_security,
    },
    Check {
        id: "names-owner",
        area: Area::Installation,
        title: "the names of the components are free, or Istio's",
        when: When::Before,
        about: "Adit's objects have the names of Istio's, whose place they take. Objects that Helm put there stay Helm's: a later `helm \
                upgrade` of that release would put Istio's components back.",
        hint: "upgrade that Helm release with Adit's chart instead; or let `adit install` take its objects over, and then remove the \
               release's record",
        judge: names,
    },
];

fn pod_security(facts: &Facts) -> Judged {
    let name = &facts.istio_namespace;
    let found = known(&facts.namespaces)?.iter().find(|one| one.metadata.name.as_ref() == Some(name));
    let Some(namespace) = found else {
        return Ok(if facts.before {
            Verdict::fine(format!("namespace {name} is not there yet"))
        } else {
            Verdict::error(format!("namespace {name}"), "it does not exist")
        });
    };
    let level = label_of(&namespace.metadata.labels, "pod-security.kubernetes.io/enforce");
    Ok(match level {
        None => Verdict::fine("the namespace asks for no level of its own"),
        Some("privileged") => Verdict::fine("level privileged"),
        Some(level) => Verdict::error(
            format!("namespace {name}"),
            format!("its level is {level}: the components' pods are refused"),
        ),
    })
}

fn names(facts: &Facts) -> Judged {
    let mut verdict = Verdict::default();
    let mut fine = Vec::new();
    for name in ["ztunnel", "istio-cni-node"] {
        let Some(set) = facts.daemon_set(name)? else { continue };
        let subject = format!("daemonset {}/{name}", facts.istio_namespace);
        let release = label_of(&set.metadata.annotations, "meta.helm.sh/release-name");
        match release {
            Some(release) if !is_ours(set) => verdict.add(Problem::warning(
                subject,
                format!("it belongs to Helm release {release} and runs {}", image(set)),
            )),
            _ if is_ours(set) => fine.push(format!("{name} is Adit's already")),
            _ => fine.push(format!("{name} ({}) would be replaced", image(set))),
        }
    }
    verdict.fine = if fine.is_empty() { "they are free".to_owned() } else { fine.join(", ") };
    Ok(verdict)
}

fn image(set: &DaemonSet) -> &str {
    let pod = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.and_then(|pod| pod.containers.first()).and_then(|one| one.image.as_deref()).unwrap_or_default()
}

/// Whether its image is not one of Istio's, by the last part of its name.
pub(super) fn is_ours(set: &DaemonSet) -> bool {
    let image = image(set);
    let name = image.strip_suffix(tag(image)).unwrap_or(image).trim_end_matches(':');
    !matches!(name.rsplit('/').next(), Some("ztunnel" | "install-cni"))
}
