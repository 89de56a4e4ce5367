//! The three HTTP servers of the process: readiness, admin, metrics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::{PortConfig, wildcard};
use crate::http_server::{self, Answer, BindError, text, typed};
use crate::metrics::Metrics;
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
        for listener in self.ready {
            let ready = ready.clone();
            tokio::spawn(http_server::serve(listener, stop.clone(), move |request| {
                let answer = ready::serve(&ready, &request);
                async move { answer }
            }));
        }
        for listener in self.admin {
            let admin = admin.clone();
            tokio::spawn(http_server::serve(listener, stop.clone(), move |request| {
                let answer = admin.serve(&request);
                async move { answer }
            }));
        }
        for listener in self.stats {
            let metrics = metrics.clone();
            tokio::spawn(http_server::serve(listener, stop.clone(), move |request| {
                let answer = stats(&metrics, &request);
                async move { answer }
            }));
        }
    }
}

fn stats(metrics: &Metrics, request: &Request<Incoming>) -> Answer {
    if !matches!(request.uri().path(), "/metrics" | "/stats/prometheus") {
        return text(StatusCode::NOT_FOUND, "not found; try /metrics\n");
    }
    let openmetrics =
        request.headers().get_all(http::header::ACCEPT).iter().any(|accept| {
            accept.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text"))
        });
    let content_type = if openmetrics {
        "application/openmetrics-text;charset=utf-8;version=1.0.0"
    } else {
        "text/plain; charset=utf-8"
    };
    match metrics.encode() {
        Ok(body) => typed(StatusCode::OK, content_type, body),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics do not encode\n"),
    }
}

fn loopback(ports: &PortConfig, port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)];
    if ports.ipv6 {
        addresses.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port));
    }
    addresses
}
