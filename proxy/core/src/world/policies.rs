//! Policies by key and by what they cover, and which of them local workloads name.

use std::sync::Arc;

use super::map::{Map, last, put, take};
use crate::{
    Moment, Str,
    model::{Policy, Scope},
};

/// Policies, their indexes, and references to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    by_key: Map<Str, Arc<Policy>>,
    by_namespace: Map<Str, Vec<Arc<Policy>>>,
    global: Arc<Vec<Arc<Policy>>>,
    references: Map<Str, Reference>,
}

/// How local workloads name one policy.
#[derive(Clone, Copy, Debug)]
struct Reference {
    since: Moment,
    workloads: usize,
}

impl Policies {
    pub(super) fn by_key(&self, key: &str) -> Option<&Arc<Policy>> {
        self.by_key.get(key)
    }

    pub(super) fn covering(&self, namespace: &str) -> impl Iterator<Item = &Arc<Policy>> + Clone {
        self.by_namespace.get(namespace).into_iter().flatten().chain(self.global.iter())
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Policy>> {
        self.by_key.values()
    }

    pub(super) fn referenced_since(&self, key: &str) -> Option<Moment> {
        self.references.get(key).map(|reference| reference.since)
    }

    /// Adds a policy or replaces the one of its key. Tells whether anything changed.
    pub(super) fn insert(&mut self, policy: Policy) -> bool {
        if self.by_key.get(&policy.key).is_some_and(|known| **known == policy) {
            return false;
        }
        self.remove(&policy.key);
        let policy = Arc::new(policy);
        match policy.scope {
            Scope::Global => Arc::make_mut(&mut self.global).push(Arc::clone(&policy)),
            Scope::Namespace => put(&mut self.by_namespace, &policy.namespace, Arc::clone(&policy), last),
            Scope::WorkloadSelector => {}
        }
        self.by_key.insert_mut(policy.key.clone(), policy);
        true
    }

    /// Removes a policy. Tells whether it was known.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let Some(old) = self.by_key.get(key).cloned() else {
            return false;
        };
        match old.scope {
            Scope::Global => Arc::make_mut(&mut self.global).retain(|known| known.key != old.key),
            Scope::Namespace => {
                take(&mut self.by_namespace, &*old.namespace, |known: &Arc<Policy>| known.key == old.key)
            }
            Scope::WorkloadSelector => {}
        }
        self.by_key.remove_mut(key);
        true
    }

    /// A local workload names these policies from now on.
    pub(super) fn refer(&mut self, keys: &[Str], now: Moment) {
        for key in keys {
            if let Some(reference) = self.references.get_mut(key) {
                reference.workloads = reference.workloads.saturating_add(1);
            } else {
                self.references.insert_mut(key.clone(), Reference { since: now, workloads: 1 });
            }
        }
    }

    /// A local workload names these policies no longer.
    pub(super) fn unrefer(&mut self, keys: &[Str]) {
        for key in keys {
            let Some(reference) = self.references.get_mut(key) else {
                continue;
            };
            reference.workloads = reference.workloads.saturating_sub(1);
            if reference.workloads == 0 {
                self.references.remove_mut(key);
            }
        }
    }
}
