//! The next step for one pod.

use super::Moment;
use super::entry::{Entry, Goal, Outbound, Rules, Sandbox, Stage, Step};
use crate::config::{Canary, Unproved};
use crate::model::Redirection;
use crate::netns::NetnsId;

/// What the next step depends on besides the pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) now: Moment,
    pub(super) canary: Canary,
    pub(super) unproved: Unproved,
    /// Some proxy is connected.
    pub(super) proxies: bool,
}

impl Entry {
    /// The next step towards `goal`, if there is one to take now.
    pub(super) fn next(&mut self, goal: Goal, around: Around) -> Option<Step> {
        if self.busy.is_some() {
            return None;
        }
        let step = match goal {
            Goal::In => self.next_in(around),
            Goal::Out => self.next_out(around.now),
            Goal::Dead => self.next_dead(around.now),
            Goal::Unsure => None,
        };
        // Before the source is read, nothing is said that an API server would have to hear.
        step.filter(|step| !(self.restored.is_some() && matches!(step, Step::Record(_))))
    }

    /// A pod whose start is held back gets its rules first: should anything fail, it fails closed. A pod that
    /// already runs gets its proxy first, so that no connection meets rules without a listener behind them.
    /// Either way `enabled` comes last: it makes peers send HBONE.
    fn next_in(&mut self, around: Around) -> Option<Step> {
        self.leaving_at = None;
        self.unsaid = false;
        if let Some(step) = self.next_refusing(around) {
            return Some(step);
        }
        if self.pending && self.recorded.is_none() {
            return Some(Step::Record(Some(Redirection::Pending)));
        }
        let gone = self.booked && self.sandbox.gone.is_some();
        if self.sandbox.netns.is_none() && (gone || self.announced.is_some()) {
            return Some(Step::Retract);
        }
        if around.now < self.not_before {
            return None;
        }
        if self.is_demoted(around) {
            self.pending = true;
            return Some(Step::Record(Some(Redirection::Pending)));
        }
        let Some(netns) = &self.sandbox.netns else {
            if self.sandbox.gone.is_some() && self.recorded.is_some() {
                return Some(Step::Record(None));
            }
            // Without an address there is no telling whose namespace was found.
            return (!self.ips().is_empty()).then_some(Step::Find);
        };
        if self.sandbox.recheck {
            return Some(Step::Find);
        }
        let id = netns.id();
        self.next_enrolling(id, around).or_else(|| self.next_measuring(id, around))
    }

    fn next_enrolling(&self, id: NetnsId, around: Around) -> Option<Step> {
        if self.saved != Some((id, Stage::In)) {
            return Some(Step::Save(id, Stage::In));
        }
        if self.may_speak(id, around) {
            return Some(Step::Allow(id));
        }
        if self.unheard(id, around) {
            return Some(Step::Retract);
        }
        let announced = self.announced == Some(id);
        // While no proxy is connected there is nobody to ask again: the next one is told when it comes.
        let announce =
            (!announced && (around.proxies || self.offered != Some(id))).then_some(Step::Announce(id));
        let dns = self.dns_due && announced;
        let redirect = match self.rules {
            Rules::Claimed => Some(Step::Inspect(id)),
            Rules::In(at) if at == id && !dns => None,
            // The connections of a pod that runs would meet rules without a listener behind them.
            Rules::Absent | Rules::Unknown | Rules::Released(_) | Rules::In(_) => {
                (announced || self.sandbox.starting).then_some(Step::Redirect(id))
            }
        };
        let served = if self.sandbox.starting { redirect.or(announce) } else { announce.or(redirect) };
        if served.is_some() || !announced || self.rules != Rules::In(id) {
            return served;
        }
        if self.proving && self.proved != Some(id) {
            return around.proxies.then_some(Step::Prove(id));
        }
        (self.recorded != Some(Redirection::Enabled)).then_some(Step::Record(Some(Redirection::Enabled)))
    }

