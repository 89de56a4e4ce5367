//! The machine's commands, each carried out: steps on tasks of their own, everything else at once.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::zds::PodUid;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::driver::{Driver, Open};
use crate::canary::{self, Landing};
use crate::enroll::{Command, Ended, Event};
use crate::metrics::{Proof, Step};
use crate::model::{Pod, Redirection};
use crate::netns::{Finder, Netns, Wanted};
use crate::records::Record;
use crate::redirect::{Applied, PodRulesError, chain};

/// Steps of one kind at once: most run programs or read long lists, and a proxy that ends is a reason to measure every pod.
#[derive(Clone, Debug)]
pub(super) struct Places {
    changing: Arc<Semaphore>,
    measuring: Arc<Semaphore>,
    proving: Arc<Semaphore>,
}

/// A step's place among those of its kind. One that is stuck loses it, so that it holds up none but its own pod.
struct Place(JoinHandle<()>);

impl Places {
    pub(super) fn new() -> Self {
        let places = || Arc::new(Semaphore::new(AT_ONCE));
        Self { changing: places(), measuring: places(), proving: places() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn place(of: Arc<Semaphore>) -> Place {
    // Never closed.
    let permit = of.acquire_owned().await;
    Place(tokio::spawn(async move {
        sleep(STUCK).await;
        drop(permit);
    }))
}

impl Driver {
    pub(super) fn carry_out(&self, command: Command, open: &mut Open) {
        match command {
            Command::Keep { uid } => self.server.keep(uid),
            Command::Serve => self.server.complete(),
            Command::Forget { uid } => self.records.forget(uid),
            Command::RecordsComplete(complete) => self.records.complete(complete),
            Command::Remember { namespaces } => {
                tracing::info!(?namespaces, "namespaces whose pods are selected");
                self.remembered.send_replace(Some(SelectedNamespaces(namespaces)));
            }
            Command::Gap { pod, proof, why } => self.gap(&pod, proof, &why),
            Command::Report { pod, report } => self.reporter.report(&pod, report),
            Command::Answer { request, outcome } => {
                if let Some(answer) = open.answers.remove(&request) {
                    tracing::info!(?outcome, "a plugin call is answered");
                    // The plugin may have given up.
                    let _ = answer.send(outcome);
                }
            }
            Command::Find { pod, ips } => {
                let finder = self.finder.clone();
                self.step(open, uid_of(&pod), async move { find(&finder, &pod, ips).await });
            }
            Command::Redirect { pod, netns } => self.redirect(open, &pod, netns),
            Command::Release { pod, netns } => {
                let redirect = Arc::clone(&self.redirect);
                self.blocking_step(open, &Arc::clone(&pod), "release", Ended::Released, move || {
                    redirect.release(&netns, &pod)
                });
            }
            Command::Unredirect { pod, netns } => {
                let redirect = Arc::clone(&self.redirect);
                let work = move || redirect.remove(&netns);
                self.blocking_step(open, &pod, "unredirect", Ended::Unredirected, work);
            }
            Command::Refuse { pod, netns } => {
                tracing::info!(pod = %pod.full_name(), "a pod is not proved: its connections past the proxy are refused");
                let redirect = Arc::clone(&self.redirect);
                let work = move || redirect.refuse_outbound(&netns);
                self.blocking_step(open, &pod, "refuse", Ended::Refused, work);
            }
            Command::Allow { pod, netns } => {
                let redirect = Arc::clone(&self.redirect);
                let work = move || redirect.allow_outbound(&netns);
                self.blocking_step(open, &pod, "allow", Ended::Allowed, work);
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
            Command::Prove { pod, netns } => self.prove(open, pod, netns),
            Command::Save { pod, netns, container, ips, stage } => {
                let records = self.records.clone();
                let record = Record::new(&pod, &netns, container, ips, stage);
                self.step(open, uid_of(&pod), async move {
                    records.save(record).await;
                    Ended::Saved
                });
            }
        }
    }

    fn redirect(&self, open: &mut Open, pod: &Arc<Pod>, netns: Arc<Netns>) {
        self.read_probes(pod, open);
        let (redirect, metrics) = (Arc::clone(&self.redirect), self.metrics.clone());
        let ended = |result| match result {
            Ok(Applied { dns_missing: true, .. }) => Ended::RedirectedButDns,
            Ok(Applied { dns_missing: false, .. }) => Ended::Redirected(Ok(())),
            Err(why) => Ended::Redirected(Err(why)),
        };
        let (exemptions, runtime) = (self.exemptions.clone(), Handle::current());
        let pod = Arc::clone(pod);
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

    fn gap(&self, pod: &Pod, proof: Proof, why: &str) {
        self.metrics.pods.failed_proof(proof);
        let pod = pod.full_name();
        tracing::warn!(pod, ?proof, why, "a pod that is said to be enrolled is not; enrolling it again");
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
        let (redirect, measuring) = (Arc::clone(&self.redirect), Arc::clone(&self.places.measuring));
        self.step(open, uid_of(&pod), async move {
            let name = pod.full_name();
            let place = place(measuring).await;
            let result = blocking(move || redirect.inspect(&netns, &pod)).await;
            drop(place);
            match &result {
                Ok(None) => {}
                Ok(Some(drift)) => {
                    tracing::info!(pod = name, drift, "a pod's rules are not as they should be")
                }
                Err(why) => tracing::warn!(pod = name, why, "a pod could not be measured"),
            }
            Ended::Inspected(result)
        });
    }

    fn prove(&self, open: &mut Open, pod: Arc<Pod>, netns: Arc<Netns>) {
        let (proving, ipv6) = (Arc::clone(&self.places.proving), self.ipv6);
        self.step(open, uid_of(&pod), async move {
            let place = place(proving).await;
            let result = blocking(move || canary::send(&netns, ipv6)).await;
            drop(place);
            Ended::Proved(result)
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
        let changing = Arc::clone(&self.places.changing);
        self.step(open, uid_of(pod), async move {
            let place = place(changing).await;
            let result = blocking(work).await;
            drop(place);
            match &result {
                Ok(_) => tracing::debug!(pod = name, step, "done"),
                Err(why) => tracing::warn!(pod = name, step, why, "failed; it is tried again"),
            }
            ended(result)
        });
    }
}

/// The step that ended so, and whether it did what it should.
const fn told(ended: &Ended) -> (Step, bool) {
    match ended {
        Ended::Found(result) => (Step::Find, result.is_ok()),
        Ended::Redirected(result) => (Step::Redirect, result.is_ok()),
        Ended::RedirectedButDns => (Step::Redirect, true),
        Ended::Released(result) => (Step::Release, result.is_ok()),
        Ended::Unredirected(result) => (Step::Unredirect, result.is_ok()),
        Ended::Announced(result) => (Step::Announce, result.is_ok()),
        Ended::Retracted => (Step::Retract, true),
        Ended::Recorded(result) => (Step::Record, result.is_ok()),
        Ended::Inspected(result) => (Step::Measure, result.is_ok()),
        Ended::Proved(result) => (Step::Prove, matches!(result, Ok(Landing::Proxy | Landing::Unroutable))),
        Ended::Saved => (Step::Save, true),
        Ended::Refused(result) => (Step::Refuse, result.is_ok()),
        Ended::Allowed(result) => (Step::Allow, result.is_ok()),
    }
}

async fn find(finder: &Finder, pod: &Pod, ips: Vec<IpAddr>) -> Ended {
    let wanted = Wanted {
        uid: uid_of(pod),
        runtime_uid: pod.runtime_uid().to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        ips,
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

pub(super) fn uid_of(pod: &Pod) -> PodUid {
    PodUid(pod.metadata.uid.clone())
}

const AT_ONCE: usize = 8;
/// Far longer than any step takes that still moves.
const STUCK: Duration = Duration::from_secs(10);
