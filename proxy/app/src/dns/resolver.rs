//! Finds the addresses of workloads that the control plane knows by a DNS name: the process's own resolver, with a memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proxy_core::Str;
use proxy_core::dns::{A, AAAA, Addresses, addresses, is_truncated, lookup};
use proxy_core::model::Workload;
use tokio::time::{Instant, timeout};

use super::frames::Frames;
use super::upstream::{self, Origin};
use crate::config::ResolvConf;
use crate::metrics::dns::{DnsMetrics, OnDemandLabels};

/// The process's own resolver.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    servers: ResolvConf,
    ipv6: bool,
    metrics: Arc<DnsMetrics>,
    known: Mutex<HashMap<Str, Slot>>,
}

/// One name. Whoever finds it stale asks, and the others wait for that.
type Slot = Arc<tokio::sync::Mutex<Option<Remembered>>>;

#[derive(Debug, Clone)]
struct Remembered {
    addresses: Arc<[IpAddr]>,
    since: Instant,
    until: Instant,
}

impl Resolver {
    pub(crate) fn new(mut servers: ResolvConf, ipv6: bool, metrics: Arc<DnsMetrics>) -> Self {
        // Room for every attempt in the time that a connection waits: one packet that is lost must not cost all of it.
        servers.timeout = servers.timeout.min(LONGEST / servers.attempts.max(1));
        Self { servers, ipv6, metrics, known: Mutex::default() }
    }

    /// The addresses of a name, for a connection of `source`; none when there are none, or nobody says.
    pub(crate) async fn resolve(&self, source: Option<&Workload>, name: &Str) -> Vec<IpAddr> {
        if let Some(source) = source {
            self.metrics.on_demand(&OnDemandLabels::new(source, name)).inc();
        }
        if let Ok(address) = name.parse::<IpAddr>() {
            return vec![address];
        }
        let came = Instant::now();
        let slot = self.slot(name);
        let mut known = slot.lock().await;
        let now = Instant::now();
        // What came while we waited for it is ours, however short it is good: else many would ask one after the other.
        if let Some(fresh) = known.as_ref().filter(|known| known.until > now || known.since >= came) {
            return fresh.addresses.to_vec();
        }
        let found = timeout(LONGEST, self.ask(name)).await.unwrap_or(None);
        let (found, ttl) = match found {
            Some(Addresses { addresses, ttl }) => (addresses, ttl.unwrap_or(UNTOLD).min(LONGEST_MEMORY)),
            // Whoever waited for this answer is not to wait for the next failure.
            None => (Vec::new(), FAILED),
        };
        let since = Instant::now();
        *known = Some(Remembered { addresses: found.as_slice().into(), since, until: since + ttl });
        found
    }

    fn slot(&self, name: &Str) -> Slot {
        let mut known = self.known.lock();
        if let Some(slot) = known.get(name) {
            return Arc::clone(slot);
        }
        if known.len() >= MEMORY {
            let now = Instant::now();
            let until = |slot: &Slot| {
                let free = slot.try_lock().ok();
                free.map(|known| known.as_ref().map_or(now, |known| known.until))
            };
            known.retain(|_, slot| until(slot).is_none_or(|until| until > now));
            let soonest = || {
                let ends = known.iter().filter_map(|(name, slot)| Some((until(slot)?, name)));
                ends.min_by_key(|(until, _)| *until).map(|(_, name)| Arc::clone(name))
            };
            if known.len() >= MEMORY
                && let Some(name) = soonest()
            {
                known.remove(&name);
            }
        }
        Arc::clone(known.entry(Arc::clone(name)).or_default())
    }

    /// The hosts file, then the name as it is, then with each search domain.
    async fn ask(&self, name: &str) -> Option<Addresses> {
        if let Ok(hosts) = tokio::fs::read_to_string("/etc/hosts").await
            && let Some(addresses) = in_hosts(&hosts, name)
        {
            return Some(Addresses { addresses, ttl: None });
        }
        let mut found = self.ask_both(name).await;
        if !name.ends_with('.') {
            for domain in &self.servers.search {
                if found.as_ref().is_some_and(|found| !found.addresses.is_empty()) {
                    break;
                }
                let longer = self.ask_both(&format!("{name}.{domain}")).await;
                found = longer.filter(|longer| !longer.addresses.is_empty()).or(found);
            }
        }
        found
    }

    async fn ask_both(&self, name: &str) -> Option<Addresses> {
        let v4 = self.ask_one(name, A);
        if !self.ipv6 {
            return v4.await;
        }
        match tokio::join!(v4, self.ask_one(name, AAAA)) {
            (Some(mut v4), Some(v6)) => {
                // What one family lacks says nothing of how long the other is good.
                let told = [&v4, &v6].into_iter().filter(|one| !one.addresses.is_empty());
                let ttl = told.filter_map(|one| one.ttl).min().or(v4.ttl).or(v6.ttl);
                v4.addresses.extend(v6.addresses);
                Some(Addresses { ttl, ..v4 })
            }
            // That there is none of one family says nothing of the one that nobody could tell of.
            (v4, v6) => v4.or(v6).filter(|told| !told.addresses.is_empty()),
        }
    }

    async fn ask_one(&self, name: &str, kind: u16) -> Option<Addresses> {
        let query = lookup(name, kind, upstream::random())?;
        let response = match upstream::exchange(Origin::Home, &self.servers, &query).await {
            Ok(response) if is_truncated(&response) => self.ask_over_tcp(&query).await?,
            Ok(response) => response,
            Err(error) => {
                tracing::warn!("resolve {name}: {error}");
                return None;
            }
        };
        addresses(&response)
    }

    async fn ask_over_tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut connection = Frames::new(upstream::connect(Origin::Home, &self.servers).await.ok()?);
        connection.send(query).await.ok()?;
        let response = timeout(self.servers.timeout, connection.next()).await.ok()?.ok()??;
        proxy_core::dns::answers(query, &response).then_some(response)
    }
}

/// What hosts(5) says of a name; `None` when nothing.
fn in_hosts(hosts: &str, name: &str) -> Option<Vec<IpAddr>> {
    let name = name.trim_end_matches('.');
    let mut found = Vec::new();
    for line in hosts.lines() {
        let line = line.split_once('#').map_or(line, |(line, _)| line);
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        if words.any(|word| word.eq_ignore_ascii_case(name)) {
            found.extend(address);
        }
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests;

/// Names remembered at once.
const MEMORY: usize = 4_096;
/// A connection waits no longer.
const LONGEST: Duration = Duration::from_secs(5);
/// A day, whatever a server says.
const LONGEST_MEMORY: Duration = Duration::from_secs(86_400);
/// When a server does not say how long its answer is good.
const UNTOLD: Duration = Duration::from_secs(30);
/// After nobody answered.
const FAILED: Duration = Duration::from_secs(1);
