//! What the machine wants done.

use std::collections::BTreeSet;
use std::sync::Arc;

use cni_plugin_wire::event::Outcome;
use cni_plugin_wire::zds::{PodUid, WorkloadInfo};

use super::RequestId;
use crate::model::{Pod, Redirection};
use crate::netns::Netns;

/// What the shell is to do. Steps for a pod end with exactly one [`Event::Done`].
#[derive(Debug)]
pub enum Command {
    /// Step: look for the pod's network namespace.
    Find(Arc<Pod>),
    /// Step: put the pod's rules in place.
    Redirect { pod: Arc<Pod>, netns: Arc<Netns> },
    /// Step: take the pod's rules away.
    Unredirect { pod: Arc<Pod>, netns: Arc<Netns> },
    /// Step: have a proxy serve the pod.
    Announce { uid: PodUid, info: WorkloadInfo, netns: Arc<Netns> },
    /// Step: have all proxies stop serving the pod.
    Retract { uid: PodUid },
    /// Step: write or remove what the control plane reads.
    Record { pod: Arc<Pod>, value: Option<Redirection> },
    /// Step: compare the pod's rules with the plan.
    Inspect { pod: Arc<Pod>, netns: Arc<Netns> },
    /// From now on, proxies that connect are told to leave their proxy for this pod alone.
    Keep { uid: PodUid },
    /// What is known is complete: proxies may be given their snapshot.
    Serve,
    /// Namespaces whose labels select pods, for plugin calls that find the agent away.
    Remember { namespaces: BTreeSet<String> },
    /// Answer a plugin call.
    Answer { request: RequestId, outcome: Outcome },
}
