//! What the agent serves to people and programs that watch it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::{Errors, Key};

/// As given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RawServing {
    /// Address of /healthz and /readyz; empty serves neither [default: port 8000 of every address]
    #[arg(long, env = "HEALTH_ADDR", value_name = "ADDR")]
    pub health_addr: Option<String>,
    /// Port of /metrics on every address; 0 serves none [default: 15014]
    #[arg(long, env = "MONITORING_PORT", value_name = "PORT")]
    pub monitoring_port: Option<String>,
    /// istio-cni's run directory: where it is there, calls of its plugin are answered too; empty never does
    /// [default: /var/run/istio-cni]
    #[arg(long, env = "ISTIO_CNI_RUN_DIR", value_name = "DIR")]
    pub istio_run_dir: Option<String>,
}

/// As meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub health: Option<Endpoint>,
    pub metrics: Option<Endpoint>,
    /// Where istio-cni's plugin calls.
    pub istio_run_dir: Option<PathBuf>,
}

/// Where a program may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    At(SocketAddr),
    /// Any address of the node, of both families where it has both.
    Port(u16),
}

impl Endpoint {
    /// The addresses to try in this order; the first that can be had is the one.
    #[must_use]
    pub fn candidates(self) -> Vec<SocketAddr> {
        match self {
            Self::At(address) => vec![address],
            Self::Port(port) => [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()]
                .map(|ip| SocketAddr::new(ip, port))
                .into(),
        }
    }
}

pub(super) fn check(errors: &mut Errors, raw: RawServing) -> Serving {
    let port = errors.parsed(raw.monitoring_port, MONITORING_PORT, "a port, or 0 for none", METRICS);
    let istio = raw.istio_run_dir.unwrap_or_else(|| ISTIO_RUN_DIR.to_owned());
    Serving {
        health: health(errors, raw.health_addr),
        metrics: Some(port).filter(|port| *port != 0).map(Endpoint::Port),
        istio_run_dir: Some(istio).filter(|dir| !dir.is_empty()).map(PathBuf::from),
    }
}

fn health(errors: &mut Errors, value: Option<String>) -> Option<Endpoint> {
    let Some(text) = value else { return Some(Endpoint::Port(HEALTH)) };
    if text.is_empty() {
        return None;
    }
    let parsed = text.parse().ok();
    if parsed.is_none() {
        errors.malformed(HEALTH_ADDR, text, "an address with a port, such as 127.0.0.1:8000");
    }
    parsed.map(Endpoint::At)
}

const HEALTH_ADDR: Key = ("health-addr", "HEALTH_ADDR");
const MONITORING_PORT: Key = ("monitoring-port", "MONITORING_PORT");
const HEALTH: u16 = 8000;
const METRICS: u16 = 15014;
const ISTIO_RUN_DIR: &str = "/var/run/istio-cni";
