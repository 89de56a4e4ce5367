//! Waits until DaemonSets run what they should on every node, and says meanwhile what each of them waits for.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::{self, Cluster, Selection};
use crate::object::{Id, entry, text};
use crate::output::{Output, Step};

mod judge;

pub use judge::{State, is_current, judge, pod_trouble};

/// Why it was not waited to the end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// It took too long.
    #[error("not ready after {} seconds:{}", .after.as_secs(), lines(.waiting))]
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// What each DaemonSet still waits for.
        waiting: Vec<String>,
    },
}

/// A DaemonSet with its pods and what is said about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The DaemonSet, if it is there.
    pub daemon_set: Option<Value>,
    /// Its pods.
    pub pods: Vec<Value>,
    /// Warnings about it and its pods, the last one last.
    pub events: Vec<Value>,
}

/// Waits until every DaemonSet is ready, or for `within`.
///
/// # Errors
/// The cluster cannot be asked, or it takes too long.
pub async fn ready(
    cluster: &Cluster,
    output: &Output,
    daemon_sets: &[Id],
    within: Duration,
) -> Result<(), Error> {
    let progress = output.progress();
    let mut steps: Vec<(&Id, Option<Step>)> =
        daemon_sets.iter().map(|id| (id, Some(progress.step(&id.name, 1)))).collect();
    let began = Instant::now();
    loop {
        let mut waiting = Vec::new();
        for (id, step) in &mut steps {
            let Some(line) = step else { continue };
            match judge(&see(cluster, id).await?) {
                State::Ready { nodes } => {
                    if let Some(line) = step.take() {
                        line.done(&on_nodes(nodes));
                    }
                }
                State::Waiting { ready, nodes, why } => {
                    line.at(ready, nodes, &why);
                    waiting.push(format!("{}: {why}", id.name));
                }
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if began.elapsed() >= within {
            for (_, step) in &mut steps {
                if let Some(line) = step.take() {
                    line.failed("is not ready");
                }
            }
            return Err(Error::TimedOut { after: within, waiting });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A DaemonSet as it is now.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn see(cluster: &Cluster, id: &Id) -> Result<Seen, cluster::Error> {
    let Some(daemon_set) = cluster.get(id).await? else {
        return Ok(Seen { daemon_set: None, pods: Vec::new(), events: Vec::new() });
    };
    let namespace = id.namespace.as_deref();
    let labels = selector(&daemon_set);
    let which = Selection { namespace, labels: &labels, fields: "" };
    let pods = cluster.list("v1", "Pod", which).await?;
    let pods: Vec<_> = pods.into_iter().filter(|pod| owned_by(pod, &daemon_set)).collect();
    let which = Selection { namespace, labels: "", fields: "type=Warning" };
    // Whoever may not read events still sees the rest.
    let mut events = match cluster.list("v1", "Event", which).await {
        Ok(events) => events,
        Err(error) if error.code() == Some(403) => Vec::new(),
        Err(error) => return Err(error),
    };
    events.retain(|event| {
        let name = text(event, "/involvedObject/name");
        name == id.name || pods.iter().any(|pod| text(pod, "/metadata/name") == name)
    });
    events.sort_by_key(last_seen);
    Ok(Seen { daemon_set: Some(daemon_set), pods, events })
}

/// `matchLabels` as kubectl's `-l`.
pub(crate) fn selector(daemon_set: &Value) -> String {
    let labels = daemon_set.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let pairs =
        labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}

fn owned_by(pod: &Value, daemon_set: &Value) -> bool {
    let uid = text(daemon_set, "/metadata/uid");
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| text(owner, "/uid") == uid)
}

fn last_seen(event: &Value) -> String {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().map(|at| text(event, at)).find(|time| !time.is_empty()).unwrap_or_default().to_owned()
}

/// A number of nodes in words.
#[must_use]
pub fn on_nodes(nodes: u64) -> String {
    match nodes {
        0 => "no node is selected".to_owned(),
        1 => "ready on 1 node".to_owned(),
        nodes => format!("ready on {nodes} nodes"),
    }
}

/// What the pod's node is told by its label to be, for those who wait for pods of one template.
fn generation(object: &Value) -> Option<&str> {
    entry(object, "/metadata/annotations", crate::object::TEMPLATE_GENERATION)
}

fn lines(waiting: &[String]) -> String {
    waiting.iter().map(|line| format!("\n  {line}")).collect()
}

const LOOK: Duration = Duration::from_secs(1);
