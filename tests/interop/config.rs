//! Envoy's static configuration, from the few parts that HBONE needs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::lab::Issued;

/// A whole configuration.
pub(crate) fn bootstrap(listeners: &[Value], clusters: &[Value]) -> Value {
    json!({
        "admin": { "address": address(ADMIN) },
        "bootstrap_extensions": [extension("envoy.bootstrap.internal_listener",
            "extensions.bootstrap.internal_listener.v3.InternalListener", json!({}))],
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// Where Envoy answers about itself.
pub(crate) const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);

/// A listener on a socket.
pub(crate) fn listener(name: &str, at: SocketAddr, tls: Option<&Issued>, filter: &Value) -> Value {
    let mut chain = json!({ "filters": [filter] });
    if let Some(issued) = tls {
        chain["transport_socket"] = extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            json!({ "require_client_certificate": true, "common_tls_context": common_tls(issued, None) }),
        );
    }
    json!({ "name": name, "address": address(at), "filter_chains": [chain] })
}

/// A listener inside Envoy, for what another filter sends on.
pub(crate) fn internal_listener(name: &str, filter: &Value) -> Value {
    json!({ "name": name, "internal_listener": {}, "filter_chains": [{ "filters": [filter] }] })
}

/// Ends CONNECT tunnels and hands what is in them to a cluster.
pub(crate) fn ends_tunnels(cluster: &str) -> Value {
    http_manager(
        "tunnels",
        json!({
            "match": { "connect_matcher": {} },
            "route": {
                "cluster": cluster,
                "upgrade_configs": [{ "upgrade_type": "CONNECT", "connect_config": {} }],
            },
        }),
        json!({
            "http2_protocol_options": { "allow_connect": true },
            "upgrade_configs": [{ "upgrade_type": "CONNECT" }],
        }),
    )
}

/// Serves HTTP: refuses `/forbidden`, passes the rest on and says so in a header.
pub(crate) fn speaks_http(cluster: &str) -> Value {
    let pass = json!({
        "match": { "prefix": "/" },
        "route": { "cluster": cluster },
        "response_headers_to_add": [{ "header": { "key": "x-waypoint", "value": "envoy" } }],
    });
    let refuse = json!({ "match": { "prefix": "/forbidden" }, "direct_response": { "status": 403 } });
    let mut manager = http_manager("http", refuse, json!({}));
    let routes = &mut manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"];
    routes.as_array_mut().expect("a list of routes").push(pass);
    manager
}

/// Puts what it gets into a CONNECT tunnel to `target`, through a cluster of HBONE servers.
pub(crate) fn opens_tunnels(cluster: &str, target: SocketAddr) -> Value {
    extension(
        "envoy.filters.network.tcp_proxy",
        "extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({
            "stat_prefix": cluster,
            "cluster": cluster,
            "tunneling_config": { "hostname": target.to_string() },
        }),
    )
}

/// Servers of HBONE that have to be `expected`.
pub(crate) fn hbone_cluster(name: &str, at: SocketAddr, issued: &Issued, expected: &str) -> Value {
    let mut cluster = plain_cluster(name, at);
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": { "allow_connect": true } },
        },
    });
    cluster["transport_socket"] = extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        json!({ "common_tls_context": common_tls(issued, Some(expected)) }),
    );
    cluster
}

/// One address, in plain text.
pub(crate) fn plain_cluster(name: &str, at: SocketAddr) -> Value {
    cluster(name, &json!({ "address": address(at) }))
}

/// A listener of this Envoy.
pub(crate) fn internal_cluster(name: &str, listener: &str) -> Value {
    cluster(name, &json!({ "address": { "envoy_internal_address": { "server_listener_name": listener } } }))
}

fn cluster(name: &str, endpoint: &Value) -> Value {
    json!({
        "name": name,
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint }] }],
        },
    })
}

fn http_manager(name: &str, route: Value, options: Value) -> Value {
    let mut config = json!({
        "stat_prefix": name,
        "http_filters": [extension("envoy.filters.http.router",
            "extensions.filters.http.router.v3.Router", json!({}))],
        "route_config": { "virtual_hosts": [{ "name": name, "domains": ["*"], "routes": [route] }] },
    });
    if let (Value::Object(config), Value::Object(options)) = (&mut config, options) {
        config.extend(options);
    }
    extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        config,
    )
}

/// TLS as waypoints have it: 1.3, h2, a certificate, and the mesh's root for the peer's.
fn common_tls(issued: &Issued, expected: Option<&str>) -> Value {
    let mut validation = json!({ "trusted_ca": { "inline_string": issued.root } });
    if let Some(identity) = expected {
        validation["match_typed_subject_alt_names"] =
            json!([{ "san_type": "URI", "matcher": { "exact": identity } }]);
    }
    json!({
        "alpn_protocols": ["h2"],
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "tls_certificates": [{
            "certificate_chain": { "inline_string": issued.chain },
            "private_key": { "inline_string": issued.key },
        }],
        "validation_context": validation,
    })
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

fn extension(name: &str, message: &str, mut config: Value) -> Value {
    config["@type"] = Value::String(format!("type.googleapis.com/envoy.{message}"));
    json!({ "name": name, "typed_config": config })
}
