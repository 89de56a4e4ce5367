//! Services by name, hostname, virtual address and prefix, and the endpoints behind them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{
    endpoints::{Endpoint, Endpoints},
    map::{Map, put, take, within},
};
use crate::{
    Str,
    model::{NamespacedHostname, Service, Workload},
};

/// Services, their indexes, and endpoints by service name.
///
/// Endpoints follow from the workloads alone: they stay when a service comes, changes or goes, and health is judged when
/// one is chosen. So no order of arrival can lose one.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    by_key: Map<NamespacedHostname, Arc<Service>>,
    by_hostname: Map<Str, Vec<Arc<Service>>>,
    by_vip: Map<Str, Map<IpAddr, Vec<Arc<Service>>>>,
    by_cidr: Map<Str, Prefixes>,
    endpoints: Map<NamespacedHostname, Endpoints>,
}

impl Services {
    pub(super) fn by_key(&self, key: &NamespacedHostname) -> Option<&Arc<Service>> {
        self.by_key.get(key)
    }

    pub(super) fn named(&self, hostname: &str, client: Option<&str>) -> Option<&Arc<Service>> {
        best(self.by_hostname.get(hostname)?, client)
    }

    pub(super) fn group(&self, hostname: &str) -> &[Arc<Service>] {
        self.by_hostname.get(hostname).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn at(&self, network: &str, address: IpAddr, client: Option<&str>) -> Option<&Arc<Service>> {
        let exact = || best(self.by_vip.get(network)?.get(&address)?, client);
        exact().or_else(|| self.by_cidr.get(network)?.best(address, client))
    }

    pub(super) fn endpoints(&self, key: &NamespacedHostname) -> Option<&Endpoints> {
        self.endpoints.get(key)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.by_key.values()
    }

    pub(super) fn staged(&self) -> impl Iterator<Item = &NamespacedHostname> {
        self.endpoints.keys().filter(|key| !self.by_key.contains_key(*key))
    }

    /// Adds a service or replaces the one of its name.
    pub(super) fn insert(&mut self, service: &Arc<Service>) {
        if let Some(old) = self.by_key.get(&service.key).cloned() {
            self.unlist(&old, |vip| service.vips.contains(vip), |cidr| service.cidr_vips.contains(cidr));
        }
        put(&mut self.by_hostname, service.hostname(), Arc::clone(service), |group| place(group, service));
        for vip in &service.vips {
            within(&mut self.by_vip, &vip.network, |vips| {
                put(vips, &vip.address, Arc::clone(service), |group| place(group, service));
            });
        }
        for vip in &service.cidr_vips {
            if let Some(prefixes) = self.by_cidr.get_mut(&vip.network) {
                prefixes.put(vip.cidr, service);
            } else {
                let mut prefixes = Prefixes::default();
                prefixes.put(vip.cidr, service);
                self.by_cidr.insert_mut(vip.network.clone(), prefixes);
            }
        }
        self.by_key.insert_mut(service.key.clone(), Arc::clone(service));
    }

    pub(super) fn remove(&mut self, key: &NamespacedHostname) -> Option<Arc<Service>> {
        let old = Arc::clone(self.by_key.get(key)?);
        self.unlist(&old, |_| false, |_| false);
        take(&mut self.by_hostname, &**old.hostname(), |known: &Arc<Service>| known.key == old.key);
        self.by_key.remove_mut(key);
        Some(old)
    }

    /// Makes a workload an endpoint of the services it names, in place of what it was.
    pub(super) fn link(&mut self, workload: &Arc<Workload>) {
        for (key, ports) in &workload.services {
            let endpoint = Endpoint { workload: Arc::clone(workload), ports: Arc::clone(ports) };
            if let Some(endpoints) = self.endpoints.get_mut(key) {
                endpoints.put(endpoint);
            } else {
                let mut endpoints = Endpoints::default();
                endpoints.put(endpoint);
                self.endpoints.insert_mut(key.clone(), endpoints);
            }
        }
    }

    /// Ends a workload's part in the services it names, but for those that `keep` recognizes.
    pub(super) fn unlink(&mut self, workload: &Workload, keep: impl Fn(&NamespacedHostname) -> bool) {
        for key in workload.services.keys().filter(|key| !keep(key)) {
            let Some(endpoints) = self.endpoints.get_mut(key) else {
                continue;
            };
            endpoints.remove(&workload.uid);
            if endpoints.is_empty() {
                self.endpoints.remove_mut(key);
            }
        }
    }

    /// Takes a service off the addresses that the predicates do not keep.
    fn unlist(
        &mut self,
        old: &Service,
        keep_vip: impl Fn(&crate::model::NetworkAddress) -> bool,
        keep_cidr: impl Fn(&crate::model::CidrVip) -> bool,
    ) {
        let same = |known: &Arc<Service>| known.key == old.key;
        for vip in old.vips.iter().filter(|vip| !keep_vip(vip)) {
            within(&mut self.by_vip, &vip.network, |vips| take(vips, &vip.address, same));
        }
        for vip in old.cidr_vips.iter().filter(|vip| !keep_cidr(vip)) {
            let Some(prefixes) = self.by_cidr.get_mut(&vip.network) else {
                continue;
            };
            prefixes.take(vip.cidr, old);
            if prefixes.is_empty() {
                self.by_cidr.remove_mut(&vip.network);
            }
        }
    }
}

/// Services by prefix. A lookup asks once for each prefix length in use, not once for each prefix.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    services: Map<IpNet, Vec<Arc<Service>>>,
    lengths: BTreeMap<u8, usize>,
}