    /// A pod that runs and is not proved speaks to nobody, and that waits for no other step's next attempt. One whose start
    /// is held back has its rules before it runs. What cannot be refused does not keep the pod from being captured.
    fn next_refusing(&self, around: Around) -> Option<Step> {
        let id = self.sandbox.netns.as_ref()?.id();
        let refuse = around.unproved == Unproved::Refuse
            && !self.sandbox.starting
            && !self.captured(id)
            && self.outbound != Outbound::Refused(id)
            && self.failed_at != Some(Step::Refuse(id).name());
        if !refuse {
            return None;
        }
        // The next agent is to know of what it has to allow.
        let known = self.saved == Some((id, Stage::In));
        Some(if known { Step::Refuse(id) } else { Step::Save(id, Stage::In) })
    }

    /// Something may be refused, and is not to be any more. Where nothing is to be refused at all a pod waits for no proof:
    /// it may be the proof that cannot be had.
    fn may_speak(&self, id: NetnsId, around: Around) -> bool {
        let due = match around.unproved {
            Unproved::Refuse => self.captured(id),
            Unproved::Allow => self.offered == Some(id),
        };
        due && self.outbound != Outbound::Allowed
    }

    fn next_measuring(&self, id: NetnsId, around: Around) -> Option<Step> {
        if self.inspect {
            return Some(Step::Inspect(id));
        }
        // Without a proxy there is nothing that it could land on, as is known without sending one.
        (self.canary && around.canary == Canary::On && around.proxies).then_some(Step::Prove(id))
    }

    /// A proxy said that it serves the pod, rules lead to it, and nobody listens there: it is asked anew.
    fn unheard(&self, id: NetnsId, around: Around) -> bool {
        self.refused >= REFUSALS && around.proxies && self.announced == Some(id)
    }

    /// It is said to be enrolled, and there is more than one reason to know that it is not. Where its namespace is not
    /// known or no proxy is connected nothing is known of the pod itself, and what is said of it stays.
    fn is_demoted(&self, around: Around) -> bool {
        self.recorded == Some(Redirection::Enabled)
            && self.failures >= DEMOTING
            && self.sandbox.netns.is_some()
            && around.proxies
            && !self.enrolled()
    }

    /// Status, then capture, then proxy, then the rest of the rules. Peers learn of the status with a delay and go on
    /// sending HBONE until then, so for a grace period everything stays. Then nothing that begins is captured any more,
    /// in one stroke, and for as long again the proxy goes on with what it carries, by the rules that bring its replies
    /// back. Those go when the proxy has gone.
    /// Until all is gone the status is `pending`: an agent that begins meanwhile knows by it that there is something
    /// to take away, and nobody else would free a pod from rules without a proxy behind them.
    fn next_out(&mut self, now: Moment) -> Option<Step> {
        self.pending = false;
        if now < self.not_before {
            return None;
        }
        // An uninstall that finds the source unread, or may not write, takes its rules away all the same.
        if self.recorded == Some(Redirection::Enabled) && !self.unsaid && self.restored.is_none() {
            return Some(Step::Record(Some(Redirection::Pending)));
        }
        let known = self.sandbox.netns.as_ref().map(|netns| netns.id());
        if let Some((id, Stage::In)) = self.saved.filter(|(id, _)| Some(*id) == known) {
            return Some(Step::Save(id, Stage::Leaving));
        }
        if self.leaving_at.is_some_and(|until| now < until) {
            return None;
        }
        let clearing = match self.rules {
            Rules::Absent => false,
            Rules::Released(_) => !self.booked,
            Rules::Claimed | Rules::Unknown | Rules::In(_) => true,
        };
        if clearing {
            if let Some(id) = known {
                let whole = matches!(self.rules, Rules::Claimed | Rules::In(_)) && self.booked;
                return Some(if whole { Step::Release(id) } else { Step::Unredirect });
            }
            if self.failures < FIND_ATTEMPTS && !self.ips().is_empty() {
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
}

/// Searches for the namespace of a leaving pod before it is given up.
const FIND_ATTEMPTS: u32 = 5;
/// Failures in a row before a pod is not said to be enrolled any more.
const DEMOTING: u32 = 5;
/// Canaries in a row that nobody answered before a proxy is asked for the pod anew.
const REFUSALS: u32 = 3;
