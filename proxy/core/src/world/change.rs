//! A batch of changes, and what must follow from it.

use std::{collections::BTreeSet, sync::Arc};

use super::World;
use crate::{
    Moment, Str,
    model::{Action, Identity, NamespacedHostname, Policy, Rules, Scope, Service, Workload},
};

/// One thing that the control plane said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A workload is new or different.
    Workload(Box<Workload>),
    /// A service is new or different.
    Service(Box<Service>),
    /// A workload, by uid, or a service, as `<namespace>/<hostname>`, is gone.
    RemoveAddress(Str),
    /// A policy is new or different.
    Policy(Box<Policy>),
    /// A policy is new or different, in a form we cannot read.
    UnreadablePolicy(UnreadablePolicy),
    /// A policy, by key, is gone.
    RemovePolicy(Str),
}

/// What could be made out of a policy that cannot be read.
///
/// The last good version of it stays; without one, it allows nothing and denies all that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadablePolicy {
    /// `<namespace>/<name>`.
    pub key: Str,
    /// The namespace it belongs to: that of the key where nothing better is known.
    pub namespace: Str,
    /// Its scope: the namespace where nothing better is known.
    pub scope: Scope,
    /// Its action: deny where nothing better is known.
    pub action: Action,
    /// Whether it only asks to tell; `false` where nothing is known.
    pub dry_run: bool,
}

/// What must follow from a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Identities of local workloads that take tunnels, which had none before: certificates to fetch.
    pub wanted: Vec<Identity>,
    /// Identities that no local workload has any more: certificates to forget.
    pub forgotten: Vec<Identity>,
    /// What may connect to a local workload changed, by a policy or by the policies it names: open connections must renew
    /// their permits.
    pub policies_changed: bool,
    /// A workload or service changed: who waits for one looks again.
    pub workloads_changed: bool,
}

/// What a batch has touched so far.
#[derive(Default)]
struct Touched {
    identities: BTreeSet<Identity>,
    policies: bool,
    workloads: bool,
}

impl World {
    /// Applies a batch in its order. `now` dates new references to policies.
    pub fn apply(&mut self, changes: Vec<Change>, now: Moment) -> Effects {
        let before = self.clone();
        let mut touched = Touched::default();
        for change in changes {
            match change {
                Change::Workload(workload) => self.put_workload(*workload, now, &mut touched),
                Change::Service(service) => self.put_service(*service, &mut touched),
                Change::RemoveAddress(name) => self.remove_address(&name, &mut touched),
                Change::Policy(policy) => touched.policies |= self.policies.insert(*policy),
                Change::UnreadablePolicy(policy) => touched.policies |= self.put_unreadable(policy),
                Change::RemovePolicy(key) => touched.policies |= self.policies.remove(&key),
            }
        }
        touched.effects(&before, self)
    }

    fn put_workload(&mut self, workload: Workload, now: Moment, touched: &mut Touched) {
        if self.workloads.by_uid(&workload.uid).is_some_and(|known| **known == workload) {
            return;
        }
        let workload = Arc::new(workload);
        let local = self.is_local(&workload);
        // The new references first, so that those which stay keep their date.
        if local {
            self.policies.refer(&workload.authorization_policies, now);
        }
        let old = self.remove_workload(&workload.uid, |key| workload.services.contains_key(key), touched);
        self.workloads.insert(&workload, local);
        self.services.link(&workload);
        touched.workloads = true;
        if local {
            touched.identities.insert(workload.identity());
            touched.policies |= old.is_none_or(|old| {
                old.authorization_policies != workload.authorization_policies
                    || old.namespace != workload.namespace
            });
        }
    }

    fn remove_workload(
        &mut self,
        uid: &str,
        keep_endpoint: impl Fn(&NamespacedHostname) -> bool,
        touched: &mut Touched,
    ) -> Option<Arc<Workload>> {
        let node = Arc::clone(&self.node);
        let is_local = |workload: &Workload| node.is_home_of(workload);
        let old = self.workloads.remove(uid, is_local)?;
        self.services.unlink(&old, keep_endpoint);
        if is_local(&old) {
            self.policies.unrefer(&old.authorization_policies);
            touched.identities.insert(old.identity());
        }
        touched.workloads = true;
        Some(old)
    }

    fn put_service(&mut self, service: Service, touched: &mut Touched) {
        if self.services.by_key(&service.key).is_some_and(|known| **known == service) {
            return;
        }
        self.services.insert(&Arc::new(service));
        touched.workloads = true;
    }

    fn remove_address(&mut self, name: &str, touched: &mut Touched) {
        if self.remove_workload(name, |_| false, touched).is_some() {
            return;
        }
        // A uid that was never known has more slashes than a service's name and fails to parse.
        if let Ok(key) = name.parse::<NamespacedHostname>() {
            touched.workloads |= self.services.remove(&key).is_some();
        }
    }

    fn put_unreadable(&mut self, unreadable: UnreadablePolicy) -> bool {
        if self.policies.by_key(&unreadable.key).is_some_and(|known| known.rules != Rules::Unreadable) {
            return false;
        }
        let UnreadablePolicy { key, namespace, scope, action, dry_run } = unreadable;
        let name = key.rsplit_once('/').map_or(&*key, |(_, name)| name).into();
        self.policies.insert(Policy {
            key,
            name,
            namespace,
            scope,
            action,
            dry_run,
            rules: Rules::Unreadable,
        })
    }

    fn is_local(&self, workload: &Workload) -> bool {
        self.node.is_home_of(workload)
    }
}

impl super::NodeContext {
    fn is_home_of(&self, workload: &Workload) -> bool {
        self.node_name.is_empty() || self.node_name == workload.node
    }
}

impl Touched {
    fn effects(self, before: &World, after: &World) -> Effects {
        let mut effects = Effects {
            policies_changed: self.policies,
            workloads_changed: self.workloads,
            ..Effects::default()
        };
        for identity in self.identities {
            let was = before.workloads.account(&identity);
            let is = after.workloads.account(&identity);
            if was.workloads > 0 && is.workloads == 0 {
                effects.forgotten.push(identity);
            } else if was.tunnels == 0 && is.tunnels > 0 {
                effects.wanted.push(identity);
            }
        }
        effects
    }
}
