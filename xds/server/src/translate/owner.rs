//! What a pod is called after: its Deployment or other owner, guessed from the pod alone as istiod does.

use crate::objects::kube::Pod;

/// The workload's name for telemetry.
pub(super) fn workload_name(pod: &Pod) -> &str {
    let labels = &pod.metadata.labels;
    if let Some(name) = labels.get("service.istio.io/workload-name") {
        return name;
    }
    let Some(owner) = pod.metadata.owner_references.iter().find(|owner| owner.controller) else {
        return &pod.metadata.name;
    };
    // Only a generated pod name says nothing by itself; the pods of a StatefulSet keep theirs.
    let generated = !pod.metadata.generate_name.is_empty();
    let name = match owner.kind.as_str() {
        "ReplicaSet" => deployment(pod, &owner.name),
        "Job" => cron_job(&owner.name),
        "ReplicationController" if generated => {
            labels.get("deploymentconfig").map_or(owner.name.as_str(), String::as_str)
        }
        _ if generated => owner.name.as_str(),
        _ => "",
    };
    if name.is_empty() { &pod.metadata.name } else { name }
}

/// A ReplicaSet is named after its Deployment, or Argo Rollout, and the hash that its pods carry.
fn deployment<'a>(pod: &Pod, replica_set: &'a str) -> &'a str {
    let hashes = ["pod-template-hash", "rollouts-pod-template-hash"];
    hashes
        .iter()
        .filter_map(|label| pod.metadata.labels.get(*label).filter(|hash| !hash.is_empty()))
        .find_map(|hash| replica_set.strip_suffix(hash.as_str())?.strip_suffix('-'))
        .unwrap_or(replica_set)
}

/// A CronJob's Job ends in the minute it was scheduled for: 8 to 10 digits.
fn cron_job(job: &str) -> &str {
    match job.rsplit_once('-') {
        Some((name, time))
            if !name.is_empty()
                && (8..=10).contains(&time.len())
                && time.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => job,
    }
}
