//! What the environment means: one validated struct per component, or every mistake at once.

mod control;
mod dns;
mod local;
mod mesh;
mod mode;
pub(crate) mod raw;
mod resolver;
mod runtime;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use proxy_core::model::PodInfo;
use proxy_core::world::{MeshAddresses, Strictness};
use proxy_mtls::TlsPolicy;
use xds_client::{Endpoint, Node};

pub use dns::{DnsAddress, DnsConfig};
pub use local::{LocalConfig, SnapshotConfig};
pub use raw::{ProcessVars, Vars};
pub use resolver::ResolvConf;

use mesh::ProxyConfig;
use raw::Reader;

/// Everything the process was told, checked. Each component receives its own part.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whom it serves.
    pub mode: ProxyMode,
    /// Who and where this proxy is.
    pub node: NodeConfig,
    /// The discovery service; `None` when `XDS_ADDRESS` is empty.
    pub xds: Option<XdsConfig>,
    /// Resources written by hand.
    pub local: LocalConfig,
    /// Where the last good resources are kept; `None` when they are not.
    pub snapshot: Option<SnapshotConfig>,
    /// The certificate authority.
    pub ca: CaConfig,
    /// TLS between proxies and to the control plane.
    pub tls: TlsPolicy,
    /// Which addresses are the mesh's, whether they are known or not.
    pub mesh: MeshAddresses,
    /// Revoked certificates; `None` when nobody asked for them.
    pub revocation: Option<RevocationConfig>,
    /// Sockets inside pods.
    pub sockets: SocketConfig,
    /// The tunnel.
    pub tunnel: TunnelConfig,
    /// How pods are learnt.
    pub inpod: InpodConfig,
    /// Whether applications may ask for connections by SOCKS5.
    pub socks5: bool,
    /// Whether connections are served, and not DNS alone.
    pub proxy: bool,
    /// DNS in pods; `None` when it is not captured.
    pub dns: Option<DnsConfig>,
    /// The process's own resolver.
    pub resolver: ResolvConf,
    /// The three HTTP servers of the process.
    pub ports: PortConfig,
    /// Log filter and format.
    pub log: LogConfig,
    /// Traffic series in metrics at once; connections beyond are counted without their names.
    pub max_series: usize,
    /// How long open connections may finish after a stop was asked for.
    pub drain_deadline: Duration,
    /// Worker threads of the data plane.
    pub threads: usize,
}

/// Whom the process serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyMode {
    /// Every pod that the node agent announces, each in its own network namespace.
    Shared {
        /// The pod that this process runs in; when it is told, its metrics are served in the mesh too.
        itself: Option<PodInfo>,
    },
    /// This one workload, in the namespace that the process runs in.
    Dedicated(PodInfo),
}

/// Who and where this proxy is.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The Kubernetes node, by which local workloads are recognized.
    pub name: String,
    /// The network this node is on; empty for the only one.
    pub network: String,
    /// The cluster, as in metrics and in the `clusterid` header.
    pub cluster_id: String,
    /// DNS suffix of services.
    pub cluster_domain: String,
    /// Version that `istio_build` reports.
    pub istio_version: String,
}

/// The discovery service.
#[derive(Debug, Clone)]
pub struct XdsConfig {
    /// Where it is and how to trust it.
    pub endpoint: Endpoint,
    /// Who we say we are.
    pub node: Node,
    /// Ask for single addresses as connections need them, instead of following all.
    pub on_demand: bool,
}

/// The certificate authority.
#[derive(Debug, Clone)]
pub struct CaConfig {
    /// Where it is and how to trust it.
    pub endpoint: Endpoint,
    /// Validity to ask for.
    pub ttl: Duration,
    /// How long one call may take.
    pub timeout: Duration,
}

/// Revoked certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationConfig {
    /// The file with the revocation lists.
    pub path: PathBuf,
    /// What to do with peers while there is a file of which no version could be read.
    pub unreadable: Strictness,
}

/// Sockets inside pods.
#[derive(Debug, Clone)]
pub struct SocketConfig {
    /// `SO_MARK` of sockets that connect, by which the redirect rules know our packets.
    pub mark: Option<u32>,
    /// `SO_MARK` of sockets that listen, and of what they accept.
    pub listener_mark: Option<u32>,
    /// Keep the source address: required (`Some(true)`), never, or when the kernel lets us.
    pub original_source: Option<bool>,
    /// Listen on IPv6 too.
    pub ipv6: bool,
    /// `SO_REUSEPORT`, so that two proxies can hand a pod over.
    pub reuse_port: bool,
    /// TCP keepalive, unless switched off.
    pub keepalive: Option<Keepalive>,
    /// TCP connect, to a workload or to a proxy.
    pub connect_timeout: Duration,
}

/// TCP keepalive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub time: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is dead.
    pub retries: u32,
    /// Whether unacknowledged data is held to the same bound (`TCP_USER_TIMEOUT`).
    pub user_timeout: bool,
}

