//! The plugin's calls: one event a connection, decided elsewhere, answered here.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::event::{self, AddPod, Event, Level, Outcome, Said};
use cni_plugin_wire::seqpacket::{Connection, Listener, SocketError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::metrics::{self, Code, TurnedAway};
use crate::netns::{self, HostNetns, Netns, NetnsError};
use crate::redirect::chain;

/// A call and where its answer goes. An answer that never comes is told to the plugin as a failure.
#[derive(Debug)]
pub struct Call {
    pub asked: Asked,
    pub answer: oneshot::Sender<Outcome>,
}

/// What the plugin asks.
#[derive(Debug)]
pub enum Asked {
    /// The namespace has been checked: it is not the host's, and holds an address of the pod.
    Add {
        pod: AddPod,
        netns: Arc<Netns>,
    },
    Delete(event::DelPod),
    Check(event::CheckPod),
    Collect(event::Collect),
    Status,
}

/// What decides calls, and what counts them; clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    pub host: Arc<HostNetns>,
    pub calls: mpsc::Sender<Call>,
    pub metrics: metrics::Plugin,
}

/// Serves calls until the listener fails for good or the task is dropped.
pub async fn serve(listener: Listener, desk: Desk) -> SocketError {
    let mut failures = 0;
    let places = Arc::new(Semaphore::new(CALLS));
    // Calls end with the server.
    let mut tasks = JoinSet::new();
    loop {
        if places.available_permits() == 0 {
            tracing::warn!(calls = CALLS, "no more plugin calls are taken until one of these is answered");
        }
        // Never closed. Who finds no place waits in the socket's queue.
        let place = Arc::clone(&places).acquire_owned().await;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok(connection) => {
                failures = 0;
                let desk = desk.clone();
                tasks.spawn(async move {
                    one(connection, desk).await;
                    drop(place);
                });
            }
            Err(error) if failures < ACCEPT_ATTEMPTS => {
                tracing::warn!(%error, "a plugin's call could not be accepted");
                failures += 1;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => return error,
        }
    }
}

async fn one(connection: Connection, desk: Desk) {
    if !from_root(&connection) {
        desk.metrics.turned_away(TurnedAway::NotRoot);
        return;
    }
    let outcome = match timeout(EVENT_DEADLINE, event::receive(&connection)).await {
        Err(_) => {
            tracing::warn!("a plugin connected and said nothing");
            desk.metrics.turned_away(TurnedAway::Silent);
            return;
        }
        Ok(Err(event::EventError::Socket(SocketError::Closed))) => return,
        Ok(Err(error)) => {
            let why = chain(&error);
            tracing::warn!(why, "a plugin's call is not understood");
            desk.metrics.malformed();
            Outcome::Failed {
                message: format!("the node agent does not understand the call: {why}"),
                retry: false,
            }
        }
        Ok(Ok(Event::Say(said))) => return repeat(&said),
        Ok(Ok(event)) => {
            let (kind, began) = (kind(&event), Instant::now());
            let outcome = tokio::select! {
                outcome = decide(event, &desk) => outcome,
                // The plugin is gone, or talks out of turn: nobody waits for the answer.
                _ = connection.recv() => return,
            };
            desk.metrics.answered(kind, code(&outcome), began.elapsed());
            outcome
        }
    };
    if let Err(error) = event::answer(&connection, &outcome).await {
        tracing::debug!(error = chain(&error), ?outcome, "a plugin did not wait for its answer");
    }
}

/// A caller names the namespaces that we enter, and which pod they belong to.
fn from_root(connection: &Connection) -> bool {
    match connection.peer_uid() {
        Ok(0) => true,
        Ok(uid) => {
            tracing::warn!(uid, "a call from a user other than root is not answered");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a call whose caller is unknown is not answered");
            false
        }
    }
}

/// Puts the plugin's lines into our log, under a target of their own.
fn repeat(said: &Said) {
    let Said { command, pod, container_id, lines } = said;
    for line in lines.iter().take(LINES) {
        let message = line.message.as_str();
        match line.level {
            Level::Debug => tracing::debug!(target: "cni-plugin", command, pod, container_id, "{message}"),
            Level::Info => tracing::info!(target: "cni-plugin", command, pod, container_id, "{message}"),
            Level::Warn => tracing::warn!(target: "cni-plugin", command, pod, container_id, "{message}"),
            Level::Error => tracing::error!(target: "cni-plugin", command, pod, container_id, "{message}"),
        }
    }
}

const fn kind(event: &Event) -> metrics::Call {
    match event {
        Event::Add { .. } => metrics::Call::Add,
        Event::Delete(_) => metrics::Call::Delete,
        Event::Check(_) => metrics::Call::Check,
        Event::Collect(_) => metrics::Call::Collect,
        Event::Status | Event::Say(_) => metrics::Call::Status,
    }
}

pub(crate) const fn code(outcome: &Outcome) -> Code {
    match outcome {
        Outcome::Enrolled | Outcome::NotSelected | Outcome::Done | Outcome::Limited { .. } => Code::Done,
        Outcome::Failed { .. } => Code::Failed,
    }
}

async fn decide(event: Event, desk: &Desk) -> Outcome {
    let asked = match event {
        Event::Add { pod, netns } => match desk.checked(pod, netns).await {
            Ok(asked) => asked,
            Err(outcome) => return outcome,
        },
        Event::Delete(pod) => Asked::Delete(pod),
        Event::Check(pod) => Asked::Check(pod),
        Event::Collect(containers) => Asked::Collect(containers),
        Event::Status => Asked::Status,
        Event::Say(_) => return Outcome::Done,
    };
    desk.ask(asked).await
}

impl Desk {
    /// Refuses a namespace that cannot be the pod's.
    pub(crate) async fn checked(&self, pod: AddPod, netns: OwnedFd) -> Result<Asked, Outcome> {
        let host = Arc::clone(&self.host);
        let checked = tokio::task::spawn_blocking(move || {
            let path = Path::new(&pod.netns_path);
            let netns = Netns::from_fd(netns, path)?;
            let name = format!("{}/{}", pod.namespace, pod.name);
            netns::check(&netns, &host, &name, &pod.ips, path)?;
            Ok::<_, NetnsError>(Asked::Add { netns: Arc::new(netns), pod })
        });
        match checked.await {
            Ok(Ok(asked)) => Ok(asked),
            Ok(Err(error)) => {
                let message = chain(&error);
                tracing::warn!(message, "a pod's network namespace is refused");
                Err(Outcome::Failed { message, retry: false })
            }
            Err(error) => Err(Outcome::Failed { message: error.to_string(), retry: true }),
        }
    }

    /// Puts it to whoever decides.
    pub(crate) async fn ask(&self, asked: Asked) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let ending = || Outcome::Failed { message: "the node agent is ending".to_owned(), retry: true };
        if self.calls.send(Call { asked, answer }).await.is_err() {
            return ending();
        }
        outcome.await.unwrap_or_else(|_| ending())
    }
}

/// Calls at once: every pod of a crowded node, twice.
const CALLS: usize = 512;
/// Of one plugin call's log.
const LINES: usize = 64;
const EVENT_DEADLINE: Duration = Duration::from_secs(5);
const ACCEPT_ATTEMPTS: u32 = 50;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
