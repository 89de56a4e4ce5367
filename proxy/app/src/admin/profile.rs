//! The parts of the dump that describe the process itself: its version and its configuration.

use serde_json::{Value, json};
use xds_client::{Endpoint, TrustAnchor};

use super::dump::duration;
use crate::config::{Config, SocketConfig};

pub(super) fn version(istio_version: &str) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "gitRevision": option_env!("ADIT_GIT_REVISION").unwrap_or("unknown"),
        "rustVersion": env!("CARGO_PKG_RUST_VERSION"),
        "buildProfile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "buildStatus": option_env!("ADIT_BUILD_STATUS").unwrap_or("unknown"),
        "istioVersion": istio_version,
        "cryptoProvider": "aws-lc",
    })
}

/// Credentials stay out.
pub(super) fn config(config: &Config) -> Value {
    let Config {
        node,
        xds,
        ca,
        tls,
        sockets,
        tunnel,
        inpod,
        ports,
        log: _,
        drain_deadline,
        threads,
        not_yet: _,
    } = config;
    json!({
        "proxy": true,
        "dnsProxy": false,
        "proxyMode": "Shared",
        "windowSize": tunnel.stream_window,
        "connectionWindowSize": tunnel.connection_window,
        "frameSize": tunnel.frame_size,
        "poolMaxStreamsPerConn": tunnel.pool_max_streams,
        "poolUnusedReleaseTimeout": duration(tunnel.pool_idle),
        "socketConfig": sockets_view(sockets),
        "adminAddr": {"Localhost": [ports.ipv6, ports.admin]},
        "statsAddr": {"SocketAddr": wildcard(ports.ipv6, ports.stats)},
        "readinessAddr": {"SocketAddr": wildcard(ports.ipv6, ports.ready)},
        "inboundAddr": wildcard(ports.ipv6, 15_008),
        "inboundPlaintextAddr": wildcard(ports.ipv6, 15_006),
        "outboundAddr": wildcard(ports.ipv6, 15_001),
        "network": node.network,
        "localNode": node.name,
        "clusterId": node.cluster_id,
        "clusterDomain": node.cluster_domain,
        "caAddress": ca.endpoint.uri.to_string(),
        "caRootCert": root(&ca.endpoint),
        "altCaHostname": ca.endpoint.alt_hostname,
        "xdsAddress": xds.as_ref().map(|xds| xds.endpoint.uri.to_string()),
        "xdsRootCert": xds.as_ref().map_or_else(|| root(&ca.endpoint), |xds| root(&xds.endpoint)),
        "altXdsHostname": xds.as_ref().and_then(|xds| xds.endpoint.alt_hostname.clone()),
        "secretTtl": duration(ca.ttl),
        "xdsOnDemand": false,
        "fakeCa": false,
        "tls12Enabled": tls.tls12,
        "selfTerminationDeadline": duration(*drain_deadline),
        "numWorkerThreads": threads,
        "requireOriginalSource": sockets.original_source,
        "packetMark": sockets.mark,
        "inpodUds": inpod.socket,
        "inpodPortReuse": sockets.reuse_port,
        "ipv6Enabled": ports.ipv6,
    })
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
        TrustAnchor::System => json!("Default"),
    }
}

fn wildcard(ipv6: bool, port: u16) -> String {
    std::net::SocketAddr::new(crate::config::wildcard(ipv6), port).to_string()
}
