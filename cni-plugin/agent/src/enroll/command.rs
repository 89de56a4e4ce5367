//! What the machine wants done.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cni_plugin_wire::event::Outcome;
use cni_plugin_wire::zds::{PodUid, WorkloadInfo};

use super::{RequestId, Stage};
use crate::metrics::Proof;
use crate::model::{Pod, Redirection};
use crate::netns::Netns;
use crate::report::Report;

/// What the shell is to do. Steps for a pod end with exactly one [`Event::Done`](super::Event::Done).
#[derive(Debug)]
pub enum Command {
    /// Step: look for the pod's network namespace.
    Find { pod: Arc<Pod>, ips: Vec<IpAddr> },
    /// Step: put the pod's rules in place.
    Redirect { pod: Arc<Pod>, netns: Arc<Netns> },
    /// Step: capture no connection of the pod's any more that begins; those that the proxy carries go on.
    Release { pod: Arc<Pod>, netns: Arc<Netns> },
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
    /// Step: see where a connection from inside the pod comes to.
    Prove { pod: Arc<Pod>, netns: Arc<Netns> },
    /// Step: keep a record of the pod for the next agent.
    Save { pod: Arc<Pod>, netns: Arc<Netns>, container: Option<String>, ips: Vec<IpAddr>, stage: Stage },
    /// Step: refuse what would leave the pod past the proxy.
    Refuse { pod: Arc<Pod>, netns: Arc<Netns> },
    /// Step: end that.
    Allow { pod: Arc<Pod>, netns: Arc<Netns> },
    /// The pod's record is not needed any more.
    Forget { uid: PodUid },
    /// Whether every pod that a proxy may serve has a record by now.
    RecordsComplete(bool),
    /// The pod was said to be enrolled, and a measurement found that it is not.
    Gap { pod: Arc<Pod>, proof: Proof, why: String },
    /// Tell whoever asks about the pod.
    Report { pod: Arc<Pod>, report: Report },
    /// From now on, proxies that connect are told to leave their proxy for this pod alone.
    Keep { uid: PodUid },
    /// What is known is complete: proxies may be given their snapshot.
    Serve,
    /// Namespaces whose labels select pods, for plugin calls that find the agent away.
    Remember { namespaces: BTreeSet<String> },
    /// Answer a plugin call.
    Answer { request: RequestId, outcome: Outcome },
}