/// The tunnel's HTTP/2 windows and pool.
#[derive(Debug, Clone)]
pub struct TunnelConfig {
    /// Bytes in flight on one stream.
    pub stream_window: u32,
    /// Bytes in flight on one connection.
    pub connection_window: u32,
    /// Largest DATA frame we accept.
    pub frame_size: u32,
    /// Streams on one connection we open.
    pub pool_max_streams: u16,
    /// How long an unused connection is kept.
    pub pool_idle: Duration,
    /// Whether applications that take PROXY protocol are reached over loopback.
    pub loopback_apps: bool,
    /// Whether a 200 describes the destination in `baggage`.
    pub response_baggage: bool,
    /// TLS handshakes.
    pub handshake_timeout: Duration,
    /// A half-closed connection without progress.
    pub half_close_timeout: Duration,
    /// Handshakes at once, per pod, before a peer is known.
    pub max_handshakes: usize,
    /// From the end of the TLS handshake to the peer's first SETTINGS.
    pub settings_timeout: Duration,
    /// From sending CONNECT to its response.
    pub response_timeout: Duration,
    /// Streams that a peer may have open at once on one connection.
    pub max_streams: u32,
    /// Streams that a peer may open and reset, unanswered, in half a minute.
    pub max_resets: u32,
    /// Decoded headers of one request.
    pub max_header_bytes: u32,
    /// From one answered PING to the next.
    pub ping_interval: Duration,
    /// From a PING to its answer.
    pub ping_timeout: Duration,
    /// Percent of the descriptors at which the pod with the most gets no more.
    pub shed_descriptors_at: u8,
}

/// How pods are learnt.
#[derive(Debug, Clone)]
pub struct InpodConfig {
    /// The node agent's ZDS socket.
    pub socket: PathBuf,
}

/// The three HTTP servers of the process.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// Admin, on loopback.
    pub admin: u16,
    /// Metrics.
    pub stats: u16,
    /// Readiness.
    pub ready: u16,
    /// Whether IPv6 is there.
    pub ipv6: bool,
}

/// Log filter and format.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// `RUST_LOG`, appended to the built-in prefix.
    pub filter: String,
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Log each policy decision at info instead of debug.
    pub policy_decisions: bool,
}

/// One mistake in what the process was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A variable's value has no meaning.
    #[error("invalid env var {name}={value} ({why})")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it held.
        value: String,
        /// What it should hold.
        why: String,
    },
    /// The mesh file does not parse.
    #[error("mesh config file {path} does not parse: {why}")]
    MeshFile {
        /// The file.
        path: String,
        /// The parser's words.
        why: String,
    },
    /// Two settings exclude each other, or one asks for what does not exist.
    #[error("{name}: {why}")]
    Unsupported {
        /// The variable.
        name: &'static str,
        /// What to do about it.
        why: &'static str,
    },
}

impl Config {
    /// Checks what `vars` holds.
    ///
    /// # Errors
    /// Every mistake found, each naming its variable; the process must not start with any.
    pub fn check(vars: &dyn Vars) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader::new(vars);
        let mesh = ProxyConfig::read(&mut reader, "./etc/istio/config/mesh");
        let ipv6 = reader.flag("IPV6_ENABLED", true) && !loopback_ipv6_disabled();
        let tls = TlsPolicy {
            tls12: reader.text("TLS12_ENABLED").as_deref() == Some("true"),
            pqc: pqc(&mut reader),
        };
        let node = control::node(&reader);
        let mode = mode::mode(&mut reader);
        let resolver = ResolvConf::read("/etc/resolv.conf");
        let proxy = reader.flag("ENABLE_PROXY", true);
        let config = Self {
            dns: dns::dns(&mut reader, &mesh, &resolver, proxy),
            proxy,
            resolver,
            xds: control::xds(&mut reader, &mesh, &node, tls),
            local: local::local(&mut reader),
            snapshot: local::snapshot(&mut reader),
            ca: control::ca(&mut reader, &node, tls),
            tls,
            mesh: control::mesh_addresses(&mut reader),
            revocation: control::revocation(&mut reader),
            sockets: runtime::sockets(&mut reader, &mode, ipv6),
            tunnel: runtime::tunnel(&mut reader),
            inpod: InpodConfig {
                socket: reader.text_or("INPOD_UDS", cni_plugin_wire::paths::DEFAULT_ZDS_SOCKET).into(),
            },
            socks5: reader.flag("UNSTABLE_ENABLE_SOCKS5", false),
            ports: PortConfig {
                admin: mesh.proxy_admin_port.unwrap_or(15_000),
                stats: mesh.stats_port.unwrap_or(15_020),
                ready: 15_021,
                ipv6,
            },
            log: LogConfig {
                filter: reader.text_or("RUST_LOG", "info"),
                json: reader.text("LOG_FORMAT").as_deref() == Some("json"),
                policy_decisions: reader.text("AUTHZ_POLICY_INFO_LOGGING").as_deref() == Some("true"),
            },
            max_series: runtime::max_series(&mut reader),
            drain_deadline: runtime::drain_deadline(&mut reader),
            threads: runtime::threads(&mut reader, mesh.concurrency),
            mode,
            node,
        };
        let errors = reader.into_errors();
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

/// `COMPLIANCE_POLICY`: empty, or `pqc` for post-quantum key exchange only.
fn pqc(reader: &mut Reader<'_>) -> bool {
    reader
        .parse_with("COMPLIANCE_POLICY", |value| match value {
            "" => Ok(false),
            "pqc" => Ok(true),
            _ => Err("the only policy is pqc".to_owned()),
        })
        .unwrap_or(false)
}

/// Whether loopback has no IPv6, whatever the configuration says.
fn loopback_ipv6_disabled() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6").map_or(true, |s| s.trim() == "1")
}

/// An address of every interface, or of loopback, in the widest family we have.
#[must_use]
pub const fn wildcard(ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)
    }
}
