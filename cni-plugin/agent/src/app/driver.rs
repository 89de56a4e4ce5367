//! Carries out what the enrollment machine commands, and tells it how that went.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::event::Outcome;
use cni_plugin_wire::zds::PodUid;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::handle::Request;
use crate::enroll::{Command, Ended, Enrollment, Event, Moment, RequestId, SandboxName};
use crate::health::{Facts, Health};
use crate::metrics::{Metrics, PodState, Proof, Reconciled, Step};
use crate::model::{Pod, Redirection};
use crate::netns::{Finder, Netns, Wanted};
use crate::probes::Exemptions;
use crate::redirect::{Applied, PodRulesError, Redirect, chain};
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
    /// Connected when they were last heard of.
    pub(super) proxies: usize,
    /// Measurements at once: each runs programs, and a proxy that ends is a reason to measure every pod.
    pub(super) measuring: Arc<Semaphore>,
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
struct Open {
    answers: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    next: u64,
    /// Pods that the source has shown.
    seen: BTreeSet<PodUid>,
    /// They end with the driver.
    steps: JoinSet<()>,
}

impl Driver {
    /// Runs for as long as anything can still happen.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let began = Instant::now();
        let mut open = Open::default();
        loop {
            let now = Moment(began.elapsed());
            let wake = self.machine.wake(now).map(|at| began + at.0);
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
            Reconciled::Delete
        } else {
            return;
        };
        self.metrics.reconciled(what);
    }

    fn notice(&mut self, notice: Notice) -> Option<Event> {
        match notice {
            Notice::Delivered { uid, netns } => Some(Event::Delivered { uid, netns }),
            Notice::Refused { uid, netns, why } => {
                tracing::warn!(%uid, why, "a proxy refused a pod");
                self.metrics.pods.failed_proof(Proof::Acknowledged);
                Some(Event::Refused { uid, netns, why })
            }
            Notice::Connected(count) => {
                self.report();
                let before = std::mem::replace(&mut self.proxies, count);
                (count < before).then_some(Event::ProxyLeft)
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
                Some(Event::Add { request, sandbox, uid, netns })
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

    fn carry_out(&self, command: Command, open: &mut Open) {
        match command {
            Command::Find(pod) => {
                let finder = self.finder.clone();
                self.step(open, uid_of(&pod), async move { find(&finder, &pod).await });
            }
            Command::Redirect { pod, netns } => {
                let (redirect, metrics) = (Arc::clone(&self.redirect), self.metrics.clone());
                let ended = |result| match result {
                    Ok(Applied { dns_missing: true, .. }) => Ended::RedirectedButDns,
                    Ok(Applied { dns_missing: false, .. }) => Ended::Redirected(Ok(())),
                    Err(why) => Ended::Redirected(Err(why)),
                };
                let (exemptions, runtime) = (self.exemptions.clone(), Handle::current());
                self.blocking_step(open, &Arc::clone(&pod), "redirect", ended, move || {
                    // The other way round, a pod that runs would fail its probes meanwhile.
                    runtime.block_on(exemptions.settled()).map_err(PodRulesError::Probes)?;
                    let applied = redirect.apply(&netns, &pod)?;
                    if applied.ipv6_left_alone {
                        metrics.pods.ipv6_left_alone();
                    }
                    Ok::<_, PodRulesError>(applied)
                });
            }
            Command::Unredirect { pod, netns } => {
                let redirect = Arc::clone(&self.redirect);
                let work = move || redirect.remove(&netns);
                self.blocking_step(open, &pod, "unredirect", Ended::Unredirected, work);
            }
            Command::Announce { uid, info, netns } => {
                let name = format!("{}/{}", info.namespace, info.name);
                let answered = self.server.announce(uid.clone(), info, netns);
                self.step(open, uid, async move {
                    let result = answered.await;
                    if let Err(error) = &result {
                        tracing::warn!(pod = name, %error, "no proxy serves a pod that should be served");
                    }
                    Ended::Announced(result.map_err(|error| error.to_string()))
                });
            }
            Command::Retract { uid } => {
                let answered = self.server.retract(uid.clone());
                self.step(open, uid, async move {
                    answered.await;
                    Ended::Retracted
                });
            }
            Command::Record { pod, value } => self.record(open, pod, value),
            Command::Inspect { pod, netns } => self.inspect(open, pod, netns),
            Command::Keep { uid } => self.server.keep(uid),
            Command::Serve => self.server.complete(),
            Command::Remember { namespaces } => {
                tracing::info!(?namespaces, "namespaces whose pods are selected");
                self.remembered.send_replace(Some(SelectedNamespaces(namespaces)));
            }
            Command::Answer { request, outcome } => {
                if let Some(answer) = open.answers.remove(&request) {
                    tracing::info!(?outcome, "a plugin call is answered");
                    // The plugin may have given up.
                    let _ = answer.send(outcome);
                }
            }
        }
    }

    fn record(&self, open: &mut Open, pod: Arc<Pod>, value: Option<Redirection>) {
        let (status, exemptions) = (Arc::clone(&self.status), self.exemptions.clone());
        self.step(open, uid_of(&pod), async move {
            let name = pod.full_name();
            if value == Some(Redirection::Enabled)
                && let Err(error) = exemptions.settled().await
            {
                return Ended::Recorded(Err(chain(&error)));
            }
            let result = status.record(pod, value).await.map_err(|error| chain(&error));
            match (&result, value) {
                (Err(why), _) => tracing::warn!(pod = name, why, "a pod's status could not be written"),
                (Ok(()), Some(Redirection::Enabled)) => tracing::info!(pod = name, "a pod is enrolled"),
                (Ok(()), Some(Redirection::Pending)) => {
                    tracing::info!(
                        pod = name,
                        "a pod is between: it waits for a proxy, or is on its way out"
                    );
                }
                (Ok(()), None) => tracing::info!(pod = name, "a pod is not enrolled any more"),
            }
            Ended::Recorded(result)
        });
    }

    fn inspect(&self, open: &mut Open, pod: Arc<Pod>, netns: Arc<Netns>) {
        let (redirect, measuring) = (Arc::clone(&self.redirect), Arc::clone(&self.measuring));
        let metrics = self.metrics.pods.clone();
        self.step(open, uid_of(&pod), async move {
            let name = pod.full_name();
            // Never closed.
            let place = measuring.acquire().await;
            let result = blocking(move || redirect.inspect(&netns, &pod)).await;
            drop(place);
            match &result {
                Ok(None) => {}
                Ok(Some(drift)) => {
                    metrics.failed_proof(Proof::Rules);
                    tracing::warn!(pod = name, drift, "a pod's rules changed; repairing them");
                }
                Err(why) => tracing::warn!(pod = name, why, "a pod could not be measured"),
            }
            Ended::Inspected(result)
        });
    }

    fn step(&self, open: &mut Open, uid: PodUid, work: impl Future<Output = Ended> + Send + 'static) {
        let (done, metrics) = (self.done.clone(), self.metrics.clone());
        open.steps.spawn(async move {
            let began = Instant::now();
            let ended = work.await;
            let (step, succeeded) = told(&ended);
            metrics.pods.step(step, began.elapsed(), succeeded);
            let _ = done.send(Event::Done { uid, ended });
        });
    }

    fn blocking_step<T: Send + 'static, E: Error + Send + 'static>(
        &self,
        open: &mut Open,
        pod: &Pod,
        step: &'static str,
        ended: fn(Result<T, String>) -> Ended,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) {
        let name = pod.full_name();
        self.step(open, uid_of(pod), async move {
            let result = blocking(work).await;
            match &result {
                Ok(_) => tracing::debug!(pod = name, step, "done"),
                Err(why) => tracing::warn!(pod = name, step, why, "failed; it is tried again"),
            }
            ended(result)
        });
    }

    fn report(&self) {
        let (enrolled, pending) = self.machine.counts();
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

/// The step that ended so, and whether it did what it should.
const fn told(ended: &Ended) -> (Step, bool) {
    match ended {
        Ended::Found(result) => (Step::Find, result.is_ok()),
        Ended::Redirected(result) => (Step::Redirect, result.is_ok()),
        Ended::RedirectedButDns => (Step::Redirect, true),
        Ended::Unredirected(result) => (Step::Unredirect, result.is_ok()),
        Ended::Announced(result) => (Step::Announce, result.is_ok()),
        Ended::Retracted => (Step::Retract, true),
        Ended::Recorded(result) => (Step::Record, result.is_ok()),
        Ended::Inspected(result) => (Step::Measure, result.is_ok()),
    }
}

async fn find(finder: &Finder, pod: &Pod) -> Ended {
    let wanted = Wanted {
        uid: uid_of(pod),
        runtime_uid: pod.runtime_uid().to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        ips: pod.ips(),
    };
    let found = finder.find(wanted).await;
    if let Err(error) = &found {
        tracing::debug!(pod = %pod.full_name(), error = chain(error), "no network namespace was found");
    }
    Ended::Found(found.map_err(|error| chain(&error)))
}

/// Runs blocking work where it blocks nobody. A panic in it is one more failure.
async fn blocking<T: Send + 'static, E: Error + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let outcome = tokio::task::spawn_blocking(move || work().map_err(|error| chain(&error)));
    outcome.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn uid_of(pod: &Pod) -> PodUid {
    PodUid(pod.metadata.uid.clone())
}
