//! Which pod declares which probes, and whose they are when two pods have one address. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni_plugin_redirect::host::Target;
use cni_plugin_wire::zds::PodUid;

/// One entry a pod, so no more than the node has pods.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pods: BTreeMap<PodUid, BTreeSet<Target>>,
    /// The pods that claim an address, the newest last.
    claimants: BTreeMap<IpAddr, Vec<PodUid>>,
}

impl Claims {
    /// Replaces what all pods declare. Answers nothing when that is what they declared before, else the addresses that
    /// were taken over, each with who has it now and who had it.
    pub(super) fn replace(
        &mut self,
        pods: BTreeMap<PodUid, BTreeSet<Target>>,
    ) -> Option<Vec<(IpAddr, PodUid, PodUid)>> {
        if self.pods == pods {
            return None;
        }
        let gone: Vec<PodUid> = self.pods.keys().filter(|uid| !pods.contains_key(uid)).cloned().collect();
        gone.iter().for_each(|uid| self.withdraw(uid));
        let mut taken = Vec::new();
        for (uid, targets) in pods {
            if self.pods.get(&uid) != Some(&targets) {
                let of_it = self.set(uid.clone(), targets).into_iter();
                taken.extend(of_it.map(|(ip, older)| (ip, uid.clone(), older)));
            }
        }
        Some(taken)
    }

    /// Replaces what a pod declares. Answers the addresses that it took over, each with who had it.
    fn set(&mut self, uid: PodUid, targets: BTreeSet<Target>) -> Vec<(IpAddr, PodUid)> {
        let before = self.pods.get(&uid).map(ips).unwrap_or_default();
        let now = ips(&targets);
        for ip in before.difference(&now) {
            self.release(*ip, &uid);
        }
        let mut taken = Vec::new();
        // A pod that only says again what it has does not become the newer one by that.
        for ip in now.difference(&before) {
            let claimants = self.claimants.entry(*ip).or_default();
            taken.extend(claimants.last().map(|older| (*ip, older.clone())));
            claimants.push(uid.clone());
        }
        self.pods.insert(uid, targets);
        taken
    }

    /// Forgets a pod; an address it had goes back to who claimed it before.
    fn withdraw(&mut self, uid: &PodUid) {
        for ip in self.pods.remove(uid).as_ref().map(ips).unwrap_or_default() {
            self.release(ip, uid);
        }
    }

    /// What is to be exempted: of each address what its newest pod declares.
    pub(super) fn targets(&self) -> BTreeSet<Target> {
        let owned = |uid: &PodUid, ip: &IpAddr| {
            self.claimants.get(ip).and_then(|claimants| claimants.last()).is_some_and(|owner| owner == uid)
        };
        let all = self.pods.iter().flat_map(|(uid, targets)| targets.iter().map(move |target| (uid, target)));
        all.filter(|(uid, (ip, _))| owned(uid, ip)).map(|(_, target)| *target).collect()
    }

    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    fn release(&mut self, ip: IpAddr, uid: &PodUid) {
        if let Some(claimants) = self.claimants.get_mut(&ip) {
            claimants.retain(|claimant| claimant != uid);
            if claimants.is_empty() {
                self.claimants.remove(&ip);
            }
        }
    }
}

fn ips(targets: &BTreeSet<Target>) -> BTreeSet<IpAddr> {
    targets.iter().map(|(ip, _)| *ip).collect()
}
