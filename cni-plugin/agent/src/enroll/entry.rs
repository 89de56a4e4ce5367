//! One pod: what is done for it already, and the next step towards what it should be.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;
use serde::{Deserialize, Serialize};

use super::{Moment, RequestId};
use crate::model::{Pod, Redirection};
use crate::netns::{Netns, NetnsId};

/// What should become of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Captured, served by a proxy, and said to be so.
    In,
    /// Alive and not ours (any more): no rule of ours may stay behind.
    Out,
    /// Deleted or ended: its namespace dies by itself, rules and all.
    Dead,
    /// Known from its record only, in which it was on its way out: whether it stays there is for the source to say.
    Unsure,
}

/// One piece of work for one pod. A pod has at most one under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Find,
    Redirect(NetnsId),
    Release(NetnsId),
    Unredirect,
    Announce(NetnsId),
    Retract,
    Record(Option<Redirection>),
    Inspect(NetnsId),
    Prove(NetnsId),
    Save(NetnsId, Stage),
    Refuse(NetnsId),
    Allow(NetnsId),
}

/// What the pod's record says to the next agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is enrolled, or is to be.
    In,
    /// It is on its way out.
    Leaving,
}

impl Step {
    /// For dumps.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Redirect(_) => "redirect",
            Self::Release(_) => "release",
            Self::Unredirect => "unredirect",
            Self::Announce(_) => "announce",
            Self::Retract => "retract",
            Self::Record(_) => "record",
            Self::Inspect(_) => "inspect",
            Self::Prove(_) => "prove",
            Self::Save(..) => "save",
            Self::Refuse(_) => "refuse",
            Self::Allow(_) => "allow",
        }
    }
}

impl Stage {
    /// For dumps.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Leaving => "leaving",
        }
    }
}

/// What whoever asks about the pod was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Out,
    Enrolled,
    Failing,
}

/// Which namespace holds our rules for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Absent,
    /// An earlier agent enrolled the pod: its rules are looked for before any are put there.
    Claimed,
    /// Not as they should be, perhaps half in place.
    Unknown,
    In(NetnsId),
    /// Only those that bring back the replies of connections that the proxy carries.
    Released(NetnsId),
}

/// Whether the pod's connections past the proxy are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outbound {
    Allowed,
    /// An earlier agent may have refused them, or it failed half way.
    Unknown,
    Refused(NetnsId),
}

/// The pod's network namespace and how it became known.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    pub(super) netns: Option<Arc<Netns>>,
    /// Given by the plugin with the namespace.
    pub(super) container: Option<String>,
    /// The plugin holds the pod's start back until it is enrolled.
    pub(super) starting: bool,
    /// A namespace that the plugin said is being taken down: not to be found again.
    pub(super) gone: Option<NetnsId>,
    /// The namespace is to be looked for again although one is known.
    pub(super) recheck: bool,
    /// The plugin took some sandbox of this pod down; it may have been this one.
    pub(super) suspect: bool,
    /// Addresses as the plugin or the pod's record gave them, for as long as the source gives none.
    pub(super) ips: Vec<IpAddr>,
}

