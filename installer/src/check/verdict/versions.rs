//! One version everywhere, or a rollout under way.

use k8s_openapi::api::core::v1::Pod;

use super::control_plane::tag;
use crate::check::catalog::{Area, Check, When};
use crate::check::facts::{Facts, label_of};
use crate::check::finding::{Judged, Problem, Verdict};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "versions",
    area: Area::Installation,
    title: "this tool, the charts, the agent and the proxy are of one version",
    when: When::After,
    about: "Neighboring versions work together, as during an upgrade. Left so, a fix or a setting is missing on some of the nodes. \
            Versions are those of the objects' label app.kubernetes.io/version and of the images' tags.",
    hint: "finish the upgrade with `adit upgrade` or with Helm; or use an `adit` of the installed version",
    judge: versions,
}];

fn versions(facts: &Facts) -> Judged {
    let mut verdict = Verdict::fine(facts.version.clone());
    let sets = [("ztunnel", facts.proxy_pods()?), ("istio-cni-node", facts.agent_pods()?)];
    for (name, pods) in sets {
        let Some(set) = facts.daemon_set(name)? else { continue };
        let subject = format!("daemonset {name}");
        let chart = label_of(&set.metadata.labels, "app.kubernetes.io/version").unwrap_or_default();
        if chart != facts.version {
            let what = format!("its chart is of version {chart:?}, this tool of {:?}", facts.version);
            verdict.add(Problem::warning(subject.clone(), what));
        }
        let mut tags: Vec<&str> = pods.iter().filter_map(|pod| running(pod)).collect();
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > 1 {
            let what = format!("its pods are of more than one version: {}", tags.join(", "));
            verdict.add(Problem::warning(subject, what));
        }
    }
    Ok(verdict)
}

fn running(pod: &Pod) -> Option<&str> {
    let containers = &pod.spec.as_ref()?.containers;
    Some(tag(containers.first()?.image.as_deref()?))
}
