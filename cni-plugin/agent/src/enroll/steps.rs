//! A pod's steps as the shell's commands, and what came of them as the pod's state.

use std::sync::Arc;

use cni_plugin_wire::zds::WorkloadInfo;

use super::entry::{Entry, Outbound, Rules, Step};
use super::{Command, Ended, Moment, calls};
use crate::canary::Landing;
use crate::metrics::Proof;
use crate::model::Redirection;
use crate::netns::NetnsId;

/// Puts what came of `step` into the pod's entry.
pub(super) fn apply(entry: &mut Entry, step: Step, ended: Ended, now: Moment, out: &mut Vec<Command>) {
    let current = entry.sandbox.netns.as_ref().map(|netns| netns.id());
    let failure = match (step, ended) {
        (Step::Find, Ended::Found(found)) => {
            let why = found.as_ref().err().cloned();
            if entry.found(found.ok()) {
                gap(entry, Proof::Netns, "it moved to another network namespace", out);
            }
            // A namespace that is being taken down was found, and is as good as none.
            let none = || why.unwrap_or_else(|| "its sandbox is being taken down".to_owned());
            entry.sandbox.netns.is_none().then(none)
        }
        (Step::Redirect(id), Ended::RedirectedButDns) => {
            if current == Some(id) {
                entry.rules = Rules::In(id);
            }
            // With a proxy that serves the pod, it is a later measurement that finds the listener.
            entry.dns_due = entry.announced != Some(id);
            entry.proved = None;
            None
        }
        (Step::Redirect(id), Ended::Redirected(result)) => {
            entry.dns_due = false;
            entry.proved = None;
            if result.is_ok() && current == Some(id) {
                entry.rules = Rules::In(id);
            }
            if let Err(why) = &result {
                // Its rules can be half in place.
                entry.rules = if current == Some(id) { Rules::Unknown } else { entry.rules };
                calls::fail_adds(entry, why, out);
            }
            result.err()
        }
        (Step::Release(id), Ended::Released(result)) if current == Some(id) => {
            cleared(entry, Rules::Released(id), result)
        }
        (Step::Release(_), Ended::Released(result)) => result.err(),
        (Step::Unredirect, Ended::Unredirected(result)) => cleared(entry, Rules::Absent, result),
        (Step::Announce(id), Ended::Announced(result)) => {
            entry.booked = true;
            if result.is_ok() {
                entry.announced = Some(id);
            }
            // A snapshot may have delivered it meanwhile.
            let result = if entry.announced == Some(id) { Ok(()) } else { result };
            entry.pending = result.is_err();
            result.err()
        }
        (Step::Retract, Ended::Retracted) => {
            entry.retracted();
            None
        }
        (Step::Record(value), Ended::Recorded(result)) => {
            let noted = std::mem::take(&mut entry.pending);
            if result.is_ok() {
                entry.recorded(value);
            }
            if noted && value == Some(Redirection::Pending) && entry.recorded != Some(Redirection::Enabled) {
                return; // what made it pending keeps its own pace
            }
            result.err()
        }
        (Step::Inspect(id), Ended::Inspected(result)) => inspected(entry, id, result, now, out),
        (Step::Prove(id), Ended::Proved(result)) => proved(entry, id, result, out),
        (Step::Save(id, stage), Ended::Saved) => {
            entry.saved = Some((id, stage));
            None
        }
        (Step::Refuse(id), Ended::Refused(result)) => refused(entry, current == Some(id), result),
        (Step::Allow(id), Ended::Allowed(result)) => allowed(entry, current == Some(id), result),
        (_, _) => Some("another step ended than was under way".to_owned()),
    };
    match failure {
        Some(why) => {
            entry.failed(why, now);
            entry.failed_at = Some(step.name());
        }
        None if entry.failed_at.is_none_or(|at| at == step.name()) => entry.succeeded(),
        None => {}
    }
}

/// What was to be taken away is, and a refusal with it; what could not be can be half gone.
fn cleared(entry: &mut Entry, left: Rules, result: Result<(), String>) -> Option<String> {
    let (rules, outbound) =
        if result.is_ok() { (left, Outbound::Allowed) } else { (Rules::Unknown, Outbound::Unknown) };
    (entry.rules, entry.outbound) = (rules, outbound);
    result.err()
}

