//! Gathers what a plan is made of: what is there, what a dry run says, and everything that would refuse us, all at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::Value;

use super::Error;
use crate::cluster::{self, Applied, Cluster, How};
use crate::object::{Id, list, text};
use crate::plan::{DryRun, Seen};

/// What is known of every object that is wanted, in the order given. Objects in the namespace `new` cannot be tried yet;
/// `refused` is what has been refused before, to be told with the rest.
///
/// # Errors
/// Rights or kinds are missing, each of them named; an object is refused; or the cluster cannot be asked.
pub async fn look(
    cluster: &Cluster,
    objects: &[(Id, Value)],
    new: &str,
    refused: Option<&cluster::Error>,
) -> Result<Vec<Seen>, Error> {
    let asked = objects.iter().map(|(id, object)| look_at(cluster, id, object, new));
    let mut seen = Vec::new();
    let (mut rights, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    if let Some(error) = refused.filter(|error| error.code() == Some(403)) {
        rights.extend(said(error).map(right));
    }
    for ((id, _), asked) in objects.iter().zip(join_all(asked).await) {
        match asked {
            Ok(one) => seen.push(one),
            Err(error) => match (error.code(), said(&error)) {
                (Some(403), Some(message)) => {
                    rights.insert(right(message));
                }
                (Some(404), _) => {
                    kinds.insert(format!("{} ({}), for {id}", id.kind, id.api_version));
                }
                // A text that is no quantity fails only as the server reads it, which then blames itself.
                (Some(code), Some(message))
                    if matches!(code, 400 | 422) || message.contains("failed to convert new object") =>
                {
                    return Err(Error::Invalid { id: Box::new(id.clone()), message: message.to_owned() });
                }
                _ => return Err(error.into()),
            },
        }
    }
    if !rights.is_empty() {
        return Err(Error::Rights { rights: rights.into_iter().collect() });
    }
    if !kinds.is_empty() {
        return Err(Error::Kinds { kinds: kinds.into_iter().collect() });
    }
    Ok(seen)
}

async fn look_at(cluster: &Cluster, id: &Id, object: &Value, new: &str) -> Result<Seen, cluster::Error> {
    let live = cluster.get(id).await?;
    if id.namespace.as_deref() == Some(new) {
        return Ok(Seen { live, dry_run: DryRun::NoNamespace });
    }
    let dry_run = match cluster.apply(id, object, How { force: false, dry_run: true }).await? {
        Applied::Is(after) => DryRun::Is(after),
        Applied::Conflicts(conflicts) => {
            let forced = cluster.apply(id, object, How { force: true, dry_run: true }).await?;
            let after = match forced {
                Applied::Is(after) => after,
                // Nothing can be owned against force; the plan then shows what is there.
                Applied::Conflicts(_) => Box::new(live.clone().unwrap_or_default()),
            };
            DryRun::Conflicts(conflicts, after)
        }
    };
    Ok(Seen { live, dry_run })
}

/// What pods mount that neither we bring nor the cluster has: they cannot start without it.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn missing_mounts(
    cluster: &Cluster,
    objects: &[(Id, Value)],
) -> Result<Vec<String>, cluster::Error> {
    let mut missing = Vec::new();
    for (user, needed) in mounts(objects) {
        let there = match cluster.get(&needed).await {
            Ok(found) => found.is_some(),
            // Nobody has to be able to read what pods mount.
            Err(error) if error.code() == Some(403) => true,
            Err(error) => return Err(error),
        };
        if !there {
            missing.push(format!("{needed}, which istiod writes and {user} mounts"));
        }
    }
    Ok(missing)
}

/// What pods of these objects mount and these objects do not bring.
fn mounts(objects: &[(Id, Value)]) -> Vec<(Id, Id)> {
    let mut found = Vec::new();
    for (user, object) in objects {
        for volume in list(object, "/spec/template/spec/volumes") {
            let name = text(volume, "/configMap/name");
            let optional = volume.pointer("/configMap/optional").and_then(Value::as_bool).unwrap_or_default();
            let needed = Id::new("v1", "ConfigMap", user.namespace.as_deref().unwrap_or_default(), name);
            let brought = objects.iter().any(|(id, _)| id.is(&needed));
            if !name.is_empty() && !optional && !brought {
                found.push((user.clone(), needed));
            }
        }
    }
    found
}

fn said(error: &cluster::Error) -> Option<&str> {
    if let cluster::Error::Refused { status, .. } = error { Some(&status.message) } else { None }
}

/// Of what the server says, the part that names the right.
fn right(message: &str) -> String {
    message.split_once(": ").map_or(message, |(_, rest)| rest).to_owned()
}

#[cfg(test)]
mod tests;
