//! What an installation does, as rights that the API server can be asked about.

use super::facts::Known;

/// A right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right {
    /// As in RBAC.
    pub(super) verb: &'static str,
    /// Empty for the core group.
    pub(super) group: &'static str,
    /// The plural.
    pub(super) resource: &'static str,
    /// Or empty.
    pub(super) subresource: &'static str,
    /// Where it is needed.
    pub(super) scope: Scope,
    /// What it is needed for.
    pub(super) purpose: Purpose,
}

/// Where a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everywhere, or for what has no namespace.
    Cluster,
    /// In the node components' namespace.
    Istio,
}

/// What a right is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Objects of the charts are created and changed.
    Install,
    /// Nobody may grant what he does not have: the agent's own rights.
    Grant,
    /// Unless this is allowed.
    Escalate,
}

/// A right, and whether the caller has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Which.
    pub(super) right: Right,
    /// Whether.
    pub(super) allowed: Known<bool>,
}

impl Right {
    /// What it is a right to, as a person would say it.
    #[must_use]
    pub(super) fn object(&self, namespace: &str) -> String {
        let mut text = self.resource.to_owned();
        for (mark, part) in [("/", self.subresource), (".", self.group)] {
            if !part.is_empty() {
                text.push_str(mark);
                text.push_str(part);
            }
        }
        match self.scope {
            Scope::Cluster => text,
            Scope::Istio => format!("{text} in {namespace}"),
        }
    }
}

/// Everything that is asked.
#[must_use]
pub(super) fn all() -> Vec<Right> {
    let mut rights = Vec::new();
    for (group, resource, scope) in OBJECTS {
        // Server-side apply creates with `create` and changes with `patch`; an uninstall deletes.
        for verb in ["get", "create", "patch", "delete"] {
            let purpose = Purpose::Install;
            rights.push(Right { verb, group, resource, subresource: "", scope, purpose });
        }
    }
    for (verb, group, resource, subresource) in READ.into_iter().chain(GRANTED) {
        let purpose = Purpose::Grant;
        let scope = Scope::Cluster;
        rights.push(Right { verb, group, resource, subresource, scope, purpose });
    }
    rights.push(Right {
        verb: "escalate",
        group: "rbac.authorization.k8s.io",
        resource: "clusterroles",
        subresource: "",
        scope: Scope::Cluster,
        purpose: Purpose::Escalate,
    });
    rights
}

const OBJECTS: [(&str, &str, Scope); 7] = [
    ("", "serviceaccounts", Scope::Istio),
    ("", "configmaps", Scope::Istio),
    ("apps", "daemonsets", Scope::Istio),
    ("", "resourcequotas", Scope::Istio),
    ("rbac.authorization.k8s.io", "clusterroles", Scope::Cluster),
    ("rbac.authorization.k8s.io", "clusterrolebindings", Scope::Cluster),
    ("", "namespaces", Scope::Cluster),
];

/// What the agent reads.
const READ: [(&str, &str, &str, &str); 9] = [
    ("get", "", "pods", ""),
    ("list", "", "pods", ""),
    ("watch", "", "pods", ""),
    ("get", "", "nodes", ""),
    ("list", "", "nodes", ""),
    ("watch", "", "nodes", ""),
    ("get", "", "namespaces", ""),
    ("list", "", "namespaces", ""),
    ("watch", "", "namespaces", ""),
];

/// What the agent writes.
const GRANTED: [(&str, &str, &str, &str); 4] = [
    ("patch", "", "pods", "status"),
    ("update", "", "pods", "status"),
    ("create", "", "events", ""),
    ("patch", "", "events", ""),
];
