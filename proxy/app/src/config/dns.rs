//! The DNS proxy's part of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::mesh::ProxyConfig;
use super::raw::Reader;
use super::{ConfigError, ResolvConf};

/// The DNS proxy in every pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// Where it listens.
    pub address: DnsAddress,
    /// The namespace whose services win over those of others.
    pub preferred_namespace: Option<String>,
    /// Domains that the application's resolver appends, when they are not those that Kubernetes gives pods.
    pub search_domains: Vec<String>,
    /// Queries passed on at once, per pod.
    pub max_queries: usize,
    /// Connections at once, per pod.
    pub max_connections: usize,
}

/// Where the DNS proxy of a pod listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsAddress {
    /// On this port of both loopback addresses, as far as the pod has them.
    Loopback(u16),
    /// Exactly here.
    Exact(SocketAddr),
}

impl DnsAddress {
    /// The addresses to listen on; with `ipv6` when loopback has it.
    #[must_use]
    pub fn addresses(self, ipv6: bool) -> Vec<SocketAddr> {
        match self {
            Self::Exact(address) => vec![address],
            Self::Loopback(port) => {
                let v6 = ipv6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
                let all = [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), v6];
                all.into_iter().flatten().map(|ip| SocketAddr::new(ip, port)).collect()
            }
        }
    }
}

/// `None` when DNS is not captured.
pub(super) fn dns(
    reader: &mut Reader<'_>,
    mesh: &ProxyConfig,
    resolver: &ResolvConf,
    proxy: bool,
) -> Option<DnsConfig> {
    let told = |key: &'static str, name: &str| {
        reader.text(key).or_else(|| mesh.metadata().find(|(known, _)| known == name).map(|(_, value)| value))
    };
    let capture = told("ISTIO_META_DNS_CAPTURE", "DNS_CAPTURE");
    let address = told("ISTIO_META_DNS_PROXY_ADDR", "DNS_PROXY_ADDR");
    let on = capture.is_none_or(|value| value.eq_ignore_ascii_case("true"));
    let address = match address.as_deref().map(parse_address) {
        None => DnsAddress::Loopback(15_053),
        Some(Ok(address)) => address,
        Some(Err(why)) => {
            let value = address.unwrap_or_default();
            reader.refuse(ConfigError::Variable { name: "ISTIO_META_DNS_PROXY_ADDR", value, why });
            return None;
        }
    };
    let on_demand = reader.text("XDS_ON_DEMAND").as_deref() == Some("true");
    if !on && !proxy {
        reader.refuse(ConfigError::Unsupported {
            name: "ENABLE_PROXY",
            why: "with ISTIO_META_DNS_CAPTURE off too nothing is left to run; turn one of them on",
        });
    }
    if on && on_demand {
        reader.refuse(ConfigError::Unsupported {
            name: "XDS_ON_DEMAND",
            why: "the DNS proxy must know every name; set ISTIO_META_DNS_CAPTURE to false",
        });
    }
    // A workload on a machine of its own asks as that machine does.
    let dedicated = reader.text("PROXY_MODE").as_deref() == Some("dedicated");
    on.then(|| DnsConfig {
        address,
        preferred_namespace: reader.text("PREFERED_SERVICE_NAMESPACE").filter(|name| !name.is_empty()),
        search_domains: if dedicated { resolver.search.clone() } else { Vec::new() },
        max_queries: reader.number("ADIT_DNS_MAX_QUERIES_PER_POD").unwrap_or(512),
        max_connections: reader.number("ADIT_DNS_MAX_CONNECTIONS_PER_POD").unwrap_or(128),
    })
}

fn parse_address(text: &str) -> Result<DnsAddress, String> {
    let wanted = || "want localhost:PORT or an address with a port".to_owned();
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().map(DnsAddress::Loopback).map_err(|_| wanted()),
        None => text.parse().map(DnsAddress::Exact).map_err(|_| wanted()),
    }
}
