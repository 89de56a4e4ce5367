//! Decides what is to be done for every pod of the node, without doing any of it: events in, commands out.
//!
//! Each pod has at most one command under way, so what happens to one pod happens in order, and pods wait for
//! nothing but themselves. No clock, socket or file is touched here.

mod calls;
mod command;
mod dump;
mod entry;
mod event;
mod next;
mod probes;
mod restore;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;

use self::calls::Parked;
pub use self::command::Command;
pub use self::dump::{Census, PodState};
pub use self::entry::Stage;
use self::entry::{Entry, Goal, Rules, Step, Told, Waiting};
pub use self::event::{Ended, Event, Moment, RequestId, Restored, SandboxName};
use self::next::Around;
use crate::config::{Canary, Timing};
use crate::eligible::{self, Policy, Verdict, Why};
use crate::metrics::Proof;
use crate::model::{Labels, Namespace, Pod, Redirection};
use crate::report::Report;

/// The machine.
#[derive(Debug)]
pub struct Enrollment {
    policy: Policy,
    timing: Timing,
    namespaces: BTreeMap<String, Labels>,
    remembered: Option<BTreeSet<String>>,
    pods: BTreeMap<PodUid, Entry>,
    parked: Vec<Parked>,
    /// The source has been read.
    synced: bool,
    gate: Gate,
    /// Proxies that are connected.
    proxies: usize,
    /// What was last said of the records.
    complete: Option<bool>,
    /// No pod is wanted any more.
    uninstalling: bool,
    /// When the last event came: what was due by then has been looked at.
    last: Moment,
}

/// Proxies stop serving what a snapshot leaves out, so none is given before it can be complete.
#[derive(Debug)]
enum Gate {
    Shut,
    /// Waits for the first search for each of these, but not for long.
    Searching {
        left: BTreeSet<PodUid>,
        deadline: Moment,
    },
    Open,
}

impl Enrollment {
    #[must_use]
    pub const fn new(policy: Policy, timing: Timing) -> Self {
        Self {
            policy,
            timing,
            namespaces: BTreeMap::new(),
            remembered: None,
            pods: BTreeMap::new(),
            parked: Vec::new(),
            synced: false,
            gate: Gate::Shut,
            proxies: 0,
            complete: None,
            uninstalling: false,
            last: Moment(Duration::ZERO),
        }
    }

    /// Takes one event in and says what to do now.
    #[must_use]
    pub fn on(&mut self, event: Event, now: Moment) -> Vec<Command> {
        let mut out = Vec::new();
        let due = self.due(now);
        self.last = self.last.max(now);
        let touched = self.take(event, now, &mut out);
        self.unpark(now, &mut out);
        let uids: Vec<PodUid> = match touched {
            Touched::Pods(uids) => uids.into_iter().chain(due).collect(),
            Touched::All => self.pods.keys().cloned().collect(),
        };
        for uid in uids {
            if self.synced || self.pods.get(&uid).is_some_and(|entry| entry.restored.is_some()) {
                self.advance(&uid, now, &mut out);
            }
        }
        self.open_gate(now, &mut out);
        self.tell_complete(&mut out);
        out
    }

    /// The pods whose time has come since the last event. One that waits for nothing else is not looked at again for that.
    fn due(&self, now: Moment) -> Vec<PodUid> {
        let due = |entry: &&Entry| entry.wake(self.goal(entry), self.last).is_some_and(|at| at <= now);
        self.pods.values().filter(due).map(|entry| entry.uid.clone()).collect()
    }

    /// When [`Event::Tick`] is due if nothing happens before: maybe a time that has passed already.
    #[must_use]
    pub fn wake(&self) -> Option<Moment> {
        let parked = self.parked.iter().map(|parked| parked.deadline);
        let gate = match &self.gate {
            Gate::Searching { deadline, .. } => Some(*deadline),
            Gate::Shut | Gate::Open => None,
        };
        let moving = |entry: &&Entry| self.synced || entry.restored.is_some();
        let pods =
            self.pods.values().filter(moving).filter_map(|entry| entry.wake(self.goal(entry), self.last));
        gate.into_iter().chain(pods).chain(parked).min()
    }

    /// Whether the source has been read and plugin calls can be decided.
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether all pods are to leave the mesh.
    #[must_use]
    pub const fn is_uninstalling(&self) -> bool {
        self.uninstalling
    }

