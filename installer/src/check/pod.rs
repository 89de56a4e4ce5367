//! What a pod's object says of it.

use k8s_openapi::api::core::v1::Pod;

use super::facts::label_of;

/// A pod as `namespace/name`.
#[must_use]
pub(super) fn named(pod: &Pod) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name))
}

/// Whether the sidecar injector was at work.
#[must_use]
pub(super) fn has_sidecar(pod: &Pod) -> bool {
    label_of(&pod.metadata.annotations, "sidecar.istio.io/status").is_some()
}

/// Whether nothing of the pod runs any more.
#[must_use]
pub(super) fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Where it runs.
#[must_use]
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Whether it says that it is ready.
#[must_use]
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// What keeps a pod from being ready, in the words of whoever knows.
#[must_use]
pub(super) fn why(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return "it has no status".to_owned() };
    for container in status.container_statuses.iter().flatten() {
        let Some(state) = &container.state else { continue };
        let (reason, message) = match (&state.waiting, &state.terminated) {
            (Some(waiting), _) => (&waiting.reason, &waiting.message),
            (_, Some(ended)) => (&ended.reason, &ended.message),
            (None, None) => continue,
        };
        let words: Vec<&str> = [reason, message].into_iter().flatten().map(String::as_str).collect();
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let last =
            last.map(|last| format!(" (it last ended with code {})", last.exit_code)).unwrap_or_default();
        return format!("{}{last}", words.join(": "));
    }
    let conditions = status.conditions.iter().flatten();
    let failed = conditions.into_iter().find(|one| one.status == "False" && one.message.is_some());
    match failed.and_then(|one| one.message.clone()) {
        Some(message) => message,
        None => format!("its phase is {}", status.phase.as_deref().unwrap_or("not known")),
    }
}
