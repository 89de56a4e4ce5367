//! What the API server and the kubelet of the simulated node hold.

use std::sync::Arc;

use super::super::{MODE, Pod, Redirection, stand_in};
use crate::model::{ContainerStatus, PodIp, REDIRECTION_ANNOTATION};
use crate::netns::{Netns, NetnsId};

/// A pod and its sandbox, as the node really has them.
pub(super) struct Life {
    pub(super) pod: Pod,
    /// The pod's annotation.
    pub(super) status: Option<Redirection>,
    /// The API server has it.
    pub(super) present: bool,
    pub(super) sandbox: Option<Sandbox>,
    /// Whatever is done for it never ends.
    pub(super) stuck: bool,
}

pub(super) struct Sandbox {
    pub(super) container: String,
    pub(super) netns: Arc<Netns>,
    /// The plugin let it start, or was never asked.
    pub(super) started: bool,
    /// The plugin failed: the kubelet will take it down.
    pub(super) doomed: bool,
    /// Made, or robbed of its rules, behind the agent's back.
    pub(super) surprise: bool,
}

impl Sandbox {
    pub(super) fn new(container: String, started: bool) -> Self {
        Self { container, netns: Arc::new(stand_in()), started, doomed: false, surprise: started }
    }

    pub(super) fn id(&self) -> NetnsId {
        self.netns.id()
    }
}

impl Life {
    pub(super) fn new(pod: Pod) -> Self {
        Self { pod, status: None, present: true, sandbox: None, stuck: false }
    }

    /// The pod as the API server shows it at this moment.
    pub(super) fn shown(&self) -> Arc<Pod> {
        let mut pod = self.pod.clone();
        if let Some(status) = self.status {
            pod.metadata.annotations.insert(REDIRECTION_ANNOTATION.to_owned(), status.value().to_owned());
        }
        Arc::new(pod)
    }

    pub(super) fn is_wanted(&self, ambient: bool) -> bool {
        let own = self.pod.metadata.labels.get(MODE).map(String::as_str);
        let namespace = ambient && self.pod.metadata.namespace == "mesh" && own != Some("none");
        self.present && !self.pod.is_terminal() && (own == Some("ambient") || namespace)
    }

    /// The kubelet says that the sandbox runs.
    pub(super) fn running(&mut self, number: usize) {
        let Some(sandbox) = &mut self.sandbox else { return };
        sandbox.started = true;
        self.pod.status.phase = "Running".to_owned();
        self.pod.status.pod_ips = vec![PodIp { ip: format!("10.0.0.{}", number % 250) }];
        let container_id = Some(sandbox.container.clone());
        self.pod.status.container_statuses = vec![ContainerStatus { container_id }];
    }
}
