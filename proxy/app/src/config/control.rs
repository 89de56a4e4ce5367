//! The control plane's part of the configuration: who we are, where xDS and the CA are, what we trust.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proxy_core::world::{MeshAddresses, Strictness};
use proxy_mtls::TlsPolicy;
use xds_client::{Credential, Endpoint, Node, TrustAnchor};

use super::mesh::ProxyConfig;
use super::raw::Reader;
use super::{CaConfig, ConfigError, NodeConfig, RevocationConfig, XdsConfig};

const DEFAULT_ROOT: &str = "./var/run/secrets/istio/root-cert.pem";
const DEFAULT_TOKEN: &str = "./var/run/secrets/tokens/istio-token";

pub(super) fn node(reader: &Reader<'_>) -> NodeConfig {
    NodeConfig {
        name: reader.text_or("NODE_NAME", ""),
        network: reader.text_or("NETWORK", ""),
        cluster_id: reader
            .text("ISTIO_META_CLUSTER_ID")
            .or_else(|| reader.text("CLUSTER_ID"))
            .unwrap_or_else(|| "Kubernetes".to_owned()),
        cluster_domain: reader.text_or("CLUSTER_DOMAIN", "cluster.local"),
        istio_version: reader.text_or("ISTIO_META_ISTIO_VERSION", "unknown"),
    }
}

pub(super) fn xds(
    reader: &mut Reader<'_>,
    mesh: &ProxyConfig,
    node: &NodeConfig,
    tls: TlsPolicy,
) -> Option<XdsConfig> {
    let default = mesh.discovery_address.clone().unwrap_or_else(|| default_address(reader));
    let on_demand = reader.flag("XDS_ON_DEMAND", false);
    let endpoint = endpoint(reader, &XDS, &default, node, tls)?;
    Some(XdsConfig { endpoint, node: identity_of_node(reader, mesh), on_demand })
}

pub(super) fn ca(reader: &mut Reader<'_>, node: &NodeConfig, tls: TlsPolicy) -> CaConfig {
    let default = default_address(reader);
    if reader.flag("FAKE_CA", false) {
        reader.refuse(ConfigError::Unsupported {
            name: "FAKE_CA",
            why: "self-made certificates are not offered; run adit-control as the CA instead",
        });
    }
    let ttl = reader.duration("SECRET_TTL").unwrap_or(Duration::from_secs(86_400));
    if ttl < Duration::from_secs(60) {
        reader.refuse(ConfigError::Unsupported { name: "SECRET_TTL", why: "must be at least 60s" });
    }
    let endpoint = endpoint(reader, &CA, &default, node, tls).unwrap_or_else(|| {
        reader.refuse(ConfigError::Unsupported {
            name: "CA_ADDRESS",
            why: "must name the certificate authority; without one no workload has an identity",
        });
        unreachable_endpoint(node)
    });
    let timeout = reader.duration("ADIT_CA_TIMEOUT").unwrap_or(Duration::from_secs(15));
    CaConfig { endpoint, ttl, timeout }
}

pub(super) fn mesh_addresses(reader: &mut Reader<'_>) -> MeshAddresses {
    let prefixes = reader.parse_with("ADIT_MESH_CIDRS", |value| {
        let each = value.split(',').map(str::trim).filter(|prefix| !prefix.is_empty());
        each.map(|prefix| {
            prefix.parse().map_err(|_| format!("{prefix:?} is no prefix such as 10.96.0.0/12 or fd00::/108"))
        })
        .collect()
    });
    let unknown = reader.parse_with("ADIT_UNKNOWN_IN_MESH", strictness);
    MeshAddresses { prefixes: prefixes.unwrap_or_default(), unknown: unknown.unwrap_or_default() }
}

fn strictness(value: &str) -> Result<Strictness, String> {
    match value {
        "compat" => Ok(Strictness::Compat),
        "report" => Ok(Strictness::Report),
        "enforce" => Ok(Strictness::Enforce),
        _ => Err("want compat, report or enforce".to_owned()),
    }
}

pub(super) fn revocation(reader: &mut Reader<'_>) -> Option<RevocationConfig> {
    let unreadable = reader.parse_with("ADIT_UNREADABLE_CRL", strictness);
    let path = reader.text("CRL_PATH").filter(|path| !path.is_empty())?;
    Some(RevocationConfig { path: path.into(), unreadable: unreadable.unwrap_or_default() })
}

/// The variables of one control-plane service.
struct Names {
    address: &'static str,
    root: &'static str,
    alt_hostname: &'static str,
    header_prefix: &'static str,
}

