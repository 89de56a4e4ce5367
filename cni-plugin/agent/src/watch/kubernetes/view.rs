//! What has been shown of the node, and what is to be told of each further event: pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cni_plugin_wire::zds::PodUid;
use kube::runtime::watcher::Event;

use super::Change;
use crate::model::{Namespace, Pod};

/// Pods by their full name, of which there is only ever one at a time.
#[derive(Debug)]
pub(super) struct View {
    node: String,
    pods: BTreeMap<String, Arc<Pod>>,
    namespaces: BTreeMap<String, Namespace>,
    /// What a list that is under way has shown so far.
    pod_list: Option<BTreeSet<String>>,
    namespace_list: Option<BTreeSet<String>>,
    /// Each of the two has been listed once.
    pods_listed: bool,
    namespaces_listed: bool,
    synced: bool,
    /// Full names of pods that are not told before their namespace is known, by namespace.
    held: BTreeMap<String, BTreeSet<String>>,
    unasked: Vec<String>,
    /// The last pods that went: an answer that was on its way does not bring them back.
    gone: VecDeque<PodUid>,
}

impl View {
    pub(super) const fn new(node: String) -> Self {
        Self {
            node,
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            pod_list: None,
            namespace_list: None,
            pods_listed: false,
            namespaces_listed: false,
            synced: false,
            held: BTreeMap::new(),
            unasked: Vec::new(),
            gone: VecDeque::new(),
        }
    }

    /// Takes an event of the pods' watch in.
    pub(super) fn pod(&mut self, event: Event<Pod>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.pod_list = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(pod) | Event::Apply(pod) => self.pod_seen(pod),
            Event::Delete(pod) => self.pod_gone(&pod.full_name(), &PodUid(pod.metadata.uid)),
            Event::InitDone => {
                let listed = self.pod_list.take().unwrap_or_default();
                let vanished: Vec<(String, PodUid)> = self
                    .pods
                    .iter()
                    .filter(|(name, _)| !listed.contains(*name))
                    .map(|(name, pod)| (name.clone(), PodUid(pod.metadata.uid.clone())))
                    .collect();
                let mut changes: Vec<Change> =
                    vanished.iter().flat_map(|(name, uid)| self.pod_gone(name, uid)).collect();
                self.pods_listed = true;
                changes.extend(self.sync());
                changes
            }
        }
    }

    /// Takes an event of the namespaces' watch in.
    pub(super) fn namespace(&mut self, event: Event<Namespace>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.namespace_list = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(namespace) | Event::Apply(namespace) => self.namespace_seen(namespace),
            Event::Delete(namespace) => self.namespace_gone(&namespace.metadata.name),
            Event::InitDone => {
                let listed = self.namespace_list.take().unwrap_or_default();
                let vanished: Vec<String> =
                    self.namespaces.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                let mut changes: Vec<Change> =
                    vanished.iter().flat_map(|name| self.namespace_gone(name)).collect();
                self.namespaces_listed = true;
                changes.extend(self.sync());
                changes
            }
        }
    }

    /// A pod that was asked for by name.
    pub(super) fn pod_found(&mut self, pod: Pod) -> Vec<Change> {
        // The watch would never tell that it went.
        if pod.spec.node_name == self.node { self.pod_seen(pod) } else { Vec::new() }
    }

    /// A namespace that was asked for, because pods wait for it. Without it, they wait no longer.
    pub(super) fn namespace_found(&mut self, name: &str, found: Option<Namespace>) -> Vec<Change> {
        match found {
            // The watch may have said more since.
            Some(namespace) if !self.namespaces.contains_key(name) => self.namespace_seen(namespace),
            Some(_) | None => self.release(name),
        }
    }

    /// Namespaces to ask for. Each is told once.
    pub(super) fn questions(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unasked)
    }

    fn pod_seen(&mut self, pod: Pod) -> Vec<Change> {
        let uid = PodUid(pod.metadata.uid.clone());
        if uid.0.is_empty() || self.gone.contains(&uid) {
            return Vec::new();
        }
        let name = pod.full_name();
        if let Some(list) = &mut self.pod_list {
            list.insert(name.clone());
        }
        let mut changes = Vec::new();
        match self.pods.get(&name) {
            Some(known) if **known == pod => return changes,
            // Its deletion was missed.
            Some(known) if known.metadata.uid != uid.0 => {
                let before = PodUid(known.metadata.uid.clone());
                changes.extend(self.pod_gone(&name, &before));
            }
            Some(_) | None => {}
        }
        let namespace = pod.metadata.namespace.clone();
        let pod = Arc::new(pod);
        self.pods.insert(name.clone(), Arc::clone(&pod));
        // Without its namespace's labels it would be taken for one that is not selected, and start as it is.
        if self.synced && !self.namespaces.contains_key(&namespace) {
            let held = self.held.entry(namespace.clone()).or_insert_with(|| {
                self.unasked.push(namespace);
                BTreeSet::new()
            });
            held.insert(name);
        } else {
            changes.push(Change::PodSeen(pod));
        }
        changes
    }

    /// Says so whatever is known of it: what acts on it may know more.
    fn pod_gone(&mut self, name: &str, uid: &PodUid) -> Vec<Change> {
        if self.pods.get(name).is_some_and(|pod| pod.metadata.uid == uid.0) {
            self.pods.remove(name);
        }
        if self.gone.len() >= REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back(uid.clone());
        vec![Change::PodGone(uid.clone())]
    }

    fn namespace_seen(&mut self, namespace: Namespace) -> Vec<Change> {
        let name = namespace.metadata.name.clone();
        if let Some(list) = &mut self.namespace_list {
            list.insert(name.clone());
        }
        if self.namespaces.get(&name) == Some(&namespace) {
            return Vec::new();
        }
        self.namespaces.insert(name.clone(), namespace.clone());
        let mut changes = vec![Change::NamespaceSeen(namespace)];
        changes.extend(self.release(&name));
        changes
    }

    fn namespace_gone(&mut self, name: &str) -> Vec<Change> {
        let known = self.namespaces.remove(name).is_some();
        known.then(|| Change::NamespaceGone(name.to_owned())).into_iter().collect()
    }

    fn release(&mut self, namespace: &str) -> Vec<Change> {
        let held = self.held.remove(namespace).unwrap_or_default();
        held.iter().filter_map(|name| self.pods.get(name)).cloned().map(Change::PodSeen).collect()
    }

    fn sync(&mut self) -> Option<Change> {
        let now = self.pods_listed && self.namespaces_listed && !self.synced;
        self.synced |= now;
        now.then_some(Change::Synced)
    }
}

/// Far more than go while one answer is on its way.
const REMEMBERED: usize = 256;

#[cfg(test)]
mod tests;
