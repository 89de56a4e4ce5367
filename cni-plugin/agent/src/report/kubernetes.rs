//! Reports as Events of the pods, where their owners look first: one Event per pod and reason, counted up.

use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::zds::PodUid;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::book::{Book, Told};
use super::{Report, Reporter};
use crate::kubernetes::{ApiError, Pace, answer};
use crate::model::Pod;

/// Hands reports to a task that writes them, [`Writer::run`].
#[derive(Debug)]
pub struct Kubernetes {
    book: Mutex<Book>,
    queue: mpsc::Sender<Note>,
}

/// Writes Events, slowly, and nothing else waits for it.
pub struct Writer {
    client: Client,
    node: String,
    queue: mpsc::Receiver<Note>,
}

#[derive(Debug)]
struct Note {
    pod: Arc<Pod>,
    told: Told,
    at: Timestamp,
}

impl Kubernetes {
    /// The reporter of `node` and the task behind it.
    #[must_use]
    pub fn new(client: Client, node: String) -> (Self, Writer) {
        let (sender, queue) = mpsc::channel(WAITING);
        (Self { book: Mutex::default(), queue: sender }, Writer { client, node, queue })
    }
}

impl Reporter for Kubernetes {
    fn report(&self, pod: &Arc<Pod>, report: Report) {
        let uid = PodUid(pod.metadata.uid.clone());
        let Some(told) = self.book.lock().take(&uid, report, Instant::now()) else {
            return;
        };
        told.log(pod);
        let note = Note { pod: Arc::clone(pod), told, at: Timestamp::now() };
        if self.queue.try_send(note).is_err() {
            tracing::debug!(pod = %pod.full_name(), "an Event is left out: too many wait");
        }
    }
}

impl Writer {
    /// Writes until its reporter is gone.
    pub async fn run(mut self) {
        let mut refused = false;
        while let Some(note) = self.queue.recv().await {
            let mut pace = Pace::new();
            for _ in 0..ATTEMPTS {
                match Box::pin(self.write(&note)).await {
                    Ok(()) => {
                        refused = false;
                        break;
                    }
                    Err(error) => {
                        let (name, error) = (note.pod.full_name(), crate::redirect::chain(&error));
                        if refused {
                            tracing::debug!(pod = name, error, "an Event could not be written either");
                        } else {
                            tracing::warn!(pod = name, error, "Events cannot be written");
                        }
                        refused = true;
                    }
                }
                tokio::time::sleep(pace.pause()).await;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    async fn write(&self, note: &Note) -> Result<(), ApiError> {
        let api = Api::<core::Event>::namespaced(self.client.clone(), &note.pod.metadata.namespace);
        let event = note.event(&self.node);
        match answer(api.create(&PostParams::default(), &event)).await {
            Err(error) if error.code() == Some(CONFLICT) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
        // It was written before, by this agent or an earlier one. Istio's chart does not let it be read, but whoever
        // patches an Event is shown it.
        let name = event.metadata.name.unwrap_or_default();
        let patch = json!({"message": event.message, "lastTimestamp": event.last_timestamp});
        let before = answer(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))).await?;
        let patch = json!({"count": before.count.unwrap_or(1).saturating_add(1)});
        answer(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))).await.map(drop)
    }
}

impl Note {
    fn event(&self, node: &str) -> core::Event {
        let Metadata { name, namespace, uid } = Metadata::of(&self.pod);
        let (reason, kind, message) = self.told.words();
        core::Event {
            metadata: ObjectMeta {
                name: Some(event_name(name, uid, reason)),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: core::ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                uid: Some(uid.to_owned()),
                ..core::ObjectReference::default()
            },
            reason: Some(reason.to_owned()),
            message: Some(message),
            type_: Some(kind.to_owned()),
            source: Some(core::EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(node.to_owned()),
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(node.to_owned()),
            first_timestamp: Some(Time(self.at)),
            last_timestamp: Some(Time(self.at)),
            count: Some(1),
            ..core::Event::default()
        }
    }
}

struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

impl<'a> Metadata<'a> {
    fn of(pod: &'a Pod) -> Self {
        let crate::model::Metadata { name, namespace, uid, .. } = &pod.metadata;
        Self { name, namespace, uid }
    }
}

impl Told {
    /// Reason, type and message of an Event.
    fn words(&self) -> (&'static str, &'static str, String) {
        match self {
            Self::NotEnrolled { why, times } => {
                let mut message = format!("The pod is not in the mesh: {why}");
                if *times > 1 {
                    message = format!("{message} (attempt {times})");
                }
                (FAILED, "Warning", shortened(message))
            }
            Self::Recovered => ("MeshEnrolled", "Normal", "The pod is in the mesh now".to_owned()),
            Self::Withdrawn => ("MeshWithdrawn", "Normal", "The pod was taken out of the mesh".to_owned()),
        }
    }
}

/// The same for one pod and reason, so that an agent that begins anew counts on. Names have at most 253 characters.
fn event_name(pod: &str, uid: &str, reason: &str) -> String {
    let hash = uid
        .bytes()
        .chain(reason.bytes())
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let pod: String = pod.chars().take(LONGEST_NAME).collect();
    format!("{}.{hash:016x}", pod.trim_end_matches(['.', '-']))
}

/// The API server refuses longer ones.
fn shortened(message: String) -> String {
    if message.chars().count() <= LONGEST_MESSAGE {
        message
    } else {
        message.chars().take(LONGEST_MESSAGE).collect()
    }
}

const COMPONENT: &str = "adit-node-agent";
const FAILED: &str = "MeshEnrollmentFailed";
const CONFLICT: u16 = 409;
/// Reports that wait to be written; those beyond are left out.
const WAITING: usize = 512;
const ATTEMPTS: u32 = 3;
/// No more than ten a second, whatever happens to how many pods.
const BETWEEN: Duration = Duration::from_millis(100);
const LONGEST_NAME: usize = 230;
const LONGEST_MESSAGE: usize = 1000;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests;