    fn take(&mut self, event: Event, now: Moment, out: &mut Vec<Command>) -> Touched {
        match event {
            Event::Restored { pods, complete } => self.restore(pods, complete, now, out),
            Event::NamespaceSeen(namespace) => self.namespace_seen(namespace, out),
            Event::NamespaceGone(name) => self.namespace_gone(&name, out),
            Event::PodSeen { pod, recorded } => self.pod_seen(pod, recorded, now),
            Event::PodGone(uid) => {
                if let Some(entry) = self.pods.get_mut(&uid) {
                    entry.present = false;
                    entry.hurry();
                }
                Touched::one(uid)
            }
            Event::Synced => {
                self.synced(now, out);
                Touched::All
            }
            Event::Add { request, sandbox, uid, netns, ips } => {
                let deadline = now.after(self.timing.pod_wait);
                let answer_by = now.after(self.timing.plugin_deadline);
                self.parked.push(Parked { request, sandbox, uid, netns, ips, deadline, answer_by });
                Touched::none()
            }
            Event::Delete { request, sandbox } => {
                let waiting = Waiting { request, deadline: now.after(FAREWELL) };
                self.sandbox_deleted(waiting, &sandbox, out)
            }
            Event::Check { request, sandbox, uid } => self.check(request, &sandbox, uid.as_ref(), out),
            Event::Collect { containers } => self.collect(&containers),
            Event::Done { uid, ended } => self.done(uid, ended, now, out),
            Event::Delivered { uid, netns } => {
                // One that is not booked has been retracted since: the proxy let it go after it said so.
                if let Some(entry) = self.pods.get_mut(&uid).filter(|entry| entry.booked) {
                    entry.announced = Some(netns);
                    entry.succeeded();
                    entry.hurry();
                    entry.refused = 0;
                    // This proxy may listen for DNS where the last one did not, or not listen at all.
                    entry.inspect |= entry.enrolled();
                    entry.canary |= entry.enrolled();
                }
                Touched::one(uid)
            }
            Event::Refused { uid, netns, why } => {
                if let Some(entry) = self.pods.get_mut(&uid).filter(|entry| entry.announced == Some(netns)) {
                    entry.announced = None;
                    steps::gap(entry, Proof::Acknowledged, &why, out);
                    entry.failed(why, now);
                }
                Touched::one(uid)
            }
            Event::Proxies(connected) => {
                if std::mem::replace(&mut self.proxies, connected) > connected {
                    self.measure_soon(now);
                }
                Touched::All
            }
            Event::WithdrawAll => {
                self.uninstalling = true;
                self.pods.values_mut().for_each(Entry::hurry);
                self.remember(out);
                Touched::All
            }
            Event::Tick => Touched::All,
        }
    }

