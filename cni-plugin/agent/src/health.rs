//! Answers /healthz and /readyz over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::RwLock;
use tokio::net::TcpListener;

/// What the agent says of itself; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<RwLock<Facts>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Pods and namespaces have been read and plugin calls are decided.
    pub synced: bool,
    pub proxies: usize,
    pub enrolled: usize,
    /// Selected, but not enrolled yet.
    pub pending: usize,
}

impl Health {
    pub fn set(&self, facts: Facts) {
        *self.0.write() = facts;
    }

    #[must_use]
    pub fn facts(&self) -> Facts {
        *self.0.read()
    }

    /// Serves until the task is dropped. A connection that fails concerns nobody else.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let health = self.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request: Request<Incoming>| {
                    let response = health.answer(request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                if let Err(error) = server.serve_connection(TokioIo::new(stream), answer).await {
                    tracing::debug!(%error, "a health check broke off");
                }
            });
        }
    }

    /// Ready once pods are known. A missing proxy or a pod that fails does not make the node unready: it would stop
    /// pods that are not concerned.
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let facts = self.facts();
        let Facts { synced, proxies, enrolled, pending } = facts;
        let (status, text) = match path {
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if synced => {
                let text = format!("ready: proxies={proxies} enrolled={enrolled} pending={pending}\n");
                (StatusCode::OK, text)
            }
            "/readyz" => {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready: pods have not been read yet\n".to_owned())
            }
            _ => (StatusCode::NOT_FOUND, "only /healthz and /readyz are served\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
    }
}

/// Listens for health checks.
///
/// # Errors
/// The address is taken or not ours.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
