//! The plugin's calls: which pod each one means, and what it is answered.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cni_plugin_wire::event::Outcome;
use cni_plugin_wire::zds::PodUid;

use super::entry::{Entry, Goal, Step, Waiting};
use super::{Command, Enrollment, Moment, RequestId, SandboxName, Touched};
use crate::eligible;
use crate::model::Labels;
use crate::netns::Netns;

/// An Add whose pod the source has not shown yet.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) request: RequestId,
    pub(super) sandbox: SandboxName,
    pub(super) uid: Option<PodUid>,
    pub(super) netns: Arc<Netns>,
    pub(super) ips: Vec<IpAddr>,
    /// Until then its pod may become known.
    pub(super) deadline: Moment,
    /// Until then it must be answered.
    pub(super) answer_by: Moment,
}

impl Enrollment {
    /// Decides the Adds whose pod is known by now, and those that waited long enough for it.
    pub(super) fn unpark(&mut self, now: Moment, out: &mut Vec<Command>) {
        let synced = self.is_synced();
        for parked in std::mem::take(&mut self.parked) {
            let outcome = match self.pod_of(&parked.sandbox, parked.uid.as_ref()) {
                Some(uid) if synced || self.is_restored(&uid) => self.add(&uid, parked, now, out),
                None if self.policy.excluded_namespaces.contains(&parked.sandbox.namespace) => {
                    Some((parked.request, Outcome::NotSelected))
                }
                _ if now >= parked.deadline => Some((parked.request, self.unknown(&parked.sandbox))),
                _ => {
                    self.parked.push(parked);
                    None
                }
            };
            out.extend(outcome.map(|(request, outcome)| Command::Answer { request, outcome }));
        }
    }

    /// Puts an Add to its pod; an answer comes back at once when there is nothing to wait for.
    fn add(
        &mut self,
        uid: &PodUid,
        parked: Parked,
        now: Moment,
        out: &mut Vec<Command>,
    ) -> Option<(RequestId, Outcome)> {
        let goal = self.pods.get(uid).map(|entry| self.goal(entry))?;
        let entry = self.pods.get_mut(uid)?;
        match goal {
            Goal::In => {}
            Goal::Dead => return Some((parked.request, failed("the pod has ended already", false))),
            Goal::Out | Goal::Unsure => return Some((parked.request, Outcome::NotSelected)),
        }
        if entry.sandbox.container.as_ref() != Some(&parked.sandbox.container) {
            // The runtime gave the earlier sandbox up.
            fail_adds(entry, "another sandbox of the pod is being started", out);
        }
        entry.adopt(parked.netns, parked.sandbox.container, parked.ips);
        entry.adds.push(Waiting { request: parked.request, deadline: parked.answer_by });
        self.advance(uid, now, out);
        None
    }

    /// A pod that the source does not show belongs to a namespace whose labels say whether it may start.
    fn unknown(&self, sandbox: &SandboxName) -> Outcome {
        if !self.is_synced() {
            return failed("the node agent has not read its pods yet", true);
        }
        let none = Labels::new();
        let labels = self.namespaces.get(&sandbox.namespace).unwrap_or(&none);
        if !self.uninstalling && eligible::namespace_selected(&self.policy, &sandbox.namespace, labels) {
            let SandboxName { namespace, name, .. } = sandbox;
            failed(&format!("pod {namespace}/{name} is not known to the node agent yet"), true)
        } else {
            Outcome::NotSelected
        }
    }

    /// Whether the source has shown the pod that a call names.
    #[must_use]
    pub fn knows(&self, sandbox: &SandboxName, uid: Option<&PodUid>) -> bool {
        self.pod_of(sandbox, uid).is_some()
    }

    /// The pod that a call names: by UID where the runtime tells it, else the living one of that name.
    fn pod_of(&self, sandbox: &SandboxName, uid: Option<&PodUid>) -> Option<PodUid> {
        let mut named = self.pods.values().filter(|entry| {
            entry.present
                && entry.pod.metadata.namespace == sandbox.namespace
                && entry.pod.metadata.name == sandbox.name
        });
        let found = match uid {
            // A source without UIDs of its own names pods by namespace and name.
            Some(uid) => named.find(|entry| entry.pod.runtime_uid() == uid.0 || entry.pod.has_made_up_uid()),
            None => named.find(|entry| !entry.pod.is_terminal()),
        };
        found.map(|entry| entry.uid.clone())
    }

    pub(super) fn sandbox_deleted(
        &mut self,
        waiting: Waiting,
        sandbox: &SandboxName,
        out: &mut Vec<Command>,
    ) -> Touched {
        let synced = self.is_synced();
        let mut held = false;
        self.parked.retain(|parked| {
            let stays = parked.sandbox.container != sandbox.container;
            if !stays {
                out.push(Command::Answer { request: parked.request, outcome: failed(TAKEN_DOWN, true) });
            }
            stays
        });
        let mut touched = Vec::new();
        for entry in self.pods.values_mut() {
            if entry.sandbox.container.as_ref() == Some(&sandbox.container) {
                fail_adds(entry, TAKEN_DOWN, out);
                entry.sandbox_gone();
                if synced && entry.booked && !held {
                    entry.deletes.push(waiting);
                    held = true;
                }
            } else if entry.sandbox.container.is_none()
                && entry.sandbox.netns.is_some()
                && entry.pod.metadata.namespace == sandbox.namespace
                && entry.pod.metadata.name == sandbox.name
            {
                // Runtimes repeat themselves, also for sandboxes long gone: look before believing it.
                entry.sandbox.suspect = true;
                entry.sandbox.recheck = true;
            } else {
                continue;
            }
            touched.push(entry.uid.clone());
        }
        if !held {
            out.push(Command::Answer { request: waiting.request, outcome: Outcome::Done });
        }
        Touched::Pods(touched)
    }

