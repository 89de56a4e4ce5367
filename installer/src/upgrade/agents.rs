//! Replaces agents by hand, node by node. Two cannot be on a node at once, and pods miss none for the seconds between: those
//! that start then wait.

use serde_json::Value;
use tokio::time::Instant;

use super::{Care, Error, NodeState, batches, held, lost, node_state};
use crate::Context;
use crate::cluster::{Applied, Cluster, How, Selection};
use crate::install;
use crate::mesh::{Captured, captured_now};
use crate::object::{Id, text};
use crate::output::Step;
use crate::wait::{self, is_current};

/// Does it.
///
/// # Errors
/// A node fails: those after it keep the agents they have. Or the cluster refuses.
pub(super) async fn roll(
    context: &Context,
    cluster: &Cluster,
    (id, object): (&Id, &Value),
    care: &Care,
) -> Result<(), Error> {
    apply(cluster, id, &held(object), care.force).await?;
    let total = care.order.len() as u64;
    let mut step = context.output.progress().step(&id.name, total);
    let mut done: Vec<String> = Vec::new();
    for batch in batches(&care.order, care.at_once) {
        let before = captured_now(cluster).await?;
        step.at(done.len() as u64, total, &batch.join(", "));
        delete_old(cluster, id, &batch).await?;
        let outcome = settle(cluster, id, &batch, care, &mut step).await;
        let outcome = match outcome {
            Ok(()) => keeps_pods(cluster, &batch, &before).await?,
            Err(Error::Stopped { node, why, .. }) => Some((node, why)),
            Err(other) => return Err(other),
        };
        if let Some((node, why)) = outcome {
            step.failed(&format!("stopped at {node}"));
            return Err(Error::Stopped { component: id.name.clone(), node, why, done });
        }
        if done.is_empty() {
            tokio::time::sleep(care.soak).await;
        }
        done.extend(batch);
    }
    step.done(&wait::on_nodes(total));
    // From here on its controller keeps it so by itself.
    apply(cluster, id, object, care.force).await
}

/// Deletes the pods of an older template from these nodes.
async fn delete_old(cluster: &Cluster, id: &Id, nodes: &[String]) -> Result<(), Error> {
    let seen = wait::see(cluster, id).await?;
    let Some(daemon_set) = &seen.daemon_set else { return Ok(()) };
    for pod in &seen.pods {
        let is_here = nodes.iter().any(|node| node == text(pod, "/spec/nodeName"));
        if is_here && !is_current(pod, daemon_set) {
            let namespace = id.namespace.as_deref().unwrap_or_default();
            cluster.delete(&Id::new("v1", "Pod", namespace, text(pod, "/metadata/name"))).await?;
        }
    }
    Ok(())
}

/// Waits until every node of the batch has a new pod that is ready. A node that the DaemonSet does not select has none.
async fn settle(
    cluster: &Cluster,
    id: &Id,
    nodes: &[String],
    care: &Care,
    step: &mut Step,
) -> Result<(), Error> {
    let began = Instant::now();
    let on_none = |why: String, node: &str| Error::Stopped {
        component: id.name.clone(),
        node: node.to_owned(),
        why,
        done: Vec::new(),
    };
    let at_first = wait::see(cluster, id).await?;
    let selected: Vec<&String> = nodes
        .iter()
        .filter(|node| at_first.pods.iter().any(|pod| text(pod, "/spec/nodeName") == node.as_str()))
        .collect();
    loop {
        let seen = wait::see(cluster, id).await?;
        let mut waiting = None;
        for node in &selected {
            match node_state(&seen, node) {
                NodeState::Updated => {}
                NodeState::Failing(why) => return Err(on_none(why, node)),
                NodeState::Starting(why) => waiting = Some(((*node).clone(), why)),
                NodeState::Old => waiting = Some(((*node).clone(), "has no new pod yet".to_owned())),
            }
        }
        let Some((node, why)) = waiting else { return Ok(()) };
        if began.elapsed() >= care.per_node {
            return Err(on_none(format!("{why}, for {} seconds", care.per_node.as_secs()), &node));
        }
        step.note(&format!("{node}: {why}"));
        tokio::time::sleep(super::proxies::LOOK).await;
    }
}

/// The first node that has lost a pod from the mesh, with which.
async fn keeps_pods(
    cluster: &Cluster,
    nodes: &[String],
    before: &[Captured],
) -> Result<Option<(String, String)>, Error> {
    let pods = cluster.list("v1", "Pod", Selection::default()).await?;
    let after = crate::mesh::captured(&pods);
    let found = nodes.iter().find_map(|node| {
        let lost = lost(node, before, &after, &pods);
        (!lost.is_empty()).then(|| (node.clone(), format!("pods have left the mesh: {}", lost.join(", "))))
    });
    Ok(found)
}

/// Applies the object as it is given.
pub(super) async fn apply(cluster: &Cluster, id: &Id, object: &Value, force: bool) -> Result<(), Error> {
    match cluster.apply(id, object, How { force, dry_run: false }).await? {
        Applied::Is(_) => Ok(()),
        Applied::Conflicts(conflicts) => {
            let conflicts = conflicts.into_iter().map(|conflict| (id.clone(), conflict)).collect();
            Err(install::Error::Conflicts { conflicts }.into())
        }
    }
}
