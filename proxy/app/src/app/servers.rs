//! The three HTTP servers of the process: readiness, admin, metrics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::{PortConfig, wildcard};
use crate::http_server::{self, BindError, LONGEST, LONGEST_OF_ADMIN};
use crate::metrics::{Metrics, Scrape};
use crate::ready::{self, Ready};

/// The servers' sockets, bound and not served yet.
pub(super) struct Servers {
    ready: Vec<TcpListener>,
    admin: Vec<TcpListener>,
    stats: Vec<TcpListener>,
}

impl Servers {
    pub(super) async fn bind(ports: &PortConfig) -> Result<Self, BindError> {
        let everywhere = |port| [SocketAddr::new(wildcard(ports.ipv6), port)];
        Ok(Self {
            ready: http_server::bind(&everywhere(ports.ready)).await?,
            admin: http_server::bind(&loopback(ports, ports.admin)).await?,
            stats: http_server::bind(&everywhere(ports.stats)).await?,
        })
    }

    /// Serves until `stop`.
    pub(super) fn serve(self, ready: &Ready, admin: &Admin, metrics: &Metrics, stop: &CancellationToken) {
        let scrape = Scrape::new(metrics.clone());
        for listener in self.ready {
            let ready = ready.clone();
            tokio::spawn(http_server::serve(listener, stop.clone(), LONGEST, move |request| {
                let answer = ready::serve(&ready, &request);
                async move { answer }
            }));
        }
        for listener in self.admin {
            let admin = admin.clone();
            tokio::spawn(http_server::serve(listener, stop.clone(), LONGEST_OF_ADMIN, move |request| {
                admin.clone().serve(request.into_parts().0)
            }));
        }
        for listener in self.stats {
            let scrape = scrape.clone();
            tokio::spawn(http_server::serve(listener, stop.clone(), LONGEST, move |request| {
                let path = request.uri().path().to_owned();
                scrape.clone().serve(path, request.into_parts().0.headers)
            }));
        }
    }
}

fn loopback(ports: &PortConfig, port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)];
    if ports.ipv6 {
        addresses.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port));
    }
    addresses
}
