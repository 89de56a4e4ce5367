//! Answers /healthz and /readyz: unready only while the node cannot start pods as it should, degraded for the rest.

use std::fmt::Write as _;
use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use parking_lot::RwLock;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::http_server::{self, Answer};
use crate::metrics::{Degraded, Metrics};

/// What the agent says of itself; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    facts: Facts,
    plugin: Plugin,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Pods and namespaces have been read and plugin calls are decided.
    pub synced: bool,
    pub proxies: usize,
    pub enrolled: usize,
    /// Selected, but not enrolled yet.
    pub pending: usize,
}

/// Whether runtimes find the plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Plugin {
    /// Somebody else installs it.
    #[default]
    NotOurs,
    InPlace,
    /// What is wrong with the binary or the configuration on the node: pods would start without us.
    Wrong(String),
}

impl Health {
    pub fn set(&self, facts: Facts) {
        self.0.write().facts = facts;
    }

    /// Notes how the plugin stands on the node.
    pub fn plugin(&self, plugin: Plugin) {
        self.0.write().plugin = plugin;
    }

    #[must_use]
    pub fn facts(&self) -> Facts {
        self.0.read().facts
    }

    #[must_use]
    pub fn installed(&self) -> Plugin {
        self.0.read().plugin.clone()
    }

    /// Answers until the task is dropped.
    pub async fn serve(self, listener: TcpListener) {
        http_server::serve(listener, move |request: Request<Incoming>| {
            std::future::ready(self.answer(request.uri().path()))
        })
        .await;
    }

    fn answer(&self, path: &str) -> Answer {
        match path {
            "/healthz" => http_server::text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.unready() {
                None => http_server::text(StatusCode::OK, self.told()),
                Some(why) => {
                    http_server::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"))
                }
            },
            _ => http_server::text(StatusCode::NOT_FOUND, "only /healthz and /readyz are served\n"),
        }
    }

    /// Why pods could not start as they should. A missing proxy or a pod that fails is no reason: an unready node would stop
    /// pods that are not concerned.
    fn unready(&self) -> Option<String> {
        let state = self.0.read();
        match &state.plugin {
            Plugin::Wrong(why) => Some(why.clone()),
            Plugin::NotOurs | Plugin::InPlace if state.facts.synced => None,
            Plugin::NotOurs | Plugin::InPlace => Some("pods have not been read yet".to_owned()),
        }
    }

    fn told(&self) -> String {
        let facts = self.facts();
        let Facts { synced: _, proxies, enrolled, pending } = facts;
        let mut text = format!("ready: proxies={proxies} enrolled={enrolled} pending={pending}\n");
        for why in facts.degraded() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "degraded: {}", why.words());
        }
        text
    }
}

impl Facts {
    /// What a person should look at although the node is ready.
    #[must_use]
    pub fn degraded(self) -> Vec<Degraded> {
        let reasons = [
            (Degraded::NoProxy, self.proxies == 0 && self.enrolled + self.pending > 0),
            (Degraded::PodsPending, self.pending > 0),
        ];
        reasons.into_iter().filter(|(_, holds)| *holds).map(|(why, _)| why).collect()
    }

    /// Shows the facts to Prometheus.
    pub(crate) fn show(self, metrics: &Metrics) {
        let degraded = self.degraded();
        for why in Degraded::ALL {
            metrics.pods.degraded(why, degraded.contains(&why));
        }
    }
}

impl Degraded {
    const fn words(self) -> &'static str {
        match self {
            Self::NoProxy => "no proxy is connected: captured pods reach nobody until one is",
            Self::PodsPending => "pods that the mesh selects are not enrolled yet; /debug/pods says why",
        }
    }
}

#[cfg(test)]
mod tests;