    /// Has every enrolled pod measured shortly, also where that is not done from time to time: a proxy that ended lets go
    /// of its sockets a moment after it disconnected, and its successor may be on its way.
    fn measure_soon(&mut self, now: Moment) {
        for entry in self.pods.values_mut().filter(|entry| entry.enrolled()) {
            let soon = now.after(PROXY_GONE.saturating_add(spread(&entry.uid, PROXY_GONE)));
            entry.measure_at = Some(entry.measure_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn namespace_seen(&mut self, namespace: Namespace, out: &mut Vec<Command>) -> Touched {
        let name = namespace.metadata.name;
        let mut labels = namespace.metadata.labels;
        // The API server sets it on every namespace; a file written by hand may lack it.
        labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| name.clone());
        if self.namespaces.get(&name) == Some(&labels) {
            return Touched::none();
        }
        self.namespaces.insert(name.clone(), labels);
        self.remember(out);
        self.hurry_namespace(&name)
    }

    fn namespace_gone(&mut self, name: &str, out: &mut Vec<Command>) -> Touched {
        self.namespaces.remove(name);
        self.remember(out);
        self.hurry_namespace(name)
    }

    fn hurry_namespace(&mut self, name: &str) -> Touched {
        let mut touched = Vec::new();
        for entry in self.pods.values_mut().filter(|entry| entry.pod.metadata.namespace == name) {
            entry.hurry();
            touched.push(entry.uid.clone());
        }
        Touched::Pods(touched)
    }

    fn pod_seen(&mut self, pod: Arc<Pod>, recorded: Option<Redirection>, now: Moment) -> Touched {
        let uid = PodUid(pod.metadata.uid.clone());
        if let Some(entry) = self.pods.get_mut(&uid) {
            if entry.pod != pod || !entry.present {
                entry.hurry();
            }
            // Annotations that change what a pod wants are measured against at once, not at the next turn.
            entry.inspect |= entry.enrolled() && eligible::overrides(&entry.pod) != eligible::overrides(&pod);
            // What it told first of its sandbox is no news; what it tells otherwise than before is.
            if !entry.pod.ips().is_empty()
                && pod.may_have_moved_since(&entry.pod)
                && entry.sandbox.netns.is_some()
            {
                entry.sandbox.recheck = true;
                entry.inspect |= entry.enrolled();
                entry.canary |= entry.enrolled();
            }
            if entry.restored.is_some() {
                entry.recorded = recorded;
                entry.seen = true;
            }
            entry.shows(recorded, now);
            entry.pod = pod;
            entry.present = true;
        } else if pod.spec.node_name == self.policy.node {
            self.pods.insert(uid.clone(), Entry::new(uid.clone(), pod, recorded, self.proving()));
        }
        Touched::one(uid)
    }

    fn synced(&mut self, now: Moment, out: &mut Vec<Command>) {
        if std::mem::replace(&mut self.synced, true) {
            return;
        }
        self.settle_restored();
        let mut left = BTreeSet::new();
        for (uid, entry) in &self.pods {
            if self.goal(entry) == Goal::In && !entry.pod.ips().is_empty() {
                left.insert(uid.clone());
            }
        }
        let unbooked = |entry: &&mut Entry| entry.recorded.is_some() && entry.present && !entry.booked;
        for entry in self.pods.values_mut().filter(unbooked) {
            entry.booked = true;
            out.push(Command::Keep { uid: entry.uid.clone() });
        }
        if !matches!(self.gate, Gate::Open) {
            self.gate = Gate::Searching { left, deadline: now.after(SEARCH_TIME) };
        }
        self.remember(out);
    }

    fn open_gate(&mut self, now: Moment, out: &mut Vec<Command>) {
        let Gate::Searching { left, deadline } = &self.gate else {
            return;
        };
        let sought = |uid: &&PodUid| {
            let entry = self.pods.get(*uid).filter(|entry| entry.offered.is_none());
            entry.is_some_and(|entry| self.goal(entry) == Goal::In)
        };
        let (left, deadline): (BTreeSet<_>, _) = (left.iter().filter(sought).cloned().collect(), *deadline);
        self.gate = if left.is_empty() || now >= deadline {
            out.push(Command::Serve);
            Gate::Open
        } else {
            Gate::Searching { left, deadline }
        };
    }

    fn remember(&mut self, out: &mut Vec<Command>) {
        if !self.synced {
            return;
        }
        let selected =
            |(name, labels): &(&String, &Labels)| eligible::namespace_selected(&self.policy, name, labels);
        let namespaces: BTreeSet<String> = self
            .namespaces
            .iter()
            .filter(|_| !self.uninstalling)
            .filter(selected)
            .map(|(name, _)| name.clone())
            .collect();
        if self.remembered.as_ref() != Some(&namespaces) {
            self.remembered = Some(namespaces.clone());
            out.push(Command::Remember { namespaces });
        }
    }

    fn goal(&self, entry: &Entry) -> Goal {
        match entry.restored.filter(|_| !self.uninstalling) {
            Some(Stage::In) => return Goal::In,
            Some(Stage::Leaving) => return Goal::Unsure,
            None => {}
        }
        if !entry.present || entry.pod.is_terminal() {
            return Goal::Dead;
        }
        match self.verdict(&entry.pod) {
            Verdict::Selected => Goal::In,
            Verdict::NotSelected(_) => Goal::Out,
        }
    }

    fn verdict(&self, pod: &Pod) -> Verdict {
        if self.uninstalling {
            return Verdict::NotSelected(Why::Uninstalling);
        }
        let none = Labels::new();
        let labels = self.namespaces.get(&pod.metadata.namespace).unwrap_or(&none);
        eligible::verdict(&self.policy, pod, labels)
    }

    /// Takes the pod's next step, if there is one, and answers the calls that wait for it.
    fn advance(&mut self, uid: &PodUid, now: Moment, out: &mut Vec<Command>) {
        let Some(goal) = self.pods.get(uid).map(|entry| self.goal(entry)) else {
            return;
        };
        let Timing { canary, unproved, .. } = self.timing;
        let around = Around { now, canary, unproved, proxies: self.proxies > 0 };
        let Some(entry) = self.pods.get_mut(uid) else {
            return;
        };
        if goal == Goal::In && !entry.booked && entry.announced.is_none() && entry.sandbox.gone.is_none() {
            entry.booked = true;
            out.push(Command::Keep { uid: uid.clone() });
        }
        if entry.measure_at.is_some_and(|at| at <= now) && goal == Goal::In && entry.busy.is_none() {
            entry.measure_at = None;
            entry.inspect = true;
            entry.canary = self.timing.canary == Canary::On;
            entry.sandbox.recheck = true;
        }
        if let Some(step) = entry.next(goal, around) {
            if let Some(command) = steps::command(entry, step) {
                entry.busy = Some(step);
                if let Step::Announce(id) = step {
                    entry.offered = Some(id);
                }
                out.push(command);
            }
        } else if goal == Goal::In && entry.enrolled() && entry.busy.is_none() && entry.measure_at.is_none() {
            entry.measure_at =
                self.timing.measure.map(|every| now.after(every.saturating_add(spread(uid, every))));
        }
        calls::settle(entry, goal, now, out);
        calls::release(entry, now, out);
        if entry.is_forgettable(goal) {
            entry.saved = None;
            out.push(Command::Forget { uid: uid.clone() });
        }
        report(entry, goal, out);
        if goal == Goal::Dead
            && !entry.present
            && entry.busy.is_none()
            && entry.recorded.is_none()
            && !entry.booked
        {
            self.pods.remove(uid);
        }
    }

    fn done(&mut self, uid: PodUid, ended: Ended, now: Moment, out: &mut Vec<Command>) -> Touched {
        let grace = self.timing.withdraw_grace;
        let Some(goal) = self.pods.get(&uid).map(|entry| self.goal(entry)) else {
            return Touched::none();
        };
        let Some(entry) = self.pods.get_mut(&uid) else {
            return Touched::none();
        };
        let Some(step) = entry.busy.take() else {
            return Touched::none();
        };
        let failures = entry.failures;
        steps::apply(entry, step, ended, now, out);
        if goal == Goal::In && entry.failures > failures {
            let report = Report::NotEnrolled { why: entry.last_failure.clone() };
            out.push(Command::Report { pod: Arc::clone(&entry.pod), report });
            entry.told = Told::Failing;
        }
        if let (Step::Find, None, Gate::Searching { left, .. }) = (step, &entry.sandbox.netns, &mut self.gate)
        {
            left.remove(&uid);
        }
        let leaves = Some(Redirection::Pending);
        if goal == Goal::Out && step == Step::Record(leaves) {
            if entry.recorded == leaves {
                entry.leaving_at = (entry.rules != Rules::Absent).then(|| now.after(grace));
            } else if self.uninstalling {
                // Whoever takes the agent away may have taken its rights away first.
                entry.unsaid = true;
                entry.not_before = now;
            }
        }
        if goal == Goal::Out && matches!(entry.rules, Rules::Released(_)) && matches!(step, Step::Release(_))
        {
            entry.leaving_at = Some(now.after(grace));
        }
        Touched::one(uid)
    }
}

/// Says once what became of the pod.
fn report(entry: &mut Entry, goal: Goal, out: &mut Vec<Command>) {
    let now = match goal {
        Goal::In if entry.enrolled() => Told::Enrolled,
        Goal::Out if entry.withdrawn() => Told::Out,
        Goal::In | Goal::Out | Goal::Dead | Goal::Unsure => return,
    };
    let before = std::mem::replace(&mut entry.told, now);
    let report = match (before, now) {
        (Told::Failing | Told::Out, Told::Enrolled) => Report::Enrolled,
        (Told::Failing | Told::Enrolled, Told::Out) => Report::Withdrawn,
        (_, _) => return,
    };
    out.push(Command::Report { pod: Arc::clone(&entry.pod), report });
}

/// Which pods an event may have moved.
enum Touched {
    Pods(Vec<PodUid>),
    All,
}

impl Touched {
    const fn none() -> Self {
        Self::Pods(Vec::new())
    }

    fn one(uid: PodUid) -> Self {
        Self::Pods(vec![uid])
    }
}

/// Up to a quarter of the interval, always the same for one pod, so that pods are not all measured at once.
fn spread(uid: &PodUid, every: Duration) -> Duration {
    let sum: u32 = uid.0.bytes().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    every.saturating_mul(sum % 256) / 1024
}

/// How long a sandbox that is taken down waits for its proxy. The runtime gets no error: it goes either way.
const FAREWELL: Duration = Duration::from_secs(2);
/// From a proxy's end to a look at what it left.
const PROXY_GONE: Duration = Duration::from_millis(500);
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// How long the first searches may hold the proxies' snapshot back.
const SEARCH_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