const XDS: Names = Names {
    address: "XDS_ADDRESS",
    root: "XDS_ROOT_CA",
    alt_hostname: "ALT_XDS_HOSTNAME",
    header_prefix: "XDS_HEADER_",
};

const CA: Names = Names {
    address: "CA_ADDRESS",
    root: "CA_ROOT_CA",
    alt_hostname: "ALT_CA_HOSTNAME",
    header_prefix: "CA_HEADER_",
};

/// `None` when the address is switched off with an empty value.
fn endpoint(
    reader: &mut Reader<'_>,
    names: &Names,
    default: &str,
    node: &NodeConfig,
    tls: TlsPolicy,
) -> Option<Endpoint> {
    let address = reader.text_or(names.address, default);
    if address.is_empty() {
        return None;
    }
    let uri = match parse_uri(&address) {
        Ok(uri) => uri,
        Err(why) => {
            reader.refuse(ConfigError::Variable { name: names.address, value: address, why });
            return None;
        }
    };
    Some(Endpoint {
        uri,
        trust: trust(reader.text_or(names.root, DEFAULT_ROOT)),
        alt_hostname: reader.text(names.alt_hostname),
        credential: credential(reader.text("AUTH_TOKEN")),
        cluster_id: node.cluster_id.clone(),
        headers: reader
            .with_prefix(names.header_prefix)
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect(),
        tls12: tls.tls12,
        pqc: tls.pqc,
    })
}

fn default_address(reader: &Reader<'_>) -> String {
    if reader.text("KUBERNETES_SERVICE_HOST").is_some() {
        "https://istiod.istio-system.svc:15012".to_owned()
    } else {
        "https://localhost:15012".to_owned()
    }
}

/// A URI without a scheme is https.
fn parse_uri(text: &str) -> Result<http::Uri, String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: http::Uri = full.parse().map_err(|e| format!("want host:port or a URI: {e}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https" | "http"), Some(_)) => Ok(uri),
        _ => Err("want host:port or an https URI".to_owned()),
    }
}

/// A file when one is there (or when it is the default, mounted later); the word SYSTEM; else PEM text itself.
fn trust(value: String) -> TrustAnchor {
    if Path::new(&value).is_file() || !(value == "SYSTEM" || value.contains("-----BEGIN")) {
        TrustAnchor::File(PathBuf::from(value))
    } else if value == "SYSTEM" {
        TrustAnchor::System
    } else {
        TrustAnchor::Pem(value)
    }
}

fn credential(token: Option<String>) -> Credential {
    match token {
        Some(value) if Path::new(&value).exists() => Credential::TokenFile(value.into()),
        // A path that is not there yet is still a path: sending it as a token would only confuse the control plane.
        Some(value) if value.contains('/') => Credential::TokenFile(value.into()),
        Some(value) => Credential::Token(value),
        None if Path::new(DEFAULT_TOKEN).exists() => Credential::TokenFile(DEFAULT_TOKEN.into()),
        None => Credential::None,
    }
}

fn unreachable_endpoint(node: &NodeConfig) -> Endpoint {
    Endpoint {
        uri: http::Uri::from_static("https://localhost:15012"),
        trust: TrustAnchor::System,
        alt_hostname: None,
        credential: Credential::None,
        cluster_id: node.cluster_id.clone(),
        headers: Vec::new(),
        tls12: false,
        pqc: false,
    }
}

fn identity_of_node(reader: &Reader<'_>, mesh: &ProxyConfig) -> Node {
    let mut metadata: BTreeMap<String, serde_json::Value> =
        mesh.metadata().map(|(k, v)| (k, serde_json::Value::String(v))).collect();
    for (key, value) in reader.with_prefix("ISTIO_META_") {
        metadata.insert(key, serde_json::Value::String(value));
    }
    for (key, value) in reader.with_prefix("ISTIO_METAJSON_") {
        match serde_json::from_str(&value) {
            Ok(json) => {
                metadata.insert(key, json);
            }
            Err(error) => tracing::warn!("ISTIO_METAJSON_{key} is not JSON and is left out: {error}"),
        }
    }
    Node {
        instance_ip: reader.text_or("INSTANCE_IP", "1.1.1.1"),
        pod_name: reader.text_or("POD_NAME", ""),
        pod_namespace: reader.text_or("POD_NAMESPACE", ""),
        node_name: reader.text_or("NODE_NAME", ""),
        metadata,
    }
}