impl Prefixes {
    fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    fn put(&mut self, cidr: IpNet, service: &Arc<Service>) {
        if !self.services.contains_key(&cidr) {
            let known = self.lengths.entry(cidr.prefix_len()).or_default();
            *known = known.saturating_add(1);
        }
        put(&mut self.services, &cidr, Arc::clone(service), |group| place(group, service));
    }

    fn take(&mut self, cidr: IpNet, service: &Service) {
        if !self.services.contains_key(&cidr) {
            return;
        }
        take(&mut self.services, &cidr, |known: &Arc<Service>| known.key == service.key);
        if self.services.contains_key(&cidr) {
            return;
        }
        if let Some(known) = self.lengths.get_mut(&cidr.prefix_len()) {
            *known = known.saturating_sub(1);
        }
        self.lengths.retain(|_, known| *known > 0);
    }

    /// A service of the client's namespace wins, then the longer prefix, then the canonical one, then the first by name.
    fn best(&self, address: IpAddr, client: Option<&str>) -> Option<&Arc<Service>> {
        let mut best: Option<(&Arc<Service>, Rank)> = None;
        for &length in self.lengths.keys() {
            let net = IpNet::new(address, length).ok().map(|net| net.trunc());
            let Some(group) = net.and_then(|net| self.services.get(&net)) else {
                continue;
            };
            for service in group.iter().filter(|service| service.is_visible_to(client)) {
                let own = client.is_some_and(|client| **service.namespace() == *client);
                let rank = (own, length, service.canonical);
                if best.is_none_or(|(_, highest)| rank > highest) {
                    best = Some((service, rank));
                }
            }
        }
        best.map(|(service, _)| service)
    }
}

/// Of the client's namespace, length of the prefix, canonical.
type Rank = (bool, u8, bool);

/// A service of the client's namespace, else the canonical one, else the first by name; never one it may not see.
///
/// ztunnel takes the first to arrive, so that two nodes can disagree; here every node that knows the same decides the same.
fn best<'a>(group: &'a [Arc<Service>], client: Option<&str>) -> Option<&'a Arc<Service>> {
    let visible = || group.iter().filter(|service| service.is_visible_to(client));
    let own = client.and_then(|client| visible().find(|service| **service.namespace() == *client));
    own.or_else(|| visible().find(|service| service.canonical)).or_else(|| visible().next())
}

/// Groups of services are sorted by name.
fn place(group: &[Arc<Service>], service: &Service) -> Result<usize, usize> {
    group.binary_search_by(|known| known.key.cmp(&service.key))
}
