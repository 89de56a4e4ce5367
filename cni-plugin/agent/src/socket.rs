//! The plugin's calls: one event a connection, decided elsewhere, answered here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::event::{self, AddPod, Event, Outcome};
use cni_plugin_wire::seqpacket::{Connection, Listener, SocketError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

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

/// Serves calls until the listener fails for good or the task is dropped.
pub async fn serve(listener: Listener, host: Arc<HostNetns>, calls: mpsc::Sender<Call>) -> SocketError {
    let mut failures = 0;
    // Calls end with the server.
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok(connection) => {
                failures = 0;
                tasks.spawn(one(connection, Arc::clone(&host), calls.clone()));
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

async fn one(connection: Connection, host: Arc<HostNetns>, calls: mpsc::Sender<Call>) {
    match connection.peer_uid() {
        Ok(0) => {}
        Ok(uid) => {
            tracing::warn!(uid, "a call from a user other than root is not answered");
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "a call whose caller is unknown is not answered");
            return;
        }
    }
    let outcome = match timeout(EVENT_DEADLINE, event::receive(&connection)).await {
        Err(_) => {
            tracing::warn!("a plugin connected and said nothing");
            return;
        }
        Ok(Err(event::EventError::Socket(SocketError::Closed))) => return,
        Ok(Err(error)) => {
            let why = chain(&error);
            tracing::warn!(why, "a plugin's call is not understood");
            Outcome::Failed {
                message: format!("the node agent does not understand the call: {why}"),
                retry: false,
            }
        }
        Ok(Ok(event)) => {
            tokio::select! {
                outcome = decide(event, host, calls) => outcome,
                // The plugin is gone, or talks out of turn: nobody waits for the answer.
                _ = connection.recv() => return,
            }
        }
    };
    if let Err(error) = event::answer(&connection, &outcome).await {
        tracing::debug!(error = chain(&error), ?outcome, "a plugin did not wait for its answer");
    }
}

async fn decide(event: Event, host: Arc<HostNetns>, calls: mpsc::Sender<Call>) -> Outcome {
    let asked = match event {
        Event::Add { pod, netns } => {
            let checked = tokio::task::spawn_blocking(move || {
                let path = Path::new(&pod.netns_path);
                let netns = Netns::from_fd(netns, path)?;
                let name = format!("{}/{}", pod.namespace, pod.name);
                netns::check(&netns, &host, &name, &pod.ips, path)?;
                Ok::<_, NetnsError>(Asked::Add { netns: Arc::new(netns), pod })
            });
            match checked.await {
                Ok(Ok(asked)) => asked,
                Ok(Err(error)) => {
                    let message = chain(&error);
                    tracing::warn!(message, "a pod's network namespace is refused");
                    return Outcome::Failed { message, retry: false };
                }
                Err(error) => {
                    return Outcome::Failed { message: error.to_string(), retry: true };
                }
            }
        }
        Event::Delete(pod) => Asked::Delete(pod),
        Event::Check(pod) => Asked::Check(pod),
        Event::Collect(containers) => Asked::Collect(containers),
        Event::Status => Asked::Status,
    };
    let (answer, outcome) = oneshot::channel();
    let ending = || Outcome::Failed { message: "the node agent is ending".to_owned(), retry: true };
    if calls.send(Call { asked, answer }).await.is_err() {
        return ending();
    }
    outcome.await.unwrap_or_else(|_| ending())
}

const EVENT_DEADLINE: Duration = Duration::from_secs(5);
const ACCEPT_ATTEMPTS: u32 = 50;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
