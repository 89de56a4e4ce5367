//! What all pods of the node share, made once from the configuration.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::Str;
use proxy_core::decide::guard::OwnPorts;
use proxy_core::world::{NodeContext, Strictness};
use proxy_hbone::{RelayLimits, Settings};
use proxy_mtls::{Revocations, Store, TlsContext, TlsLimits};
use xds_client::{CaClient, Demand};

use crate::certs::Authority;
use crate::config::{Config, ProxyMode, SocketConfig, TunnelConfig};
use crate::descriptors::Descriptors;
use crate::dns::Dns;
use crate::dns::resolver::Resolver;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::metrics::traffic::{self, Known};

/// What all pods of the node share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) live: Arc<Live>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) metrics: Metrics,
    /// Of sockets in pods that are announced.
    pub(crate) sockets: Arc<SocketConfig>,
    /// Whether connections are served, and not DNS alone.
    pub(crate) proxy: bool,
    /// DNS in pods, where it is captured.
    pub(crate) dns: Option<Arc<Dns>>,
    pub(crate) tunnel: TunnelConfig,
    pub(crate) settings: Settings,
    pub(crate) relay: RelayLimits,
    pub(crate) tls: TlsLimits,
    pub(crate) descriptors: Arc<Descriptors>,
    /// The network of this node.
    pub(crate) network: Str,
    /// Log each policy decision at info.
    pub(crate) log_decisions: bool,
}

impl Node {
    /// `demand` where addresses come on demand.
    pub(crate) fn new(config: &Config, metrics: Metrics, demand: Option<Demand>) -> Arc<Self> {
        let context = NodeContext {
            node_name: config.node.name.as_str().into(),
            network: config.node.network.as_str().into(),
            cluster_domain: config.node.cluster_domain.as_str().into(),
            on_demand: config.xds.as_ref().is_some_and(|xds| xds.on_demand),
            own_ports: OwnPorts { socks5: config.socks5 },
            loopback_tunnels: config.tunnel.loopback_apps,
            unknown_policy: Strictness::default(),
            mesh_addresses: config.mesh.clone(),
        };
        // A dedicated proxy presents its own workload's token, and asks in nobody else's name.
        let in_the_name_of_pods = matches!(config.mode, ProxyMode::Shared { .. });
        let ca = CaClient::new(config.ca.endpoint.clone(), config.ca.ttl, in_the_name_of_pods)
            .with_deadline(config.ca.timeout);
        let tunnel = &config.tunnel;
        let names = Resolver::new(config.resolver.clone(), config.sockets.ipv6, Arc::clone(&metrics.dns));
        let revocations = config
            .revocation
            .as_ref()
            .map_or_else(Revocations::none, |asked| Revocations::new(asked.unreadable));
        let certificates = Store::new(
            Arc::new(Authority { ca: Arc::new(ca), metrics: metrics.clone() }),
            TlsContext::new(config.tls, Arc::clone(&revocations)),
            proxy_mtls::Limits::default(),
        );
        let live = match demand {
            Some(demand) => Live::new(context, names).asking(demand),
            None => Live::new(context, names),
        };
        metrics.tell_identities(&certificates, &revocations);
        Arc::new(Self {
            live: Arc::new(live),
            certificates,
            revocations,
            metrics,
            sockets: Arc::new(config.sockets.clone()),
            proxy: config.proxy,
            dns: Dns::new(config),
            settings: Settings {
                stream_window: tunnel.stream_window,
                connection_window: tunnel.connection_window,
                frame_size: tunnel.frame_size,
                pool_max_streams: tunnel.pool_max_streams,
                pool_idle: tunnel.pool_idle,
                max_streams: tunnel.max_streams,
                header_bytes: tunnel.max_header_bytes,
                limits: proxy_hbone::Limits {
                    handshake: tunnel.settings_timeout,
                    response: tunnel.response_timeout,
                    resets: tunnel.max_resets,
                    ping_interval: tunnel.ping_interval,
                    ping_timeout: tunnel.ping_timeout,
                },
                ..Settings::default()
            },
            relay: RelayLimits { half_closed: tunnel.half_close_timeout, ..RelayLimits::default() },
            descriptors: Descriptors::new(descriptor_limit(), tunnel.shed_descriptors_at),
            tls: TlsLimits { handshake: tunnel.handshake_timeout },
            tunnel: tunnel.clone(),
            network: config.node.network.as_str().into(),
            log_decisions: config.log.policy_decisions,
        })
    }
}

impl Node {
    /// Whether applications may ask for connections by SOCKS5.
    pub(crate) fn socks5(&self) -> bool {
        self.live.now_known().node().own_ports.socks5
    }
}

/// How many the process may have open.
fn descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    // Without a limit there is nothing to run short of.
    getrlimit(Resource::RLIMIT_NOFILE)
        .map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// Series end some time after their workloads have: ten sweeps are enough for any scrape interval.
pub(crate) async fn sweep(node: Arc<Node>) {
    let mut every = tokio::time::interval(Duration::from_secs(60));
    loop {
        every.tick().await;
        let world = node.live.snapshot();
        let live: HashSet<_> =
            world.workloads().map(|w| ((&w.namespace).into(), (&w.workload_name).into())).collect();
        let known = |side: &traffic::Side| {
            side.is_unknown() || live.contains(&(side.namespace.clone(), side.workload.clone()))
        };
        node.metrics.traffic.sweep(10, |labels| !(known(&labels.source) && known(&labels.destination)));
        let services: HashSet<_> =
            world.workloads().map(|w| (&w.canonical_name).into()).chain([Known::default()]).collect();
        node.metrics.dns.sweep(10, |service| services.contains(service));
    }
}
