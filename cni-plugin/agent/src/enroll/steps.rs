//! A pod's steps as the shell's commands, and what came of them as the pod's state.

use std::sync::Arc;

use cni_plugin_wire::zds::WorkloadInfo;

use super::entry::{Entry, Rules, Step};
use super::{Command, Ended, Moment, calls};
use crate::model::Redirection;

/// Puts what came of `step` into the pod's entry.
pub(super) fn apply(entry: &mut Entry, step: Step, ended: Ended, now: Moment, out: &mut Vec<Command>) {
    let current = entry.sandbox.netns.as_ref().map(|netns| netns.id());
    let failure = match (step, ended) {
        (Step::Find, Ended::Found(found)) => {
            let why = found.as_ref().err().cloned();
            entry.found(found.ok());
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
            None
        }
        (Step::Redirect(id), Ended::Redirected(result)) => {
            entry.dns_due = false;
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
        (Step::Unredirect, Ended::Unredirected(result)) => {
            // What could not be removed can be half gone.
            entry.rules = if result.is_ok() { Rules::Absent } else { Rules::Unknown };
            result.err()
        }
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
            entry.announced = None;
            entry.booked = false;
            None
        }
        (Step::Record(value), Ended::Recorded(result)) => {
            let noted = std::mem::take(&mut entry.pending);
            if result.is_ok() {
                entry.recorded = value;
            }
            if noted && value == Some(Redirection::Pending) {
                return; // what made it pending keeps its own pace
            }
            result.err()
        }
        (Step::Inspect(id), Ended::Inspected(result)) => {
            entry.inspect = false;
            calls::answer_checks(entry, &result, out);
            if matches!(result, Ok(Some(_))) && current == Some(id) {
                entry.rules = Rules::Unknown;
            }
            result.err()
        }
        (_, _) => Some("another step ended than was under way".to_owned()),
    };
    match failure {
        Some(why) => entry.failed(why, now),
        None => entry.succeeded(),
    }
}

/// The shell's command for a step; `None` when the step needs a namespace that is not there any more.
pub(super) fn command(entry: &Entry, step: Step) -> Option<Command> {
    let uid = entry.uid.clone();
    let pod = Arc::clone(&entry.pod);
    let netns = entry.sandbox.netns.clone();
    match step {
        Step::Find => Some(Command::Find(pod)),
        Step::Redirect(_) => netns.map(|netns| Command::Redirect { pod, netns }),
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
    }
}
