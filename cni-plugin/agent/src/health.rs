//! Answers /healthz and /readyz over HTTP.

use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use parking_lot::RwLock;
use tokio::net::TcpListener;

use crate::http_server::{self, Answer};

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

    /// Answers until the task is dropped.
    pub async fn serve(self, listener: TcpListener) {
        http_server::serve(listener, move |request: Request<Incoming>| {
            std::future::ready(self.answer(request.uri().path()))
        })
        .await;
    }

    /// Ready once pods are known. A missing proxy or a pod that fails does not make the node unready: it would stop
    /// pods that are not concerned.
    fn answer(&self, path: &str) -> Answer {
        let Facts { synced, proxies, enrolled, pending } = self.facts();
        match path {
            "/healthz" => http_server::text(StatusCode::OK, "ok\n"),
            "/readyz" if synced => {
                let text = format!("ready: proxies={proxies} enrolled={enrolled} pending={pending}\n");
                http_server::text(StatusCode::OK, text)
            }
            "/readyz" => {
                http_server::text(StatusCode::SERVICE_UNAVAILABLE, "not ready: pods have not been read yet\n")
            }
            _ => http_server::text(StatusCode::NOT_FOUND, "only /healthz and /readyz are served\n"),
        }
    }
}

#[cfg(test)]
mod tests;
