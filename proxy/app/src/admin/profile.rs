//! The parts of the dump that describe the process itself: its version and its configuration.

use proxy_core::decide::guard::OwnPorts;
use proxy_core::model::PodInfo;
use serde_json::{Map, Value, json};
use xds_client::{Endpoint, Node, TrustAnchor};

use super::dump::duration;
use crate::config::{Config, DnsAddress, ProxyMode, SocketConfig};

pub(super) fn version(istio_version: &str) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "gitRevision": option_env!("ADIT_GIT_REVISION").unwrap_or("unknown"),
        "rustVersion": env!("CARGO_PKG_RUST_VERSION"),
        "buildProfile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "buildStatus": option_env!("ADIT_BUILD_STATUS").unwrap_or("unknown"),
        "istioVersion": istio_version,
        "cryptoProvider": "tls-aws-lc",
    })
}

/// The keys that ztunnel has, each in the JSON type that Kiali decodes: one of another type and Kiali reads nothing at all.
/// Credentials stay out.
pub(super) fn config(config: &Config) -> Value {
    let mut all = Map::new();
    for part in [process(config), traffic(config), control_plane(config)] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    all.into()
}

fn process(config: &Config) -> Value {
    let Config { mode, node, inpod, socks5, ports, drain_deadline, threads, max_series, .. } = config;
    let own_ports = OwnPorts { socks5: *socks5 };
    let local = |port| json!({"Localhost": [ports.ipv6, port]});
    let everywhere = |port| json!({"SocketAddr": wildcard(ports.ipv6, port)});
    json!({
        "proxy": config.proxy,
        "proxyMode": match mode {
            ProxyMode::Shared { .. } => "Shared",
            ProxyMode::Dedicated(_) => "Dedicated",
        },
        "proxyArgs": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        "proxyWorkloadInformation": match mode {
            ProxyMode::Shared { .. } => None,
            ProxyMode::Dedicated(info) => Some(workload(info)),
        },
        "ztunnelWorkload": match mode {
            ProxyMode::Shared { itself } => itself.as_ref().map(workload),
            ProxyMode::Dedicated(_) => None,
        },
        "adminAddr": local(ports.admin),
        "statsAddr": everywhere(ports.stats),
        "readinessAddr": everywhere(ports.ready),
        "inboundAddr": wildcard(ports.ipv6, 15_008),
        "inboundPlaintextAddr": wildcard(ports.ipv6, 15_006),
        "outboundAddr": wildcard(ports.ipv6, 15_001),
        "socks5Addr": own_ports.socks5.then_some("127.0.0.1:15080"),
        "illegalPorts": own_ports.numbers().collect::<Vec<_>>(),
        "network": node.network,
        "localNode": node.name,
        "clusterId": node.cluster_id,
        "clusterDomain": node.cluster_domain,
        "numWorkerThreads": threads,
        "selfTerminationDeadline": duration(*drain_deadline),
        "inpodUds": inpod.socket,
        "ipv6Enabled": ports.ipv6,
        "maxSeries": max_series,
    })
}

fn workload(info: &PodInfo) -> Value {
    json!({
        "name": &*info.name,
        "namespace": &*info.namespace,
        "serviceAccount": &*info.service_account,
    })
}

fn traffic(config: &Config) -> Value {
    let Config { sockets, tunnel, .. } = config;
    json!({
        "windowSize": tunnel.stream_window,
        "connectionWindowSize": tunnel.connection_window,
        "frameSize": tunnel.frame_size,
        "poolMaxStreamsPerConn": tunnel.pool_max_streams,
        "poolUnusedReleaseTimeout": duration(tunnel.pool_idle),
        "socketConfig": sockets_view(sockets),
        "packetMark": sockets.mark,
        // ztunnel writes a bool, and Kiali, which wants text, then reads nothing.
        "requireOriginalSource": sockets.original_source.map(|required| required.to_string()),
        "inpodPortReuse": sockets.reuse_port,
        "localhostAppTunnel": tunnel.loopback_apps,
        "enableEnhancedBaggage": tunnel.response_baggage,
        "dnsProxy": config.dns.is_some(),
        "dnsProxyAddr": dns_address(config),
    })
}

fn control_plane(config: &Config) -> Value {
    let Config { xds, ca, tls, revocation, .. } = config;
    let xds_endpoint = xds.as_ref().map(|xds| &xds.endpoint);
    json!({
        "caAddress": address(&ca.endpoint),
        "caRootCert": root(&ca.endpoint),
        "altCaHostname": ca.endpoint.alt_hostname,
        "caHeaders": headers(&ca.endpoint),
        "xdsAddress": xds_endpoint.map(address),
        "xdsRootCert": root(xds_endpoint.unwrap_or(&ca.endpoint)),
        "altXdsHostname": xds_endpoint.and_then(|endpoint| endpoint.alt_hostname.clone()),
        "xdsHeaders": xds_endpoint.map(headers).unwrap_or_default(),
        "xdsOnDemand": xds.as_ref().is_some_and(|xds| xds.on_demand),
        "proxyMetadata": xds.as_ref().map(|xds| metadata(&xds.node)).unwrap_or_default(),
        "secretTtl": duration(ca.ttl),
        "crlPath": revocation.as_ref().map(|revocation| &revocation.path),
        "fakeCa": false,
        "fakeSelfInbound": false,
        "tls12Enabled": tls.tls12,
    })
}

fn address(endpoint: &Endpoint) -> String {
    endpoint.uri.to_string().trim_end_matches('/').to_owned()
}

/// Their names: what they hold may be a secret.
fn headers(endpoint: &Endpoint) -> Vec<[&str; 2]> {
    endpoint.headers.iter().map(|(name, _)| [name.as_str(), "..."]).collect()
}

/// Text for text: Kiali decodes nothing else.
fn metadata(node: &Node) -> Map<String, Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    node.metadata.iter().map(|(key, value)| (key.clone(), text(value).into())).collect()
}

/// With DNS off, where it would listen.
fn dns_address(config: &Config) -> Value {
    match config.dns.as_ref().map(|dns| dns.address) {
        None => json!({"Localhost": [config.ports.ipv6, 15_053]}),
        Some(DnsAddress::Loopback(port)) => json!({"Localhost": [config.ports.ipv6, port]}),
        Some(DnsAddress::Exact(address)) => json!({"SocketAddr": address.to_string()}),
    }
}

fn sockets_view(sockets: &SocketConfig) -> Value {
    let keepalive = sockets.keepalive;
    json!({
        "keepaliveEnabled": keepalive.is_some(),
        "keepaliveTime": keepalive.map(|k| duration(k.time)),
        "keepaliveInterval": keepalive.map(|k| duration(k.interval)),
        "keepaliveRetries": keepalive.map(|k| k.retries),
        "userTimeoutEnabled": keepalive.is_some_and(|k| k.user_timeout),
    })
}

fn root(endpoint: &Endpoint) -> Value {
    match &endpoint.trust {
        TrustAnchor::File(path) => json!({"File": path}),
        TrustAnchor::Pem(pem) => json!({"Static": pem}),
        TrustAnchor::System => json!({"Default": []}),
    }
}

fn wildcard(ipv6: bool, port: u16) -> String {
    std::net::SocketAddr::new(crate::config::wildcard(ipv6), port).to_string()
}