/// A plugin call that waits for this pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    pub(super) deadline: Moment,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) uid: PodUid,
    pub(super) pod: Arc<Pod>,
    /// Still in the source.
    pub(super) present: bool,
    /// What its record said, for as long as the source has not been read.
    pub(super) restored: Option<Stage>,
    /// Known from its record, and shown by the source since.
    pub(super) seen: bool,
    /// An earlier agent may have had it served by a proxy.
    pub(super) inherited: bool,
    pub(super) sandbox: Sandbox,
    pub(super) rules: Rules,
    pub(super) outbound: Outbound,
    /// The rules were put in place before a proxy served the pod and lack those of DNS.
    pub(super) dns_due: bool,
    /// The namespace with which the proxies' book names the pod: a proxy that connects is told.
    pub(super) offered: Option<NetnsId>,
    /// The namespace for which a proxy last said that it serves it.
    pub(super) announced: Option<NetnsId>,
    /// The proxies' book names the pod, with its namespace or without.
    pub(super) booked: bool,
    pub(super) recorded: Option<Redirection>,
    /// What the source showed last.
    pub(super) shown: Option<Redirection>,
    /// It has shown what was recorded last: whatever else it shows from now on, somebody else wrote.
    pub(super) echoed: bool,
    /// The pod is to be recorded as pending: no proxy serves it yet.
    pub(super) pending: bool,
    /// An uninstall could not say that the pod leaves, and goes on without.
    pub(super) unsaid: bool,
    /// While leaving: until then what stands stays.
    pub(super) leaving_at: Option<Moment>,
    pub(super) measure_at: Option<Moment>,
    pub(super) inspect: bool,
    /// A canary is to have come to the proxy before the pod is enrolled.
    pub(super) proving: bool,
    /// A canary is due.
    pub(super) canary: bool,
    /// The namespace from which a canary came to the proxy.
    pub(super) proved: Option<NetnsId>,
    /// Canaries in a row that nobody answered.
    pub(super) refused: u32,
    pub(super) measured: Option<Moment>,
    /// What the pod's record says.
    pub(super) saved: Option<(NetnsId, Stage)>,
    pub(super) busy: Option<Step>,
    pub(super) failures: u32,
    /// The kind of step that failed last: what comes before it succeeds every time, and says nothing.
    pub(super) failed_at: Option<&'static str>,
    pub(super) not_before: Moment,
    pub(super) last_failure: String,
    pub(super) told: Told,
    pub(super) adds: Vec<Waiting>,
    pub(super) checks: Vec<RequestId>,
    /// Sandboxes that are not taken down before the proxy let go of them.
    pub(super) deletes: Vec<Waiting>,
}

impl Entry {
    pub(super) fn new(uid: PodUid, pod: Arc<Pod>, recorded: Option<Redirection>, proving: bool) -> Self {
        Self {
            uid,
            pod,
            present: true,
            restored: None,
            seen: false,
            inherited: recorded.is_some(),
            sandbox: Sandbox::default(),
            rules: if recorded.is_some() { Rules::Claimed } else { Rules::Absent },
            outbound: if recorded.is_some() { Outbound::Unknown } else { Outbound::Allowed },
            dns_due: false,
            offered: None,
            announced: None,
            booked: false,
            recorded,
            shown: recorded,
            echoed: true,
            pending: false,
            unsaid: false,
            leaving_at: None,
            measure_at: None,
            inspect: false,
            proving,
            canary: false,
            proved: None,
            refused: 0,
            measured: None,
            saved: None,
            busy: None,
            failures: 0,
            failed_at: None,
            not_before: Moment::default(),
            last_failure: String::new(),
            told: Told::Out,
            adds: Vec::new(),
            checks: Vec::new(),
            deletes: Vec::new(),
        }
    }

    /// Everything that enrollment promises is done.
    pub(super) fn enrolled(&self) -> bool {
        let Some(netns) = &self.sandbox.netns else {
            return false;
        };
        let id = netns.id();
        self.captured(id) && !self.dns_due && self.recorded == Some(Redirection::Enabled)
    }

    /// Nothing of ours is in the pod, at its proxy or in its status.
    pub(super) fn withdrawn(&self) -> bool {
        self.rules == Rules::Absent && !self.booked && self.recorded.is_none() && self.busy.is_none()
    }

    /// Its record would tell the next agent nothing that is still so.
    pub(super) fn is_forgettable(&self, goal: Goal) -> bool {
        let gone = match goal {
            Goal::In => self.sandbox.netns.is_none() && !self.booked && self.busy.is_none(),
            Goal::Out | Goal::Dead => self.withdrawn(),
            Goal::Unsure => false,
        };
        gone && self.saved.is_some()
    }

    /// A namespace handed over by the plugin while it holds the pod's start back.
    pub(super) fn adopt(&mut self, netns: Arc<Netns>, container: String, ips: Vec<IpAddr>) {
        let known = self.sandbox.netns.take().filter(|known| known.id() == netns.id());
        if known.is_none() {
            self.unprove();
            self.nothing_inside();
        }
        self.sandbox = Sandbox {
            netns: Some(known.unwrap_or(netns)),
            // istio-cni's plugin does not tell it.
            container: Some(container).filter(|container| !container.is_empty()),
            starting: true,
            ips,
            ..Sandbox::default()
        };
        self.hurry();
    }

