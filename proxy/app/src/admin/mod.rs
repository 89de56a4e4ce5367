//! The admin server on loopback: what the proxy knows, log levels, and a way to stop it.

mod dump;
mod pprof;
mod profile;
#[cfg(test)]
mod tests;
mod why;

use std::sync::Arc;

use http::request::Parts;
use hyper::{Method, StatusCode};
use proxy_core::model::{Health, Service};
use proxy_core::world::{Endpoint, World};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http_server::{Answer, Large, text, typed};
use crate::node::Node;
use crate::telemetry::LogControl;
use crate::workloads::Workloads;

/// What admin shows and changes.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) node: Arc<Node>,
    pub(crate) workloads: Workloads,
    pub(crate) config: Arc<Config>,
    pub(crate) log: LogControl,
    /// Cancelled to stop the process.
    pub(crate) stop: CancellationToken,
    /// Dumps on their way to their readers.
    pub(crate) dumps: Large,
}

/// Dumps held at once: that of a large mesh takes many megabytes.
pub(crate) const DUMPS: usize = 2;

impl Admin {
    pub(crate) async fn serve(self, request: Parts) -> Answer {
        let post = request.method == Method::POST;
        let query = request.uri.query().unwrap_or_default();
        match (request.uri.path(), post) {
            ("/", _) => typed(StatusCode::OK, "text/html; charset=utf-8", INDEX),
            ("/why", _) => self.why(query),
            ("/config_dump", _) => self.config_dump().await,
            ("/debug/pprof/profile", _) => pprof::cpu(query).await,
            ("/debug/pprof/heap", _) => pprof::dump(&self.dumps).await,
            ("/debug/pprof/heap/profiling", _) => pprof::switch(query),
            ("/logging", true) => self.logging(query),
            ("/quitquitquit", true) => {
                self.stop.cancel();
                text(StatusCode::OK, "shutdown now\n")
            }
            ("/logging" | "/quitquitquit", false) => text(StatusCode::METHOD_NOT_ALLOWED, USAGE),
            _ => text(StatusCode::NOT_FOUND, "not found; / lists what there is\n"),
        }
    }

    /// `level=<directives>` adds to the filter, `reset` begins from the one the process started with.
    fn logging(&self, query: &str) -> Answer {
        let mut level = String::new();
        let mut reset = false;
        for (key, value) in
            query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
        {
            match key {
                "level" => level = percent_decoded(value),
                "reset" => reset = true,
                _ => {
                    return text(StatusCode::BAD_REQUEST, format!("unknown parameter {key:?}\n{USAGE}"));
                }
            }
        }
        if (reset || !level.is_empty())
            && let Err(error) = self.log.change(&level, reset)
        {
            return text(StatusCode::BAD_REQUEST, format!("{error}\n{USAGE}"));
        }
        text(StatusCode::OK, format!("current log level is {}\n", self.log.current()))
    }

    async fn config_dump(self) -> Answer {
        let bodies = self.dumps.clone();
        match bodies.build(move || serde_json::to_vec_pretty(&self.dump()).ok()).await {
            Some(body) => typed(StatusCode::OK, "application/json", body),
            None => text(StatusCode::INTERNAL_SERVER_ERROR, "the dump does not encode\n"),
        }
    }

    fn dump(&self) -> Value {
        let world = self.node.live.snapshot();
        let mut workloads: Vec<_> = world.workloads().collect();
        workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
        let mut services: Vec<_> = world.services().collect();
        services.sort_by(|a, b| a.hostname().cmp(b.hostname()).then_with(|| a.key.cmp(&b.key)));
        let mut policies: Vec<_> = world.policies().collect();
        policies.sort_by(|a, b| a.key.cmp(&b.key));
        let mut certificates = self.node.certificates.dump();
        certificates.sort_by(|a, b| a.identity.cmp(&b.identity));
        let state: Map<String, Value> =
            self.workloads.list().iter().map(|(uid, entry)| (uid.to_string(), dump::pod(entry))).collect();
        json!({
            "workloads": workloads.into_iter().map(|w| dump::workload(w)).collect::<Vec<_>>(),
            "services": services.into_iter().map(|s| dump::service(s, usable(&world, s))).collect::<Vec<_>>(),
            "policies": policies.into_iter().map(|p| dump::policy(p)).collect::<Vec<_>>(),
            "stagedServices": staged(&world),
            "staticConfig": &self.config.local.shown,
            "version": profile::version(&self.config.node.istio_version),
            "config": profile::config(&self.config),
            "certificates": certificates.iter().map(dump::certificate).collect::<Vec<_>>(),
            "workloadState": state,
        })
    }
}

/// The endpoints that traffic may be sent to.
fn usable<'w>(world: &'w World, service: &'w Service) -> impl Iterator<Item = &'w Endpoint> {
    let all = service.takes_unhealthy();
    world.endpoints(&service.key).filter(move |endpoint| all || endpoint.workload.health == Health::Healthy)
}

/// Endpoints of services that were not announced yet.
fn staged(world: &World) -> Map<String, Value> {
    let mut keys: Vec<_> = world.staged_services().collect();
    keys.sort();
    keys.into_iter().map(|key| (key.to_string(), dump::endpoints(world.endpoints(key)))).collect()
}

/// `%2C` and the like, as HTTP clients write the comma of a list; a malformed escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex =
            |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

const USAGE: &str = "\
POST /logging shows the log level
POST /logging?level=<level> changes it; levels are off, error, warn, info, debug, trace
POST /logging?level=<target>=<level>,<target>:<level> changes it for some targets
POST /logging?reset undoes all changes
POST /quitquitquit stops the process as SIGTERM does
";

const INDEX: &str = "<!doctype html><title>adit-proxy</title><h1>adit-proxy</h1><ul>
<li><a href=\"config_dump\">config_dump</a>: what the proxy knows
<li>why?source=&lt;address&gt;&amp;destination=&lt;address or host&gt;:&lt;port&gt;: what would become of such a connection
<li><a href=\"debug/pprof/profile\">debug/pprof/profile</a>: where the CPU time goes; ?seconds=1..300 (10), &amp;frequency=1..1000 Hz (100)
<li><a href=\"debug/pprof/heap\">debug/pprof/heap</a>: who holds the memory
<li><a href=\"debug/pprof/heap/profiling\">debug/pprof/heap/profiling</a>: whether that is sampled; ?activate=true or false changes it
<li>logging: POST shows the log level; ?level=debug or ?level=target=debug changes it, ?reset undoes that
<li>quitquitquit: POST stops the process as SIGTERM does
</ul>
";
