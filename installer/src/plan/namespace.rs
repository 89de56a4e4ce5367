//! The namespace of the node components: there, and open to pods that change the node's network.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FieldChange, Step, Verdict};
use crate::object::{Id, entry};

/// What Pod Security enforced in a namespace before we opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// `baseline` or `restricted`.
    pub was: String,
}

/// What to do to the namespace, if anything: it is made, or opened where Pod Security would refuse our pods.
#[must_use]
pub fn namespace(name: &str, live: Option<&Value>) -> (Option<Step>, Option<PodSecurity>) {
    let id = Id::new("v1", "Namespace", "", name);
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {ENFORCE: PRIVILEGED}},
    });
    let Some(live) = live else {
        return (Some(Step { id, verdict: Verdict::Create, object: Some(object), live: None }), None);
    };
    match entry(live, "/metadata/labels", ENFORCE) {
        None | Some(PRIVILEGED) => (None, None),
        Some(level) => {
            let change = FieldChange {
                field: format!(".metadata.labels[{ENFORCE}]"),
                from: Some(Value::from(level)),
                to: Some(Value::from(PRIVILEGED)),
            };
            let verdict = Verdict::Change { changes: vec![change] };
            let step = Step { id, verdict, object: Some(object), live: Some(live.clone()) };
            (Some(step), Some(PodSecurity { was: level.to_owned() }))
        }
    }
}

/// The label by which Pod Security knows what to refuse.
pub(crate) const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// The one level that lets pods use the node's network and its files.
const PRIVILEGED: &str = "privileged";

#[cfg(test)]
mod tests;
