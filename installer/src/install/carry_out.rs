//! Carries a plan out: the namespace, then what pods need, then the DaemonSets side by side, then what goes.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Error;
use crate::cluster::{Applied, Cluster, How, MANAGER};
use crate::object::Id;
use crate::plan::{Plan, Step, Verdict, handed_over};

/// Does everything of one stage.
///
/// # Errors
/// The cluster refuses a step; those before it are done.
pub async fn carry_out(cluster: &Cluster, plan: &Plan, stage: Stage, force: bool) -> Result<(), Error> {
    let steps = plan.steps.iter().filter(|step| Stage::of(step) == stage && step.verdict != Verdict::Keep);
    if stage == Stage::Pods {
        let done = join_all(steps.map(|step| carry_out_one(cluster, step, force))).await;
        return done.into_iter().collect();
    }
    for step in steps {
        carry_out_one(cluster, step, force).await?;
    }
    Ok(())
}

async fn carry_out_one(cluster: &Cluster, step: &Step, force: bool) -> Result<(), Error> {
    let id = &step.id;
    match (&step.verdict, &step.object, &step.live) {
        (Verdict::Remove, ..) => {
            cluster.delete(id).await?;
            Ok(())
        }
        (Verdict::Create, Some(object), _) => apply(cluster, id, object, force).await,
        // The namespace is somebody else's: only what has to change is ours.
        (Verdict::Change { .. }, Some(object), _) if id.kind == "Namespace" => {
            let labels = object.pointer("/metadata/labels").cloned().unwrap_or_default();
            cluster.merge(id, &json!({"metadata": {"labels": labels}}), MANAGER).await?;
            Ok(())
        }
        (Verdict::Change { .. }, Some(object), _) => apply(cluster, id, object, force).await,
        (Verdict::TakeOver { .. }, Some(object), Some(live)) => {
            let mut metadata = BTreeMap::from([("managedFields", handed_over(live))]);
            if let Some(version) = live.pointer("/metadata/resourceVersion") {
                metadata.insert("resourceVersion", version.clone());
            }
            cluster.merge(id, &json!({ "metadata": metadata }), MANAGER).await?;
            apply(cluster, id, object, true).await
        }
        // The others change nothing.
        _ => Ok(()),
    }
}

async fn apply(cluster: &Cluster, id: &Id, object: &Value, force: bool) -> Result<(), Error> {
    match cluster.apply(id, object, How { force, dry_run: false }).await? {
        Applied::Is(_) => Ok(()),
        Applied::Conflicts(conflicts) => {
            Err(Error::Conflicts { conflicts: conflicts.into_iter().map(|it| (id.clone(), it)).collect() })
        }
    }
}

/// What must be done before what else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Where everything else goes.
    Namespace,
    /// What pods need: accounts, rights, configuration.
    Needs,
    /// The pods themselves.
    Pods,
    /// What nobody wants any more.
    Removals,
}

impl Stage {
    fn of(step: &Step) -> Self {
        match (&step.verdict, step.id.kind.as_str()) {
            (Verdict::Remove, _) => Self::Removals,
            (_, "Namespace") => Self::Namespace,
            (_, "DaemonSet" | "Deployment") => Self::Pods,
            _ => Self::Needs,
        }
    }
}
