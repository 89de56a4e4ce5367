//! Carries out what the enrollment machine commands, and tells it how that went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::event::Outcome;
use cni_plugin_wire::zds::PodUid;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::handle::Request;
use super::steps::{Places, uid_of};
use crate::enroll::{Census, Enrollment, Event, Moment, RequestId, SandboxName};
use crate::health::{Facts, Health};
use crate::metrics::{Metrics, PodState, Reconciled};
use crate::model::Pod;
use crate::netns::Finder;
use crate::probes::Exemptions;
use crate::records;
use crate::redirect::Redirect;
use crate::report::Reporter;
use crate::socket::{Asked, Call};
use crate::status::StatusSink;
use crate::watch::Lookups;
use crate::zds::{Notice, Server};

/// The machine and what its commands act on.
pub(super) struct Driver {
    pub(super) machine: Enrollment,
    pub(super) server: Server,
    pub(super) finder: Finder,
    pub(super) status: Arc<dyn StatusSink>,
    pub(super) lookups: Option<Lookups>,
    pub(super) redirect: Arc<dyn Redirect>,
    pub(super) exemptions: Exemptions,
    pub(super) remembered: watch::Sender<Option<SelectedNamespaces>>,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) done: mpsc::UnboundedSender<Event>,
    /// Pods still in the mesh, once all are to leave it.
    pub(super) left: watch::Sender<Option<Vec<String>>>,
    pub(super) records: records::Writer,
    pub(super) reporter: Arc<dyn Reporter>,
    /// Whether IPv6 is captured where a pod has it.
    pub(super) ipv6: bool,
    pub(super) places: Places,
}

/// What the machine hears.
pub(super) struct Inputs {
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) notices: mpsc::UnboundedReceiver<Notice>,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
}

/// Calls that are owed an answer, and steps under way.
#[derive(Default)]
pub(super) struct Open {
    pub(super) answers: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    next: u64,
    /// Pods that the source has shown.
    seen: BTreeSet<PodUid>,
    /// Those of them that are captured and whose probes were looked through.
    read: BTreeSet<PodUid>,
    /// They end with the driver.
    pub(super) steps: JoinSet<()>,
}

impl Driver {
    /// Runs for as long as anything can still happen.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let began = Instant::now();
        let mut open = Open::default();
        loop {
            let now = Moment(began.elapsed());
            let wake = self.machine.wake().map(|at| began + at.0);
            let event = tokio::select! {
                // A proxy's notice comes before the end of the step that undid what it tells of.
                biased;
                Some(notice) = inputs.notices.recv() => self.notice(notice),
                Some(event) = inputs.events.recv() => Some(event),
                Some(call) = inputs.calls.recv() => self.call(call, &mut open),
                Some(request) = inputs.requests.recv() => self.request(request, now),
                () = sleep_until(wake.unwrap_or(began)), if wake.is_some() => Some(Event::Tick),
                Some(_) = open.steps.join_next() => None,
                else => return,
            };
            let Some(event) = event else { continue };
            self.count(&event, &mut open);
            let commands = self.machine.on(event, Moment(began.elapsed()));
            self.exemptions.claim(self.machine.probes(), self.machine.is_synced());
            for command in commands {
                self.carry_out(command, &mut open);
            }
            self.report();
        }
    }

    fn count(&self, event: &Event, open: &mut Open) {
        let what = if let Event::PodSeen { pod, .. } = event {
            if open.seen.insert(uid_of(pod)) { Reconciled::Add } else { Reconciled::Update }
        } else if let Event::PodGone(uid) = event {
            open.seen.remove(uid);
            open.read.remove(uid);
            Reconciled::Delete
        } else {
            return;
        };
        self.metrics.reconciled(what);
    }

    /// Says once which probes of a captured pod nobody can let through.
    pub(super) fn read_probes(&self, pod: &Pod, open: &mut Open) {
        if open.read.insert(uid_of(pod)) {
            let name = pod.full_name();
            for unusable in pod.unusable_ports() {
                tracing::warn!(pod = name, %unusable, "a probe that the kubelet cannot make either");
            }
        }
    }

    fn notice(&self, notice: Notice) -> Option<Event> {
        match notice {
            Notice::Delivered { uid, netns } => Some(Event::Delivered { uid, netns }),
            Notice::Refused { uid, netns, why } => {
                tracing::warn!(%uid, why, "a proxy refused a pod");
                Some(Event::Refused { uid, netns, why })
            }
            Notice::Connected(count) => {
                self.report();
                Some(Event::Proxies(count))
            }
        }
    }

    fn request(&self, request: Request, now: Moment) -> Option<Event> {
        match request {
            Request::Withdraw => Some(Event::WithdrawAll),
            Request::Dump(answer) => {
                let _ = answer.send(self.machine.dump(now));
                None
            }
        }
    }

    fn call(&self, call: Call, open: &mut Open) -> Option<Event> {
        let request = RequestId(open.next);
        open.next = open.next.wrapping_add(1);
        let Call { asked, answer } = call;
        match asked {
            Asked::Add { pod, netns } => {
                open.answers.insert(request, answer);
                let sandbox =
                    SandboxName { namespace: pod.namespace, name: pod.name, container: pod.container_id };
                let uid = pod.uid.map(PodUid);
                if let Some(lookups) = &self.lookups
                    && !self.machine.knows(&sandbox, uid.as_ref())
                {
                    lookups.look(sandbox.namespace.clone(), sandbox.name.clone());
                }
                Some(Event::Add { request, sandbox, uid, netns, ips: pod.ips })
            }
            Asked::Check(pod) => {
                open.answers.insert(request, answer);
                let sandbox =
                    SandboxName { namespace: pod.namespace, name: pod.name, container: pod.container_id };
                Some(Event::Check { request, sandbox, uid: pod.uid.map(PodUid) })
            }
            Asked::Delete(pod) => {
                open.answers.insert(request, answer);
                let sandbox =
                    SandboxName { namespace: pod.namespace, name: pod.name, container: pod.container_id };
                Some(Event::Delete { request, sandbox })
            }
            Asked::Collect(kept) => {
                let _ = answer.send(Outcome::Done);
                Some(Event::Collect { containers: kept.container_ids.into_iter().collect() })
            }
            Asked::Status => {
                let _ = answer.send(self.able());
                None
            }
        }
    }

    /// Whether calls are decided, and whether what they decide can carry traffic.
    fn able(&self) -> Outcome {
        if !self.machine.is_synced() {
            return Outcome::Failed {
                message: "the node agent has not read its pods yet".to_owned(),
                retry: true,
            };
        }
        if self.server.connected() == 0 {
            return Outcome::Limited { message: "no proxy is connected to the node agent".to_owned() };
        }
        Outcome::Done
    }

    fn report(&self) {
        let Census { enrolled, pending, unproved, without_netns } = self.machine.census();
        let pending = pending + unproved + without_netns;
        let synced = self.machine.is_synced();
        if self.machine.is_uninstalling() {
            let left = self.machine.left();
            self.left.send_if_modified(|known| {
                let differs = *known != left;
                *known = left;
                differs
            });
        }
        let proxies = self.server.connected();
        let facts = Facts { synced, proxies, enrolled, pending };
        self.health.set(facts);
        facts.show(&self.metrics);
        self.metrics.proxies.connected(proxies);
        self.metrics.pods.count(PodState::Enrolled, enrolled);
        self.metrics.pods.count(PodState::Pending, pending);
        let (without_netns, unproved) = self.machine.doubtful();
        self.metrics.pods.count(PodState::WithoutNetns, without_netns);
        self.metrics.pods.count(PodState::Unproved, unproved);
    }
}
