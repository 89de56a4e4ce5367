//! One pod: what is done for it already, and the next step towards what it should be.

use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;

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
}

/// One piece of work for one pod. A pod has at most one under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Find,
    Redirect(NetnsId),
    Unredirect,
    Announce(NetnsId),
    Retract,
    Record(Option<Redirection>),
    Inspect(NetnsId),
}

impl Step {
    /// For dumps.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Redirect(_) => "redirect",
            Self::Unredirect => "unredirect",
            Self::Announce(_) => "announce",
            Self::Retract => "retract",
            Self::Record(_) => "record",
            Self::Inspect(_) => "inspect",
        }
    }
}

/// Which namespace holds our rules for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Absent,
    /// An earlier agent enrolled the pod: there may be rules.
    Unknown,
    In(NetnsId),
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
    pub(super) sandbox: Sandbox,
    pub(super) rules: Rules,
    /// The rules were put in place before a proxy served the pod and lack those of DNS.
    pub(super) dns_due: bool,
    /// The namespace for which a proxy last said that it serves it.
    pub(super) announced: Option<NetnsId>,
    /// The proxies' book names the pod, with its namespace or without.
    pub(super) booked: bool,
    pub(super) recorded: Option<Redirection>,
    /// The pod is to be recorded as pending: no proxy serves it yet.
    pub(super) pending: bool,
    /// While leaving: until then rules and proxy stay.
    pub(super) leaving_at: Option<Moment>,
    pub(super) measure_at: Option<Moment>,
    pub(super) inspect: bool,
    pub(super) busy: Option<Step>,
    pub(super) failures: u32,
    pub(super) not_before: Moment,
    pub(super) last_failure: String,
    pub(super) adds: Vec<Waiting>,
    pub(super) checks: Vec<RequestId>,
    /// Sandboxes that are not taken down before the proxy let go of them.
    pub(super) deletes: Vec<Waiting>,
}

impl Entry {
    pub(super) fn new(uid: PodUid, pod: Arc<Pod>, recorded: Option<Redirection>) -> Self {
        Self {
            uid,
            pod,
            present: true,
            sandbox: Sandbox::default(),
            rules: if recorded.is_some() { Rules::Unknown } else { Rules::Absent },
            dns_due: false,
            announced: None,
            booked: false,
            recorded,
            pending: false,
            leaving_at: None,
            measure_at: None,
            inspect: false,
            busy: None,
            failures: 0,
            not_before: Moment::default(),
            last_failure: String::new(),
            adds: Vec::new(),
            checks: Vec::new(),
            deletes: Vec::new(),
        }
    }

    /// The next step towards `goal`, if there is one to take now.
    pub(super) fn next(&mut self, goal: Goal, now: Moment) -> Option<Step> {
        if self.busy.is_some() {
            return None;
        }
        match goal {
            Goal::In => self.next_in(now),
            Goal::Out => self.next_out(now),
            Goal::Dead => self.next_dead(now),
        }
    }

    /// A pod whose start is held back gets its rules first: should anything fail, it fails closed. A pod that
    /// already runs gets its proxy first, so that no connection meets rules without a listener behind them.
    /// Either way `enabled` comes last: it makes peers send HBONE.
    fn next_in(&mut self, now: Moment) -> Option<Step> {
        self.leaving_at = None;
        if self.pending && self.recorded.is_none() {
            return Some(Step::Record(Some(Redirection::Pending)));
        }
        let gone = self.booked && self.sandbox.gone.is_some();
        if self.sandbox.netns.is_none() && (gone || self.announced.is_some()) {
            return Some(Step::Retract);
        }
        if now < self.not_before {
            return None;
        }
        let Some(netns) = &self.sandbox.netns else {
            if self.sandbox.gone.is_some() && self.recorded.is_some() {
                return Some(Step::Record(None));
            }
            // Without an address there is no telling whose namespace was found.
            return (!self.pod.ips().is_empty()).then_some(Step::Find);
        };
        if self.sandbox.recheck {
            return Some(Step::Find);
        }
        let id = netns.id();
        let dns = self.dns_due && self.announced == Some(id);
        let redirect = (dns || self.rules != Rules::In(id)).then_some(Step::Redirect(id));
        let announce = (self.announced != Some(id)).then_some(Step::Announce(id));
        let served = if self.sandbox.starting { redirect.or(announce) } else { announce.or(redirect) };
        let record = || {
            (self.recorded != Some(Redirection::Enabled)).then_some(Step::Record(Some(Redirection::Enabled)))
        };
        let inspect = || self.inspect.then_some(Step::Inspect(id));
        served.or_else(record).or_else(inspect)
    }

