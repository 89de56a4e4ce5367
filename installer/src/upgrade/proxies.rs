//! Replaces proxies without a gap: on the canary's node a new one runs beside the old one first, then their controller does so
//! node by node, held back by the first that fails.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::agents::apply;
use super::{Care, Error, NodeState, held, node_state};
use crate::Context;
use crate::cluster::Cluster;
use crate::mesh;
use crate::object::{Id, number, text};
use crate::wait::{self, State, judge};

/// Does it.
///
/// # Errors
/// A node fails: those after it keep the proxies they have. Or the cluster refuses.
pub(super) async fn roll(
    context: &Context,
    cluster: &Cluster,
    (id, object): (&Id, &Value),
    care: &Care,
) -> Result<(), Error> {
    let canary = mesh::canary(id.namespace.as_deref().unwrap_or_default());
    if let Some(node) = care.order.first() {
        let tried = Box::pin(try_on(context, cluster, (&canary, object), node, care)).await;
        if let Err(error) = tried {
            // The old proxy of that node has never stopped to serve.
            cluster.delete(&canary).await?;
            return Err(error);
        }
    }
    apply(cluster, id, &at_once(object, care.at_once), care.force).await?;
    let rolled = Box::pin(watch(context, cluster, id, care)).await;
    if rolled.is_err() {
        apply(cluster, id, &held(object), true).await?;
    }
    cluster.delete(&canary).await?;
    rolled?;
    apply(cluster, id, object, care.force).await
}

/// A new proxy beside the old one, on one node, until it has been well for as long as is asked.
async fn try_on(
    context: &Context,
    cluster: &Cluster,
    (canary, object): (&Id, &Value),
    node: &str,
    care: &Care,
) -> Result<(), Error> {
    let mut step = context.output.progress().step(&canary.name, 1);
    apply(cluster, canary, &pinned(object, &canary.name, node), true).await?;
    let began = Instant::now();
    let mut well: Option<Instant> = None;
    let stopped = |why: String| Error::Stopped {
        component: canary.name.clone(),
        node: node.to_owned(),
        why,
        done: Vec::new(),
    };
    loop {
        let seen = wait::see(cluster, canary).await?;
        let selected = seen.daemon_set.as_ref().is_some_and(|set| {
            number(set, "/status/observedGeneration") >= number(set, "/metadata/generation")
                && number(set, "/status/desiredNumberScheduled") == 0
        });
        let why = match node_state(&seen, node) {
            NodeState::Updated => {
                let since = *well.get_or_insert_with(Instant::now);
                if since.elapsed() >= care.soak {
                    step.done(&format!("is well on {node}"));
                    return Ok(());
                }
                "is ready, and watched".to_owned()
            }
            // Proxies do not run on this node at all.
            NodeState::Old if selected => {
                step.done(&format!("has no place on {node}"));
                return Ok(());
            }
            NodeState::Failing(why) => {
                step.failed(&format!("fails on {node}"));
                return Err(stopped(why));
            }
            NodeState::Starting(_) | NodeState::Old if well.is_some() => {
                step.failed(&format!("fails on {node}"));
                return Err(stopped("it was ready, and then no longer".to_owned()));
            }
            NodeState::Starting(why) => why,
            NodeState::Old => "has no new pod yet".to_owned(),
        };
        if began.elapsed() >= care.per_node + care.soak {
            step.failed(&format!("is not ready on {node}"));
            return Err(stopped(format!("{why}, for {} seconds", care.per_node.as_secs())));
        }
        step.at(0, 1, &why);
        tokio::time::sleep(LOOK).await;
    }
}

/// Follows the controller until every node is done, or one fails or takes too long.
async fn watch(context: &Context, cluster: &Cluster, id: &Id, care: &Care) -> Result<(), Error> {
    let mut step = context.output.progress().step(&id.name, care.order.len() as u64);
    let (mut moved, mut done) = (Instant::now(), Vec::new());
    loop {
        let seen = wait::see(cluster, id).await?;
        let mut now = Vec::new();
        let mut starting = None;
        for node in &care.order {
            match node_state(&seen, node) {
                NodeState::Updated => now.push(node.clone()),
                NodeState::Failing(why) => {
                    step.failed(&format!("stopped at {node}"));
                    return Err(Error::Stopped {
                        component: id.name.clone(),
                        node: node.clone(),
                        why,
                        done: now,
                    });
                }
                NodeState::Starting(why) => starting = Some((node.clone(), why)),
                NodeState::Old => {}
            }
        }
        let why = match judge(&seen) {
            State::Ready { nodes } => {
                step.done(&wait::on_nodes(nodes));
                return Ok(());
            }
            State::Waiting { why, .. } => why,
        };
        if now.len() != done.len() {
            moved = Instant::now();
        }
        done = now;
        if moved.elapsed() >= care.per_node {
            let (node, why) = starting.unwrap_or_else(|| (String::from("no node"), why));
            step.failed(&format!("stopped at {node}"));
            let why = format!("{why}, for {} seconds", care.per_node.as_secs());
            return Err(Error::Stopped { component: id.name.clone(), node, why, done });
        }
        step.at(done.len() as u64, care.order.len() as u64, &why);
        tokio::time::sleep(LOOK).await;
    }
}

/// The DaemonSet under another name, for one node. Its pods are told from the others' by who owns them.
fn pinned(object: &Value, name: &str, node: &str) -> Value {
    let mut pinned = object.clone();
    if let Some(metadata) = pinned.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".to_owned(), Value::from(name));
    }
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
    ]}}});
    if let Some(spec) = pinned.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        spec.insert("affinity".to_owned(), affinity);
    }
    pinned
}

/// The DaemonSet, with so many nodes at once.
fn at_once(object: &Value, nodes: u16) -> Value {
    let mut object = object.clone();
    let surges = text(&object, "/spec/updateStrategy/type") == "RollingUpdate"
        && object
            .pointer("/spec/updateStrategy/rollingUpdate/maxSurge")
            .is_some_and(|surge| *surge != json!(0));
    let field = if surges { "maxSurge" } else { "maxUnavailable" };
    if nodes > 1
        && let Some(rolling) =
            object.pointer_mut("/spec/updateStrategy/rollingUpdate").and_then(Value::as_object_mut)
    {
        rolling.insert(field.to_owned(), Value::from(nodes));
    }
    object
}

pub(super) const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
