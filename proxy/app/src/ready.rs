//! Readiness: what the process still waits for, answered on `/healthz/ready`.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use parking_lot::Mutex;

use crate::http_server::{Answer, text};

/// What is still pending. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    pending: BTreeSet<&'static str>,
    /// What a person should know though everything is ready.
    note: Option<String>,
}

/// The first answer of the control plane, for every type.
pub(crate) const STATE: &str = "state manager";
/// The snapshot of this node's pods, and a proxy for each.
pub(crate) const PODS: &str = "workload proxy manager";
/// The listeners of a dedicated proxy.
pub(crate) const PROXY: &str = "proxy";

impl Ready {
    pub(crate) fn waiting_for(tasks: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(State { pending: tasks.iter().copied().collect(), note: None })))
    }

    pub(crate) fn done(&self, task: &'static str) {
        if self.0.lock().pending.remove(task) {
            tracing::info!("{task} is ready");
        }
    }

    /// Something that was done has to be done again.
    pub(crate) fn pending(&self, task: &'static str) {
        self.0.lock().pending.insert(task);
    }

    /// Says something beside `ready`, or takes it back.
    pub(crate) fn note(&self, note: Option<String>) {
        self.0.lock().note = note;
    }

    fn answer(&self) -> Answer {
        let state = self.0.lock();
        if state.pending.is_empty() {
            let note = state.note.as_deref().unwrap_or_default();
            return text(StatusCode::OK, format!("ready\n{note}"));
        }
        let names: Vec<_> = state.pending.iter().copied().collect();
        text(StatusCode::INTERNAL_SERVER_ERROR, format!("not ready, pending: {}\n", names.join(", ")))
    }
}

pub(crate) fn serve(ready: &Ready, request: &Request<Incoming>) -> Answer {
    match (request.uri().path(), request.method() == Method::GET) {
        ("/healthz/ready", true) => ready.answer(),
        ("/healthz/ready", false) => text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n"),
        _ => text(StatusCode::NOT_FOUND, "not found; try /healthz/ready\n"),
    }
}