    /// Status, then rules, then proxy. Peers learn of the status with a delay and go on sending HBONE until then,
    /// so for a grace period everything stays: the proxy, and the rules that bring its replies back. Once peers
    /// send plaintext the rules go, atomically for each new connection, and the proxy, now idle, goes after them.
    /// Until all is gone the status is `pending`: an agent that begins meanwhile knows by it that there is something
    /// to take away, and nobody else would free a pod from rules without a proxy behind them.
    fn next_out(&mut self, now: Moment) -> Option<Step> {
        self.pending = false;
        if now < self.not_before {
            return None;
        }
        if self.recorded == Some(Redirection::Enabled) {
            return Some(Step::Record(Some(Redirection::Pending)));
        }
        if self.leaving_at.is_some_and(|until| now < until) {
            return None;
        }
        if self.rules != Rules::Absent {
            if self.sandbox.netns.is_some() {
                return Some(Step::Unredirect);
            }
            if self.failures < FIND_ATTEMPTS && !self.pod.ips().is_empty() {
                return Some(Step::Find);
            }
            tracing::error!(pod = %self.pod.full_name(), "no network namespace found: its rules stay behind");
            self.rules = Rules::Absent;
        }
        if self.booked {
            return Some(Step::Retract);
        }
        self.sandbox = Sandbox::default();
        self.leaving_at = None;
        self.recorded.is_some().then_some(Step::Record(None))
    }

    /// The proxy first: it holds the dead namespace open.
    fn next_dead(&mut self, now: Moment) -> Option<Step> {
        if self.booked {
            return Some(Step::Retract);
        }
        self.sandbox = Sandbox::default();
        self.rules = Rules::Absent;
        (now >= self.not_before && self.recorded.is_some()).then_some(Step::Record(None))
    }

    /// Everything that enrollment promises is done.
    pub(super) fn enrolled(&self) -> bool {
        let Some(netns) = &self.sandbox.netns else {
            return false;
        };
        let id = netns.id();
        self.rules == Rules::In(id)
            && !self.dns_due
            && self.announced == Some(id)
            && self.recorded == Some(Redirection::Enabled)
    }

    /// Nothing of ours is in the pod, at its proxy or in its status.
    pub(super) fn withdrawn(&self) -> bool {
        self.rules == Rules::Absent && !self.booked && self.recorded.is_none() && self.busy.is_none()
    }

    /// A namespace handed over by the plugin while it holds the pod's start back.
    pub(super) fn adopt(&mut self, netns: Arc<Netns>, container: String) {
        let known = self.sandbox.netns.take().filter(|known| known.id() == netns.id());
        if known.is_none() {
            self.rules = Rules::Absent;
        }
        self.sandbox = Sandbox {
            netns: Some(known.unwrap_or(netns)),
            // istio-cni's plugin does not tell it.
            container: Some(container).filter(|container| !container.is_empty()),
            starting: true,
            ..Sandbox::default()
        };
        self.hurry();
    }

    /// What a search came to: the namespace that was found, or none.
    pub(super) fn found(&mut self, found: Option<Arc<Netns>>) {
        if self.sandbox.netns.is_some() && !self.sandbox.recheck {
            return; // the plugin handed one over meanwhile
        }
        self.sandbox.recheck = false;
        let suspect = std::mem::take(&mut self.sandbox.suspect);
        if found.is_none() {
            self.sandbox.gone = None; // what was being taken down is no more
        }
        let found = found.filter(|netns| self.sandbox.gone != Some(netns.id()));
        let known = self.sandbox.netns.as_ref().map(|netns| netns.id());
        match found {
            Some(netns) if known == Some(netns.id()) => {}
            Some(netns) => {
                if known.is_some() {
                    tracing::warn!(pod = %self.pod.full_name(), "moved to another network namespace: enrolling it again");
                    self.rules = Rules::Absent;
                }
                self.sandbox = Sandbox { netns: Some(netns), ..Sandbox::default() };
            }
            None if suspect => self.sandbox_gone(),
            None => {}
        }
    }

    /// The plugin took the pod's sandbox down.
    pub(super) fn sandbox_gone(&mut self) {
        let gone = self.sandbox.netns.take().map(|netns| netns.id());
        self.sandbox = Sandbox { gone, ..Sandbox::default() };
        self.rules = Rules::Absent;
        self.measure_at = None;
        self.inspect = false;
        self.hurry();
    }

    /// Something changed: what failed before may work now.
    pub(super) fn hurry(&mut self) {
        self.failures = 0;
        self.not_before = Moment::default();
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.last_failure.clear();
    }

    pub(super) fn failed(&mut self, why: String, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.after(backoff(self.failures));
        self.last_failure = why;
    }

    /// When this pod wants to be looked at again without anything having happened.
    pub(super) fn wake(&self, goal: Goal, now: Moment) -> Option<Moment> {
        let call = self.adds.iter().chain(&self.deletes).map(|waiting| waiting.deadline).min();
        let timers = [
            (self.failures > 0).then_some(self.not_before),
            self.leaving_at.filter(|_| goal == Goal::Out),
            self.measure_at.filter(|_| goal == Goal::In),
        ];
        let timer = timers.into_iter().flatten().filter(|at| *at > now && self.busy.is_none()).min();
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
/// Searches for the namespace of a leaving pod before it is given up.
const FIND_ATTEMPTS: u32 = 5;
