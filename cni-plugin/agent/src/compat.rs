//! Answers the plugin of istio-cni, whose binary a runtime may still call while we take its node over, or after a hand-back
//! was begun: its event and its log socket, HTTP/1.1 with JSON bodies.
//!
//! Its call names a path where ours brings a descriptor, and knows neither the pod's UID nor its container. What it names
//! is checked like what ours brings.

mod body;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cni_plugin_wire::event::{AddPod, Outcome};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::net::UnixListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use self::body::{Called, Logged};
use crate::http_server::{self, Answer};
use crate::metrics;
use crate::redirect::chain;
use crate::socket::{Asked, Desk, code};

/// The two sockets in istio-cni's run directory.
#[derive(Debug)]
pub(crate) struct Sockets {
    events: UnixListener,
    logs: UnixListener,
}

impl Sockets {
    /// Takes the sockets over where istio-cni has its run directory; on any other node nobody would call. Needs a tokio
    /// runtime.
    pub(crate) fn bind(run_dir: &Path) -> Option<Self> {
        if !run_dir.is_dir() {
            return None;
        }
        let listen = |name| http_server::listen_root(&run_dir.join(name));
        let bound = listen(EVENTS).and_then(|events| Ok(Self { events, logs: listen(LOGS)? }));
        match bound {
            Ok(sockets) => {
                tracing::info!(dir = %run_dir.display(), "calls of istio-cni's plugin are answered here too");
                Some(sockets)
            }
            Err(error) => {
                let dir = run_dir.display();
                tracing::error!(%dir, %error, "calls of istio-cni's plugin are not answered: its pods do not start");
                None
            }
        }
    }

    /// Answers until the task is dropped.
    pub(crate) async fn serve(self, desk: Desk, proc_root: PathBuf) {
        let Self { events, logs } = self;
        let proc_root: Arc<Path> = proc_root.into();
        let mut tasks = JoinSet::new();
        tasks.spawn(http_server::serve_root(logs, http_server::LIFETIME, log));
        tasks.spawn(http_server::serve_root(events, LIFETIME, move |request| {
            add(request, desk.clone(), Arc::clone(&proc_root))
        }));
        tasks.join_all().await;
    }
}

async fn add(request: Request<Incoming>, desk: Desk, proc_root: Arc<Path>) -> Answer {
    if (request.method(), request.uri().path()) != (&Method::POST, "/cmdadd") {
        return http_server::text(StatusCode::NOT_FOUND, "only POST /cmdadd is served\n");
    }
    let began = Instant::now();
    let called = match read(request, EVENT_LIMIT).await.and_then(|body| Called::parse(&body)) {
        Ok(called) => called,
        Err(why) => {
            tracing::warn!(why, "a call of istio-cni's plugin is not understood");
            desk.metrics.malformed();
            return http_server::text(StatusCode::BAD_REQUEST, why);
        }
    };
    let outcome = timeout(DEADLINE, decide(called, &desk, proc_root)).await.unwrap_or_else(|_| late());
    desk.metrics.answered(metrics::Call::Add, code(&outcome), began.elapsed());
    match outcome {
        // A pod that is not of the mesh may start; whoever thinks that it is has an older view of it than we have.
        Outcome::Enrolled | Outcome::NotSelected | Outcome::Done | Outcome::Limited { .. } => {
            http_server::text(StatusCode::OK, "")
        }
        Outcome::Failed { message, retry: _ } => {
            http_server::text(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
    }
}

async fn decide(called: Called, desk: &Desk, proc_root: Arc<Path>) -> Outcome {
    let Called { name, namespace, netns, ips } = called;
    let pod = format!("{namespace}/{name}");
    let path = PathBuf::from(&netns);
    let opened = spawn_blocking(move || open(&path, &proc_root)).await;
    let fd = match opened.map_err(io::Error::other).and_then(|opened| opened) {
        Ok(fd) => fd,
        Err(error) => {
            let message = format!("pod {pod}: open the network namespace {netns}: {error}");
            tracing::warn!(message, "a call of istio-cni's plugin is refused");
            return Outcome::Failed { message, retry: false };
        }
    };
    let add = AddPod { name, namespace, uid: None, container_id: String::new(), netns_path: netns, ips };
    match desk.checked(add, fd).await {
        Ok(asked @ Asked::Add { .. }) => desk.ask(asked).await,
        Ok(_) => late(),
        Err(outcome) => outcome,
    }
}

/// Opens a path of the host, which may have a mount of the same name here, or be seen only through its first process.
fn open(path: &Path, proc_root: &Path) -> io::Result<OwnedFd> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path must be absolute, without `..`"));
    }
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for candidate in candidates(path, proc_root) {
        match File::open(&candidate) {
            Ok(file) => return Ok(file.into()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// `/var/run` is a link to `/run` on most hosts, and links are followed here, not there.
fn candidates(path: &Path, proc_root: &Path) -> Vec<PathBuf> {
    let resolved = path.strip_prefix("/var/run").ok().map(|rest| Path::new("/run").join(rest));
    let names: Vec<PathBuf> = [path.to_owned()].into_iter().chain(resolved).collect();
    // Processes of the host have other numbers here.
    let of_proc = path.strip_prefix("/proc").ok().map(|rest| proc_root.join(rest));
    let root = proc_root.join("1/root");
    let beneath = |name: &PathBuf| root.join(name.strip_prefix("/").unwrap_or(name));
    let through: Vec<PathBuf> = names.iter().map(beneath).collect();
    match of_proc {
        Some(of_proc) => vec![of_proc],
        None => names.into_iter().chain(through).collect(),
    }
}

async fn log(request: Request<Incoming>) -> Answer {
    if (request.method(), request.uri().path()) != (&Method::POST, "/log") {
        return http_server::text(StatusCode::NOT_FOUND, "only POST /log is served\n");
    }
    match read(request, LOG_LIMIT).await {
        Ok(body) => Logged::parse(&body).iter().take(LINES).for_each(Logged::repeat),
        Err(why) => tracing::debug!(why, "lines of istio-cni's plugin are lost"),
    }
    // The plugin is done already.
    http_server::text(StatusCode::OK, "")
}

async fn read(request: Request<Incoming>, limit: usize) -> Result<Bytes, String> {
    match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(format!("the body cannot be read: {}", chain(error.as_ref()))),
        Err(_) => Err(format!("the body did not arrive within {BODY_TIMEOUT:?}")),
    }
}

fn late() -> Outcome {
    Outcome::Failed {
        message: "the node agent is not done with the pod yet; try again".to_owned(),
        retry: true,
    }
}

/// In istio-cni's run directory.
const EVENTS: &str = "pluginevent.sock";
const LOGS: &str = "log.sock";
/// Far more than one pod's names and addresses.
const EVENT_LIMIT: usize = 64 * 1024;
const LOG_LIMIT: usize = 1024 * 1024;
const LINES: usize = 1000;
const BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// istio-cni's plugin waits for five seconds in all: an answer says more than silence.
const DEADLINE: Duration = Duration::from_millis(4500);
const LIFETIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
