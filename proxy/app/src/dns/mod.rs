//! DNS for pods: the mesh's own names are answered, everything else is passed on to the node's resolvers byte for byte.

mod frames;
mod log;
mod sockets;
mod tcp;
mod udp;
mod upstream;

pub(crate) mod resolver;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proxy_core::decide::local;
use proxy_core::dns::{A, AAAA, Asker, Settings, Transport, Verdict, addresses, decide, lookup};
use proxy_core::model::Workload;
use tokio::sync::Semaphore;

use crate::config::{Config, DnsAddress, DnsConfig, ResolvConf};
use crate::error::Chain;
use crate::live::draw;
use crate::node::Node;
use crate::pod::Pod;
use log::Asked;
use sockets::Sockets;

/// Time between attempts to listen where it was not possible.
const RETRY: Duration = Duration::from_secs(5);

/// What the DNS of all pods shares.
#[derive(Debug)]
pub(crate) struct Dns {
    config: DnsConfig,
    settings: Settings,
    upstream: ResolvConf,
}

impl Dns {
    /// `None` when DNS is not captured.
    pub(crate) fn new(config: &Config) -> Option<Arc<Self>> {
        let dns = config.dns.clone()?;
        let upstream = without_us(config.resolver.clone(), dns.address);
        if upstream.servers.is_empty() {
            tracing::warn!(
                "/etc/resolv.conf names no server but us: pods can resolve names of the mesh only"
            );
        }
        let settings = Settings {
            ipv6: config.sockets.ipv6,
            preferred_namespace: dns.preferred_namespace.as_deref().map(Into::into),
            search_domains: dns.search_domains.iter().map(|domain| domain.as_str().into()).collect(),
        };
        Some(Arc::new(Self { config: dns, settings, upstream }))
    }

    /// How names are looked for.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// The servers without ourselves, where the process's own file sends its resolver to us: what we pass on would come back
/// until no more queries may be passed on.
fn without_us(mut conf: ResolvConf, address: DnsAddress) -> ResolvConf {
    let us = address.addresses(true);
    let is_us = |server: &SocketAddr| {
        let on_any = |us: &SocketAddr| us.ip().is_unspecified() && server.ip().is_loopback();
        us.iter().any(|us| us.port() == server.port() && (us.ip() == server.ip() || on_any(us)))
    };
    conf.servers.retain(|server| !is_us(server));
    conf
}

/// The DNS of one pod.
#[derive(Debug, Clone)]
struct Service {
    dns: Arc<Dns>,
    pod: Arc<Pod>,
    /// Queries that may still be passed on.
    queries: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Begins to serve a pod's DNS, where it is captured. The addresses are bound when this returns; those that could not be are
/// tried again, and until then the pod resolves without us: it is not worth a pod, let alone a node.
pub(crate) fn serve(pod: &Arc<Pod>) {
    let Some(dns) = &pod.node.dns else { return };
    let service = Service::new(dns, pod);
    let mut served = HashSet::new();
    if service.listen(&mut served, true) {
        return;
    }
    let missing = pod.node.metrics.dns.without_listener();
    pod.track_listener(async move {
        loop {
            tokio::select! {
                () = service.pod.closing.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
            if service.listen(&mut served, false) {
                tracing::info!("DNS of pod {} is served now", service.pod.info);
                drop(missing);
                return;
            }
        }
    });
}

/// The first address of a name as the pod would find it, for a client that leaves that to us.
pub(crate) async fn resolve(pod: &Arc<Pod>, name: &str, ipv6: bool) -> Option<IpAddr> {
    let service = Service::new(pod.node.dns.as_ref()?, pod);
    let query = lookup(name, if ipv6 { AAAA } else { A }, upstream::random())?;
    // As long as messages can be: nobody is there to ask again.
    let (verdict, asked) = service.decide(&query, Transport::Tcp);
    let response = match verdict {
        Verdict::Answer(answer) => answer.message,
        Verdict::Relay => {
            let response = upstream::exchange(service.origin(), &service.dns.upstream, &query).await;
            asked.relayed(&pod.node.metrics.dns, response.is_ok());
            response.ok()?
        }
    };
    addresses(&response)?.addresses.into_iter().find(|address| address.is_ipv6() == ipv6)
}

impl Service {
    fn new(dns: &Arc<Dns>, pod: &Arc<Pod>) -> Self {
        Self {
            dns: Arc::clone(dns),
            pod: Arc::clone(pod),
            queries: Arc::new(Semaphore::new(dns.config.max_queries)),
            connections: Arc::new(Semaphore::new(dns.config.max_connections)),
        }
    }

    /// Listens wherever it is not listened yet; whether that is everywhere now.
    fn listen(&self, served: &mut HashSet<SocketAddr>, first: bool) -> bool {
        let mut all = true;
        for bound in sockets::bind(&self.pod, self.dns.config.address, served) {
            match bound {
                Ok(Sockets { address, udp, tcp }) => {
                    served.insert(address);
                    self.pod.track_listener(udp::serve(self.clone(), udp));
                    let service = self.clone();
                    self.pod.serve(tcp, move |_, stream, _| tcp::serve(service.clone(), stream));
                }
                Err(error) => {
                    all = false;
                    let (pod, why) = (&self.pod.info, Chain(&error));
                    if first {
                        tracing::warn!("pod {pod} resolves without the mesh, attempts go on: {why}");
                    } else {
                        tracing::debug!("pod {pod} still resolves without the mesh: {why}");
                    }
                }
            }
        }
        all
    }

    /// What becomes of a message. A pod whose workload is not announced yet is answered as one of its namespace.
    fn decide(&self, message: &[u8], transport: Transport) -> (Verdict, Asked) {
        let Node { live, metrics, network, .. } = &*self.pod.node;
        let world = live.now_known();
        let source: Option<Arc<Workload>> = local(&world, &self.pod.info).ok();
        let network = source.as_ref().map_or(network, |workload| &workload.network);
        let asker = Asker { namespace: &self.pod.info.namespace, network };
        let verdict = decide(&world, &self.dns.settings, asker, message, transport, draw());
        drop(world);
        let asked = Asked::new(message, transport, source.as_deref());
        metrics.dns.requests(&asked.labels).inc();
        if let Verdict::Answer(answer) = &verdict {
            log::write(&self.pod, message, answer.outcome.as_str(), answer.addresses);
        }
        (verdict, asked)
    }

    fn origin(&self) -> upstream::Origin<'_> {
        upstream::Origin::Pod(&self.pod)
    }
}
