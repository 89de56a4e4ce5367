//! What the machine is told.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;

use super::Stage;
use crate::canary::Landing;
use crate::model::{Namespace, Pod, Redirection};
use crate::netns::{Netns, NetnsId};

/// Time since the agent began. The machine reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

/// A plugin call that is owed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What the machine is told.
#[derive(Debug)]
pub enum Event {
    /// What an earlier agent left on disk, told before anything else. `complete` when every pod that a proxy may serve is
    /// among it.
    Restored {
        pods: Vec<Restored>,
        complete: bool,
    },
    NamespaceSeen(Namespace),
    NamespaceGone(String),
    /// `recorded` is what the status sink says of the pod.
    PodSeen {
        pod: Arc<Pod>,
        recorded: Option<Redirection>,
    },
    PodGone(PodUid),
    /// Everything that the source holds has been seen once.
    Synced,
    /// The plugin holds the pod's start back until it is answered.
    Add {
        request: RequestId,
        sandbox: SandboxName,
        uid: Option<PodUid>,
        netns: Arc<Netns>,
        /// As the plugins before it gave them.
        ips: Vec<IpAddr>,
    },
    /// The plugin takes a sandbox down, and waits a moment with it: until then the proxy can tell the pod's peers.
    Delete {
        request: RequestId,
        sandbox: SandboxName,
    },
    /// The plugin asks whether the pod is still as it should be.
    Check {
        request: RequestId,
        sandbox: SandboxName,
        uid: Option<PodUid>,
    },
    /// The sandboxes that the runtime still has.
    Collect {
        containers: BTreeSet<String>,
    },
    /// A step that was commanded has ended.
    Done {
        uid: PodUid,
        ended: Ended,
    },
    /// A proxy serves the pod, told by a snapshot or by falling back to another proxy.
    Delivered {
        uid: PodUid,
        netns: NetnsId,
    },
    /// A proxy refused the pod in a snapshot or after falling back.
    Refused {
        uid: PodUid,
        netns: NetnsId,
        why: String,
    },
    /// So many proxies are connected now. What one listened for may have gone with it.
    Proxies(usize),
    /// All pods leave the mesh, and none comes in any more: the agent is being uninstalled.
    WithdrawAll,
    /// Time has passed.
    Tick,
}

/// A pod as its record has it.
#[derive(Debug)]
pub struct Restored {
    /// Its names, its addresses and the annotations that its rules follow; nothing else of it is known.
    pub pod: Arc<Pod>,
    pub container: Option<String>,
    /// `None` when the namespace on record is not there any more.
    pub netns: Option<Arc<Netns>>,
    pub stage: Stage,
}

/// Names of a pod and of its sandbox, as the runtime gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxName {
    pub namespace: String,
    pub name: String,
    pub container: String,
}

/// How a step ended; the text of a failure is for logs and for whoever reads the pod's events.
#[derive(Debug)]
pub enum Ended {
    Found(Result<Arc<Netns>, String>),
    Redirected(Result<(), String>),
    /// The rules are in place but for those of DNS, for which the proxy does not listen.
    RedirectedButDns,
    Released(Result<(), String>),
    Unredirected(Result<(), String>),
    Announced(Result<(), String>),
    Retracted,
    Recorded(Result<(), String>),
    /// What differs from the plan, if anything.
    Inspected(Result<Option<String>, String>),
    /// Where a canary came to.
    Proved(Result<Landing, String>),
    Saved,
    Refused(Result<(), String>),
    Allowed(Result<(), String>),
}

impl Moment {
    /// This moment and some time.
    #[must_use]
    pub const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}
