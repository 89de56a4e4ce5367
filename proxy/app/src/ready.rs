//! Readiness: what the process still waits for, answered on `/healthz/ready`.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use parking_lot::Mutex;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::http_server::{Answer, text};
use crate::metrics::TaskLabel;

/// What is still pending. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ready(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    pending: BTreeSet<&'static str>,
    /// Where it is told what is pending.
    gauges: Family<TaskLabel, Gauge>,
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
        Self(Arc::new(Mutex::new(State { pending: tasks.iter().copied().collect(), ..State::default() })))
    }

    /// Tells these gauges of every task, from now on.
    pub(crate) fn telling(self, gauges: Family<TaskLabel, Gauge>) -> Self {
        let mut state = self.0.lock();
        state.gauges = gauges;
        for task in &state.pending {
            state.tell(task, true);
        }
        drop(state);
        self
    }

    pub(crate) fn done(&self, task: &'static str) {
        let mut state = self.0.lock();
        if state.pending.remove(task) {
            state.tell(task, false);
            tracing::info!("{task} is ready");
        }
    }

    /// Something that was done has to be done again.
    pub(crate) fn pending(&self, task: &'static str) {
        let mut state = self.0.lock();
        state.pending.insert(task);
        state.tell(task, true);
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

impl State {
    fn tell(&self, task: &'static str, pending: bool) {
        self.gauges.get_or_create(&TaskLabel { task }).set(i64::from(pending));
    }
}

pub(crate) fn serve(ready: &Ready, request: &Request<Incoming>) -> Answer {
    match (request.uri().path(), request.method() == Method::GET) {
        ("/healthz/ready", true) => ready.answer(),
        ("/healthz/ready", false) => text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n"),
        _ => text(StatusCode::NOT_FOUND, "not found; try /healthz/ready\n"),
    }
}

#[cfg(test)]
mod tests;