    /// What a search came to: the namespace that was found, or none. Answers whether the pod had moved.
    pub(super) fn found(&mut self, found: Option<Arc<Netns>>) -> bool {
        if self.sandbox.netns.is_some() && !self.sandbox.recheck {
            return false; // the plugin handed one over meanwhile
        }
        self.sandbox.recheck = false;
        let suspect = std::mem::take(&mut self.sandbox.suspect);
        if found.is_none() {
            self.sandbox.gone = None; // what was being taken down is no more
        }
        let found = found.filter(|netns| self.sandbox.gone != Some(netns.id()));
        let known = self.sandbox.netns.as_ref().map(|netns| netns.id());
        match found {
            Some(netns) if known == Some(netns.id()) => false,
            Some(netns) => {
                // What an earlier agent put there is known to be there only once it was looked for.
                if known.is_some() {
                    self.nothing_inside();
                }
                self.unprove();
                let ips = std::mem::take(&mut self.sandbox.ips);
                self.sandbox = Sandbox { netns: Some(netns), ips, ..Sandbox::default() };
                known.is_some()
            }
            None if suspect => {
                self.sandbox_gone();
                false
            }
            None => false,
        }
    }

    /// No proxy serves the pod any more.
    pub(super) fn retracted(&mut self) {
        self.announced = None;
        self.offered = None;
        self.booked = false;
        self.unprove();
    }

    /// The source shows this status. An older one comes late and says nothing; one that differs after ours was shown was
    /// written by another hand, and is written over at the pace of failures.
    pub(super) fn shows(&mut self, status: Option<Redirection>, now: Moment) {
        self.shown = status;
        if status == self.recorded {
            self.echoed = true;
        } else if self.echoed && self.restored.is_none() && !matches!(self.busy, Some(Step::Record(_))) {
            let word = status.map_or("none", Redirection::value);
            self.failed(format!("another writer made the pod's redirection status {word}"), now);
            self.recorded = status;
        }
    }

    /// The status was written.
    pub(super) fn recorded(&mut self, status: Option<Redirection>) {
        self.recorded = status;
        self.echoed = self.shown == status;
    }

    /// What was found out of another namespace says nothing of the next.
    pub(super) fn unprove(&mut self) {
        self.proved = None;
        self.refused = 0;
    }

    /// A namespace that is new has nothing of ours.
    const fn nothing_inside(&mut self) {
        self.rules = Rules::Absent;
        self.outbound = Outbound::Allowed;
    }

    /// Nothing that the pod sends over TCP goes past the proxy, as far as is to be proved.
    pub(super) fn captured(&self, id: NetnsId) -> bool {
        self.rules == Rules::In(id)
            && self.announced == Some(id)
            && (!self.proving || self.proved == Some(id))
    }

    /// The addresses by which the pod's namespace is told from others.
    pub(super) fn ips(&self) -> Vec<IpAddr> {
        let shown = self.pod.ips();
        if shown.is_empty() { self.sandbox.ips.clone() } else { shown }
    }

    /// The plugin took the pod's sandbox down.
    pub(super) fn sandbox_gone(&mut self) {
        let gone = self.sandbox.netns.take().map(|netns| netns.id());
        self.sandbox = Sandbox { gone, ..Sandbox::default() };
        self.unprove();
        self.nothing_inside();
        self.measure_at = None;
        self.inspect = false;
        self.canary = false;
        self.hurry();
    }

    /// Something changed: what failed before may work now.
    pub(super) fn hurry(&mut self) {
        self.failures = 0;
        self.failed_at = None;
        self.not_before = Moment::default();
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.failed_at = None;
        self.last_failure.clear();
    }

    pub(super) fn failed(&mut self, why: String, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.after(backoff(self.failures));
        self.last_failure = why;
    }

    /// When, after `last`, this pod wants to be looked at again without anything having happened.
    pub(super) fn wake(&self, goal: Goal, last: Moment) -> Option<Moment> {
        let call = self.adds.iter().chain(&self.deletes).map(|waiting| waiting.deadline).min();
        let timers = [
            (self.failures > 0).then_some(self.not_before),
            self.leaving_at.filter(|_| goal == Goal::Out),
            self.measure_at.filter(|_| goal == Goal::In),
        ];
        let timer = timers.into_iter().flatten().filter(|at| *at > last && self.busy.is_none()).min();
        [call, timer].into_iter().flatten().min()
    }
}

/// From a quarter of a second, doubling, to fifteen seconds.
fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(BACKOFF_MOST)
}

const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MOST: Duration = Duration::from_secs(15);
