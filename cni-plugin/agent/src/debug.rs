//! What the agent shows to whoever has a shell on the node: a socket in the run directory, for root only.

mod ask;

use std::fmt::Write as _;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::net::UnixListener;

use crate::app::Handle;
use crate::health::Health;
use crate::http_server::{self, Answer};
use crate::logging::LogControl;
use crate::zds::Server;

pub use ask::{AskError, Part, ask};

/// The socket's name in the run directory.
pub(crate) const SOCKET_NAME: &str = "debug.sock";

/// What is looked into; clones look into the same.
#[derive(Clone)]
pub(crate) struct Debug {
    pub(crate) handle: Handle,
    pub(crate) server: Server,
    pub(crate) health: Health,
    /// Without one, nobody set logging up that could be changed.
    pub(crate) log: Option<LogControl>,
}

impl Debug {
    /// Answers until the task is dropped.
    pub(crate) async fn serve(self, listener: UnixListener) {
        http_server::serve_root(listener, http_server::LIFETIME, move |request: Request<Incoming>| {
            let debug = self.clone();
            async move {
                let uri = request.uri();
                debug.answer(request.method(), uri.path(), uri.query().unwrap_or_default()).await
            }
        })
        .await;
    }

    async fn answer(&self, method: &Method, path: &str, query: &str) -> Answer {
        match (method, path) {
            (&Method::GET, "/debug/pods") => json(&self.handle.dump().await),
            (&Method::GET, "/debug/zds") => json(&self.server.dump()),
            (&Method::GET, "/debug/install") => json(&self.health.installed()),
            (&Method::GET | &Method::POST, "/logging") => self.logging(method, query),
            _ => http_server::text(StatusCode::NOT_FOUND, USAGE),
        }
    }

    fn logging(&self, method: &Method, query: &str) -> Answer {
        let Some(log) = &self.log else {
            return http_server::text(
                StatusCode::NOT_FOUND,
                "the log of this process is not ours to change\n",
            );
        };
        if method == Method::POST
            && let Err(error) = log.change(query.trim_start_matches("level="))
        {
            let mut told = error.to_string();
            let _ = write!(told, "\n{USAGE}");
            return http_server::text(StatusCode::BAD_REQUEST, told);
        }
        http_server::text(StatusCode::OK, format!("current log level is {}\n", log.current()))
    }
}

fn json(document: &impl Serialize) -> Answer {
    match serde_json::to_vec_pretty(document) {
        Ok(mut body) => {
            body.push(b'\n');
            http_server::typed(StatusCode::OK, "application/json", body)
        }
        Err(_) => http_server::text(StatusCode::INTERNAL_SERVER_ERROR, "the dump does not encode\n"),
    }
}

const USAGE: &str = "\
GET /debug/pods: every pod of this node, and where its enrollment stands
GET /debug/zds: which proxy serves which pods
GET /debug/install: the plugin on this node
GET /logging: the log level
POST /logging?level=<level>: changes it, as in debug, or in info,cni_plugin_agent=debug; empty undoes all changes
";

#[cfg(test)]
mod tests;