    /// A list names the sandboxes of one network only, and says nothing of one that has just begun: whoever is not in
    /// it is looked at before it is believed to be gone.
    pub(super) fn collect(&mut self, containers: &BTreeSet<String>) -> Touched {
        let mut touched = Vec::new();
        for entry in self.pods.values_mut() {
            let unlisted = entry.sandbox.container.as_ref().is_some_and(|known| !containers.contains(known));
            if unlisted && !entry.sandbox.starting {
                entry.sandbox.suspect = true;
                entry.sandbox.recheck = true;
                touched.push(entry.uid.clone());
            }
        }
        Touched::Pods(touched)
    }

    pub(super) fn check(
        &mut self,
        request: RequestId,
        sandbox: &SandboxName,
        uid: Option<&PodUid>,
        out: &mut Vec<Command>,
    ) -> Touched {
        let answer = |outcome| Command::Answer { request, outcome };
        let Some(uid) = self.pod_of(sandbox, uid).filter(|_| self.is_synced()) else {
            out.push(answer(self.unknown(sandbox)));
            return Touched::none();
        };
        let selected = self.pods.get(&uid).is_some_and(|entry| self.goal(entry) == Goal::In);
        let Some(entry) = self.pods.get_mut(&uid) else {
            return Touched::none();
        };
        if !selected {
            out.push(answer(Outcome::NotSelected));
        } else if entry.enrolled() {
            entry.inspect = true;
            entry.checks.push(request);
        } else {
            let why = format!("pod {} is not enrolled yet: {}", entry.pod.full_name(), reason(entry));
            out.push(answer(failed(&why, true)));
        }
        Touched::one(uid)
    }
}

/// Answers the calls for which the pod has become what it was to become, or that cannot wait any longer.
pub(super) fn settle(entry: &mut Entry, goal: Goal, now: Moment, out: &mut Vec<Command>) {
    let outcome = match goal {
        Goal::In if entry.enrolled() => Some(Outcome::Enrolled),
        Goal::In => None,
        Goal::Out => Some(Outcome::NotSelected),
        Goal::Unsure => None,
        Goal::Dead => Some(failed("the pod is deleted or has ended", false)),
    };
    if let Some(outcome) = outcome {
        // Either way it runs from now on.
        if matches!(outcome, Outcome::Enrolled | Outcome::NotSelected) {
            entry.sandbox.starting = false;
        }
        if outcome != Outcome::Enrolled {
            let checks = entry.checks.drain(..);
            out.extend(checks.map(|request| Command::Answer { request, outcome: outcome.clone() }));
        }
        let adds = entry.adds.drain(..);
        out.extend(adds.map(|add| Command::Answer { request: add.request, outcome: outcome.clone() }));
        return;
    }
    let why = format!("pod {} is not enrolled: {}", entry.pod.full_name(), reason(entry));
    if !entry.inspect {
        let checks = entry.checks.drain(..);
        out.extend(checks.map(|request| Command::Answer { request, outcome: failed(&why, true) }));
    }
    let late = entry.adds.extract_if(.., |add| now >= add.deadline);
    out.extend(late.map(|add| Command::Answer { request: add.request, outcome: failed(&why, true) }));
}

/// Lets sandboxes go whose proxy has told the peers, or had its time to.
pub(super) fn release(entry: &mut Entry, now: Moment, out: &mut Vec<Command>) {
    let booked = entry.booked;
    let told = entry.deletes.extract_if(.., |delete| !booked || now >= delete.deadline);
    out.extend(told.map(|delete| Command::Answer { request: delete.request, outcome: Outcome::Done }));
}

pub(super) fn fail_adds(entry: &mut Entry, why: &str, out: &mut Vec<Command>) {
    let message = format!("pod {} is not enrolled: {why}", entry.pod.full_name());
    let adds = entry.adds.drain(..);
    out.extend(adds.map(|add| Command::Answer { request: add.request, outcome: failed(&message, true) }));
}

pub(super) fn answer_checks(
    entry: &mut Entry,
    result: &Result<Option<String>, String>,
    out: &mut Vec<Command>,
) {
    let name = entry.pod.full_name();
    let outcome = match result {
        Ok(None) => Outcome::Enrolled,
        Ok(Some(drift)) => {
            failed(&format!("pod {name}: its rules had changed and are being repaired: {drift}"), true)
        }
        Err(why) => failed(&format!("pod {name}: its rules cannot be inspected: {why}"), true),
    };
    let checks = entry.checks.drain(..);
    out.extend(checks.map(|request| Command::Answer { request, outcome: outcome.clone() }));
}

/// Why the pod is not enrolled yet.
fn reason(entry: &Entry) -> &str {
    if !entry.last_failure.is_empty() {
        return &entry.last_failure;
    }
    match entry.busy {
        Some(Step::Redirect(_)) => "its redirection rules are not in place yet",
        Some(Step::Announce(_)) => "no proxy has confirmed yet that it serves the pod",
        Some(Step::Record(_)) => "its status is not written yet",
        Some(Step::Prove(_)) => "no connection from inside it has come to the proxy yet",
        Some(
            Step::Find
            | Step::Release(_)
            | Step::Unredirect
            | Step::Retract
            | Step::Inspect(_)
            | Step::Save(..)
            | Step::Refuse(_)
            | Step::Allow(_),
        )
        | None => "the node agent is not done with it yet",
    }
}

fn failed(message: &str, retry: bool) -> Outcome {
    Outcome::Failed { message: message.to_owned(), retry }
}

const TAKEN_DOWN: &str = "the sandbox was taken down";