fn refused(entry: &mut Entry, current: bool, result: Result<(), String>) -> Option<String> {
    if let Some(netns) = entry.sandbox.netns.as_ref().filter(|_| current) {
        let id = netns.id();
        entry.outbound = if result.is_ok() { Outbound::Refused(id) } else { Outbound::Unknown };
        // It goes with the rules, so there is something to take away.
        entry.rules = if entry.rules == Rules::Absent { Rules::Unknown } else { entry.rules };
    }
    result.err()
}

fn allowed(entry: &mut Entry, current: bool, result: Result<(), String>) -> Option<String> {
    if result.is_ok() && current {
        entry.outbound = Outbound::Allowed;
        if entry.failed_at == Some("refuse") {
            entry.succeeded(); // what could not be refused need not be
        }
    }
    result.err()
}

fn inspected(
    entry: &mut Entry,
    id: NetnsId,
    result: Result<Option<String>, String>,
    now: Moment,
    out: &mut Vec<Command>,
) -> Option<String> {
    let current = entry.sandbox.netns.as_ref().is_some_and(|netns| netns.id() == id);
    entry.inspect = false;
    calls::answer_checks(entry, &result, out);
    match &result {
        Ok(Some(drift)) if current => {
            entry.rules = Rules::Unknown;
            gap(entry, Proof::Rules, drift, out);
        }
        Ok(None) if current => {
            entry.measured = Some(now);
            if entry.rules == Rules::Claimed {
                entry.rules = Rules::In(id);
            }
        }
        Ok(_) | Err(_) => {}
    }
    result.err()
}

fn proved(
    entry: &mut Entry,
    id: NetnsId,
    result: Result<Landing, String>,
    out: &mut Vec<Command>,
) -> Option<String> {
    entry.canary = false;
    match result {
        Ok(Landing::Proxy | Landing::Unroutable) => {
            entry.proved = Some(id);
            entry.refused = 0;
            None
        }
        Ok(Landing::Refused(why)) => Some(missed(entry, id, why, true, out)),
        Ok(Landing::Missed(why)) => Some(missed(entry, id, why, false, out)),
        Err(why) => Some(why),
    }
}

/// A canary that did not land: the rules are put in place again, whatever they look like.
fn missed(entry: &mut Entry, id: NetnsId, why: String, refused: bool, out: &mut Vec<Command>) -> String {
    gap(entry, Proof::Canary, &why, out);
    entry.proved = None;
    entry.refused = if refused { entry.refused.saturating_add(1) } else { 0 };
    if entry.rules == Rules::In(id) {
        entry.rules = Rules::Unknown;
    }
    why
}

/// Tells of a pod that was said to be enrolled and was found not to be.
pub(super) fn gap(entry: &Entry, proof: Proof, why: &str, out: &mut Vec<Command>) {
    if entry.recorded == Some(Redirection::Enabled) {
        let pod = Arc::clone(&entry.pod);
        out.push(Command::Gap { pod, proof, why: why.to_owned() });
    }
}

/// The shell's command for a step; `None` when the step needs a namespace that is not there any more.
pub(super) fn command(entry: &Entry, step: Step) -> Option<Command> {
    let uid = entry.uid.clone();
    let pod = Arc::clone(&entry.pod);
    let netns = entry.sandbox.netns.clone();
    match step {
        Step::Find => Some(Command::Find { pod, ips: entry.ips() }),
        Step::Redirect(_) => netns.map(|netns| Command::Redirect { pod, netns }),
        Step::Release(_) => netns.map(|netns| Command::Release { pod, netns }),
        Step::Unredirect => netns.map(|netns| Command::Unredirect { pod, netns }),
        Step::Announce(_) => {
            let info = WorkloadInfo {
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                service_account: pod.service_account().to_owned(),
            };
            netns.map(|netns| Command::Announce { uid, info, netns })
        }
        Step::Retract => Some(Command::Retract { uid }),
        Step::Record(value) => Some(Command::Record { pod, value }),
        Step::Inspect(_) => netns.map(|netns| Command::Inspect { pod, netns }),
        Step::Prove(_) => netns.map(|netns| Command::Prove { pod, netns }),
        Step::Save(_, stage) => {
            let (container, ips) = (entry.sandbox.container.clone(), entry.ips());
            netns.map(|netns| Command::Save { pod, netns, container, ips, stage })
        }
        Step::Refuse(_) => netns.map(|netns| Command::Refuse { pod, netns }),
        Step::Allow(_) => netns.map(|netns| Command::Allow { pod, netns }),
    }
}
