//! The istiods of a cluster, as their Deployments tell of them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::version::Version;
use crate::check::facts::{Facts, Known, known, label_of};

/// One istiod.
#[derive(Clone, Debug)]
pub(super) struct Istiod {
    /// Of its Deployment.
    pub(super) name: String,
    /// `default` where none is named.
    pub(super) revision: String,
    pub(super) version: Option<Version>,
    /// As its image or its labels have it.
    pub(super) version_text: String,
    /// Of its container; a value from elsewhere is not known.
    pub(super) env: BTreeMap<String, Option<String>>,
    pub(super) ready: i32,
}

/// All that run in the control plane's namespace.
pub(super) fn istiods(facts: &Facts) -> Known<Vec<Istiod>> {
    let deployments = known(&facts.deployments)?.iter();
    Ok(deployments.filter(|one| label_of(&one.metadata.labels, "app") == Some("istiod")).map(read).collect())
}

fn read(deployment: &Deployment) -> Istiod {
    let meta = &deployment.metadata;
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let container = pod.and_then(|pod| container(pod, "discovery"));
    let tag = container.and_then(|one| one.image.as_deref()).map(tag).unwrap_or_default();
    let label = label_of(&meta.labels, "app.kubernetes.io/version").unwrap_or_default();
    let version_text = if Version::parse(tag).is_some() { tag } else { label };
    Istiod {
        name: meta.name.clone().unwrap_or_default(),
        revision: label_of(&meta.labels, "istio.io/rev").unwrap_or("default").to_owned(),
        version: Version::parse(version_text),
        version_text: version_text.to_owned(),
        env: container.map(env).unwrap_or_default(),
        ready: deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default(),
    }
}

impl Istiod {
    /// A variable of its environment; empty where it has none.
    pub(super) fn var(&self, name: &str) -> &str {
        self.env.get(name).and_then(Option::as_deref).unwrap_or_default()
    }
}

/// The container of this name, or the only one.
pub(super) fn container<'a>(pod: &'a PodSpec, name: &str) -> Option<&'a Container> {
    let only = || pod.containers.first().filter(|_| pod.containers.len() == 1);
    pod.containers.iter().find(|one| one.name == name).or_else(only)
}

/// The variables of a container.
pub(super) fn env(container: &Container) -> BTreeMap<String, Option<String>> {
    container.env.iter().flatten().map(|one| (one.name.clone(), one.value.clone())).collect()
}

/// The tag of an image; a digest and a registry's port are none.
pub(super) fn tag(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split_once(':').map(|(_, tag)| tag).unwrap_or_default()
}

/// What Go reads as true.
pub(super) fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}
