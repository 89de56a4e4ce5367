//! Workloads by uid, by address, by hostname, and those of this node.

use std::{net::IpAddr, sync::Arc};

use super::map::{Map, last, put, take, within};
use crate::{
    Str,
    model::{Identity, NamespacedHostname, NetworkMode, Protocol, Workload},
};

/// Workloads and their indexes. Every index is a function of the workloads alone, up to the order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Workloads {
    by_uid: Map<Str, Arc<Workload>>,
    by_address: Map<Str, Map<IpAddr, Vec<Arc<Workload>>>>,
    by_hostname: Map<NamespacedHostname, Vec<Arc<Workload>>>,
    locals: Map<Str, Vec<Arc<Workload>>>,
    accounts: Map<Identity, Account>,
}

/// How many local workloads share an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// All of them.
    pub(super) workloads: usize,
    /// Those that take tunnels.
    pub(super) tunnels: usize,
}

impl Workloads {
    pub(super) fn by_uid(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.by_uid.get(uid)
    }

    pub(super) fn at(&self, network: &str, address: IpAddr) -> Option<&Arc<Workload>> {
        best(self.by_address.get(network)?.get(&address)?)
    }

    pub(super) fn by_hostname(&self, key: &NamespacedHostname) -> Option<&Arc<Workload>> {
        best(self.by_hostname.get(key)?)
    }

    pub(super) fn local(&self, name: &str, namespace: &str, account: &str) -> Option<&Arc<Workload>> {
        let group = self.locals.get(name)?;
        group
            .iter()
            .filter(|known| *known.namespace == *namespace && *known.service_account == *account)
            .max_by_key(|known| rank(known))
    }

    pub(super) fn account(&self, identity: &Identity) -> Account {
        self.accounts.get(identity).copied().unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Workload>> {
        self.by_uid.values()
    }

    /// Adds a workload whose uid is not known.
    pub(super) fn insert(&mut self, workload: &Arc<Workload>, local: bool) {
        for address in indexed_addresses(workload) {
            within(&mut self.by_address, &workload.network, |addresses| {
                put(addresses, address, Arc::clone(workload), last);
            });
        }
        if let Some(key) = hostname_key(workload) {
            put(&mut self.by_hostname, &key, Arc::clone(workload), last);
        }
        if local {
            put(&mut self.locals, &workload.name, Arc::clone(workload), last);
            self.count(workload, |account, tunnels| Account {
                workloads: account.workloads.saturating_add(1),
                tunnels: account.tunnels.saturating_add(tunnels),
            });
        }
        self.by_uid.insert_mut(workload.uid.clone(), Arc::clone(workload));
    }

    /// Takes a workload out of every index.
    pub(super) fn remove(
        &mut self,
        uid: &str,
        is_local: impl Fn(&Workload) -> bool,
    ) -> Option<Arc<Workload>> {
        let old = Arc::clone(self.by_uid.get(uid)?);
        let same = |known: &Arc<Workload>| known.uid == old.uid;
        for address in indexed_addresses(&old) {
            within(&mut self.by_address, &old.network, |addresses| take(addresses, address, same));
        }
        if let Some(key) = hostname_key(&old) {
            take(&mut self.by_hostname, &key, same);
        }
        if is_local(&old) {
            take(&mut self.locals, &old.name, same);
            self.count(&old, |account, tunnels| Account {
                workloads: account.workloads.saturating_sub(1),
                tunnels: account.tunnels.saturating_sub(tunnels),
            });
        }
        self.by_uid.remove_mut(uid);
        Some(old)
    }

    fn count(&mut self, workload: &Workload, change: impl FnOnce(Account, usize) -> Account) {
        let identity = workload.identity();
        let takes_tunnels = workload.protocol == Protocol::Hbone || workload.native_tunnel;
        let account = change(self.account(&identity), usize::from(takes_tunnels));
        if account.workloads == 0 {
            self.accounts.remove_mut(&identity);
        } else {
            self.accounts.insert_mut(identity, account);
        }
    }
}

/// The addresses that lead to this very workload: not those it shares with its node.
fn indexed_addresses(workload: &Workload) -> &[IpAddr] {
    match workload.network_mode {
        NetworkMode::Standard => &workload.addresses,
        NetworkMode::HostNetwork => &[],
    }
}

fn hostname_key(workload: &Workload) -> Option<NamespacedHostname> {
    (!workload.hostname.is_empty()).then(|| NamespacedHostname {
        namespace: workload.namespace.clone(),
        hostname: workload.hostname.clone(),
    })
}

fn best(group: &[Arc<Workload>]) -> Option<&Arc<Workload>> {
    match group {
        [only] => Some(only),
        // The last one of equal rank, which is the one that arrived last.
        _ => group.iter().max_by_key(|workload| rank(workload)),
    }
}

/// Which workload wins an address that several claim. istiod marks pods in the uid; a pod beats an entry made for it, and
/// one that takes tunnels beats one that does not.
fn rank(workload: &Workload) -> (bool, bool) {
    (workload.uid.contains("//Pod/"), workload.protocol == Protocol::Hbone)
}
