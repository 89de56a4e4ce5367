//! The agent put together: sources and sockets around the enrollment machine.

mod driver;
mod handle;
mod steps;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_redirect::RedirectError;
use cni_plugin_wire::cache::SelectedNamespaces;
use cni_plugin_wire::seqpacket::{Listener, SocketError};
use cni_plugin_wire::zds::{self, PodUid};
use cni_plugin_wire::{event, paths};
use kube::Client;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::driver::{Driver, Inputs};
pub use self::handle::Handle;
use self::steps::Places;
use crate::compat;
use crate::config::{Config, Endpoint, Source};
use crate::debug::{self, Debug};
use crate::enroll::{Enrollment, Event};
use crate::health::Health;
use crate::http_server;
use crate::logging::LogControl;
use crate::metrics::Metrics;
use crate::netns::{Finder, HostNetns, NetnsError};
use crate::probes::{self, Exemptions, HostRules, KernelHost};
use crate::records::{self, Loaded, RecordError, Records};
use crate::redirect::{Kernel, Redirect, chain, choice};
use crate::report::{self, Reporter};
use crate::socket::{self, Desk};
use crate::status::{self, StatusError, StatusSink};
use crate::watch::{self, Change, Directory, Lookups, PodSource};
use crate::zds::{Deadlines, Server};

/// What the agent works on.
pub struct Parts {
    pub source: Box<dyn PodSource>,
    /// Where single pods can be asked for that the source has not shown yet.
    pub lookups: Option<Lookups>,
    pub status: Arc<dyn StatusSink>,
    pub redirect: Arc<dyn Redirect>,
    pub host_rules: Arc<dyn HostRules>,
    pub reporter: Arc<dyn Reporter>,
    /// Writes what the reporter hands on.
    pub events: Option<report::Writer>,
    pub host: HostNetns,
}

/// An agent whose sockets are in place.
pub struct Agent {
    config: Config,
    parts: Parts,
    health: Health,
    metrics: Metrics,
    proxies: Listener,
    plugins: Listener,
    checks: Option<TcpListener>,
    scrapes: Option<TcpListener>,
    shown: UnixListener,
    istio: Option<compat::Sockets>,
    log: Option<LogControl>,
    handle: Handle,
    asked: handle::Asked,
    exemptions: Exemptions,
    exempting: probes::Worker,
    records: Records,
}

/// Why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("find a way to load redirection rules")]
    Redirect(#[source] RedirectError),
    #[error("tell which network namespace is the host's")]
    Host(#[source] NetnsError),
    #[error("pods are read from an API server, and there is no client for it")]
    NoClient,
    #[error("keep records of pods")]
    Records(#[source] RecordError),
    #[error("use the status directory")]
    Status(#[source] StatusError),
    #[error("create the directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("serve {what}")]
    Socket {
        what: &'static str,
        #[source]
        source: SocketError,
    },
    #[error("serve debug dumps on {path}")]
    Debug {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("serve health checks on {endpoint:?}")]
    Health {
        endpoint: Endpoint,
        #[source]
        source: io::Error,
    },
}

impl Parts {
    /// What the settings name, and the kernel; `client` talks to their API server if they name one. Blocking.
    ///
    /// # Errors
    /// Rules cannot be loaded here, the host's namespace cannot be told, or the status directory cannot be made.
    pub fn real(config: &Config, client: Option<Client>) -> Result<Self, AgentError> {
        let backend = choice::settle(&config.run_dir, config.backend, &config.places.proc_root);
        let backend = backend.map_err(AgentError::Redirect)?;
        let (probing, settings, places) = (config.probing, config.redirect.clone(), config.places.clone());
        let host_rules = Arc::new(KernelHost::new(probing, settings, places, backend.kind()));
        let redirect = Arc::new(Kernel { backend, settings: config.redirect.clone() });
        let host = HostNetns::read(&config.places.proc_root).map_err(AgentError::Host)?;
        match (&config.source, client) {
            (Source::Kubernetes(_), Some(client)) => {
                let node = &config.policy.node;
                Ok(Self::of_cluster(client, node, redirect, host_rules, host))
            }
            (Source::Kubernetes(_), None) => Err(AgentError::NoClient),
            (Source::Directory { pods, status }, _) => Ok(Self {
                source: Box::new(Directory::new(pods.clone())),
                lookups: None,
                status: status_of_files(status.as_ref())?,
                redirect,
                host_rules,
                reporter: Arc::new(report::Log::default()),
                events: None,
                host,
            }),
        }
    }

    /// Everything that a cluster has to say and hear.
    pub fn of_cluster(
        client: Client,
        node: &str,
        redirect: Arc<dyn Redirect>,
        host_rules: Arc<dyn HostRules>,
        host: HostNetns,
    ) -> Self {
        let (source, lookups) = watch::Kubernetes::new(client.clone(), node.to_owned());
        let (reporter, events) = report::Kubernetes::new(client.clone(), node.to_owned());
        Self {
            source: Box::new(source),
            lookups: Some(lookups),
            status: Arc::new(status::Kubernetes::new(client)),
            redirect,
            host_rules,
            reporter: Arc::new(reporter),
            events: Some(events),
            host,
        }
    }
}

fn status_of_files(dir: Option<&PathBuf>) -> Result<Arc<dyn StatusSink>, AgentError> {
    let Some(dir) = dir else {
        tracing::warn!("no --status-dir: the control plane is not told which pods are captured");
        return Ok(Arc::new(status::InProcess::default()));
    };
    Ok(Arc::new(status::Directory::new(dir.clone()).map_err(AgentError::Status)?))
}

impl Agent {
    /// Puts the sockets in place; nothing is served before [`Agent::run`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// A directory or socket cannot be made.
    pub async fn bind(config: Config, parts: Parts) -> Result<Self, AgentError> {
        let plugins = config.run_dir.join(paths::EVENT_SOCKET_NAME);
        let plugins = listen("plugin calls", &plugins, event::DATAGRAM_LIMIT)?;
        let proxies = listen("proxies", &config.zds_socket, zds::ANSWER_LIMIT)?;
        let checks = match config.serving.health {
            None => None,
            Some(endpoint) => {
                let listener = http_server::listen(&endpoint.candidates()).await;
                Some(listener.map_err(|source| AgentError::Health { endpoint, source })?)
            }
        };
        let scrapes = scrapes(config.serving.metrics).await;
        let path = config.run_dir.join(debug::SOCKET_NAME);
        let shown = http_server::listen_root(&path).map_err(|source| AgentError::Debug { path, source })?;
        let (health, metrics) = (Health::default(), Metrics::new());
        let records = Records::new(config.run_dir.join(RECORDS)).map_err(AgentError::Records)?;
        let (handle, asked) = Handle::new();
        let istio = config.serving.istio_run_dir.as_deref().and_then(compat::Sockets::bind);
        let log = None;
        let (exemptions, exempting) = Exemptions::new(Arc::clone(&parts.host_rules), metrics.clone());
        Ok(Self {
            config,
            parts,
            health,
            metrics,
            proxies,
            plugins,
            checks,
            scrapes,
            shown,
            istio,
            log,
            handle,
            asked,
            exemptions,
            exempting,
            records,
        })
    }

    /// Lets whoever looks into the agent change this log's level.
    #[must_use]
    pub fn with_log(self, log: LogControl) -> Self {
        Self { log: Some(log), ..self }
    }

    /// What the agent says of itself.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// What the agent counts.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// The way to ask it for something while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Which probes pass the proxies.
    #[must_use]
    pub fn exemptions(&self) -> Exemptions {
        self.exemptions.clone()
    }

    /// Works until `stop`. Pods keep their rules, proxies keep serving them, and the next agent takes over.
    ///
    /// # Errors
    /// A socket fails for good.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AgentError> {
        let Self {
            config,
            parts,
            health,
            metrics,
            proxies,
            plugins,
            checks,
            scrapes,
            shown,
            istio,
            log,
            handle,
            asked,
            exemptions,
            exempting,
            records,
        } = self;
        let host = Arc::new(parts.host);
        let (notices, notice_inbox) = mpsc::unbounded_channel();
        let (calls, call_inbox) = mpsc::channel(CALLS);
        let (done, event_inbox) = mpsc::unbounded_channel();
        let server = Server::new(Deadlines::default(), notices, metrics.proxies.clone());
        let (finder, searching) = Finder::new(config.places.clone(), Arc::clone(&host), metrics.pods.clone());
        let remembered = tokio::sync::watch::Sender::new(None);

        restored(&done, records.clone(), config.policy.node.clone(), Arc::clone(&host)).await;
        let (writer, writing) = records::Writer::new(records);

        let mut tasks = JoinSet::new();
        tasks.spawn(searching);
        tasks.spawn(exempting.run());
        if let Some(events) = parts.events {
            tasks.spawn(events.run());
        }
        tasks.spawn(writing);
        tasks.spawn(remember(config.selected_namespaces_file, remembered.subscribe()));
        tasks.spawn(follow(parts.source, Arc::clone(&parts.status), done.clone()));
        tell(&mut tasks, (checks, &health), (scrapes, &metrics));
        let debug = Debug { handle, server: server.clone(), health: health.clone(), log };
        tasks.spawn(debug.serve(shown));
        let desk = Desk { host, calls, metrics: metrics.plugin.clone() };
        if let Some(sockets) = istio {
            tasks.spawn(sockets.serve(desk.clone(), config.places.proc_root));
        }
        let driver = Driver {
            machine: Enrollment::new(config.policy, config.timing),
            server: server.clone(),
            finder,
            status: parts.status,
            lookups: parts.lookups,
            redirect: parts.redirect,
            exemptions,
            remembered,
            health,
            metrics,
            done,
            left: asked.left,
            records: writer,
            reporter: parts.reporter,
            ipv6: config.redirect.ipv6,
            places: Places::new(),
        };
        let inputs = Inputs {
            events: event_inbox,
            notices: notice_inbox,
            calls: call_inbox,
            requests: asked.requests,
        };
        let driven = Box::pin(driver.run(inputs));
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = asked.stop.cancelled() => Ok(()),
            () = driven => Ok(()),
            source = server.serve(proxies) => Err(AgentError::Socket { what: "proxies", source }),
            source = socket::serve(plugins, desk) => {
                Err(AgentError::Socket { what: "plugin calls", source })
            }
        }
    }
}

/// Answers health checks and scrapes.
fn tell(
    tasks: &mut JoinSet<()>,
    (checks, health): (Option<TcpListener>, &Health),
    (scrapes, metrics): (Option<TcpListener>, &Metrics),
) {
    if let Some(listener) = checks {
        tasks.spawn(health.clone().serve(listener));
    }
    if let Some(listener) = scrapes {
        tasks.spawn(metrics.clone().serve(listener));
    }
}

/// What an earlier agent left on record, before anything else is known.
async fn restored(
    events: &mpsc::UnboundedSender<Event>,
    records: Records,
    node: String,
    host: Arc<HostNetns>,
) {
    let loaded = tokio::task::spawn_blocking(move || records.load(&node, &host)).await.unwrap_or_default();
    let Loaded { pods, complete } = loaded;
    tracing::info!(pods = pods.len(), complete, "what an earlier agent left on record");
    // The driver, which hears it, has not begun yet.
    let _ = events.send(Event::Restored { pods, complete });
}

/// Pods do not wait for a port that somebody else has: without it the agent is only not seen.
async fn scrapes(endpoint: Option<Endpoint>) -> Option<TcpListener> {
    let endpoint = endpoint?;
    match http_server::listen(&endpoint.candidates()).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::error!(?endpoint, %error, "metrics are not served");
            None
        }
    }
}

/// Only root may connect: a plugin names the namespaces that we enter, and a proxy is given them.
fn listen(what: &'static str, path: &Path, limit: usize) -> Result<Listener, AgentError> {
    if let Some(dir) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .map_err(|source| AgentError::Directory { path: dir.to_owned(), source })?;
    }
    Listener::bind(path, 0o600, limit).map_err(|source| AgentError::Socket { what, source })
}

/// Passes the source's changes on, each pod with what the status sink says of it.
async fn follow(
    source: Box<dyn PodSource>,
    status: Arc<dyn StatusSink>,
    events: mpsc::UnboundedSender<Event>,
) {
    let (changes, mut inbox) = mpsc::channel(CHANGES);
    let mut source = std::pin::pin!(source.run(changes));
    let mut ended = false;
    let mut known = Some(BTreeSet::new());
    loop {
        let change = tokio::select! {
            change = inbox.recv() => change,
            () = &mut source, if !ended => {
                ended = true;
                continue;
            }
        };
        let Some(change) = change else { break };
        let event = match change {
            Change::NamespaceSeen(namespace) => Event::NamespaceSeen(namespace),
            Change::NamespaceGone(name) => Event::NamespaceGone(name),
            Change::PodGone(uid) => Event::PodGone(uid),
            Change::Synced => {
                if let Some(known) = known.take() {
                    prune(&status, known).await;
                }
                Event::Synced
            }
            Change::PodSeen(pod) => {
                if let Some(known) = &mut known {
                    known.insert(PodUid(pod.metadata.uid.clone()));
                }
                let recorded = status.recorded(Arc::clone(&pod)).await.unwrap_or_else(|error| {
                    let error = chain(&error);
                    tracing::warn!(pod = %pod.full_name(), error, "the pod's last status is unknown");
                    None
                });
                Event::PodSeen { recorded: recorded.or_else(|| pod.redirection()), pod }
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
    tracing::warn!("the source of pods ended; what is known stays");
}

/// Takes back what an earlier agent said of pods that are gone, before anything new is said.
async fn prune(status: &Arc<dyn StatusSink>, known: BTreeSet<PodUid>) {
    if let Err(error) = status.prune(known).await {
        let error = chain(&error);
        tracing::warn!(error, "statuses of pods that are gone may be left");
    }
}

/// Keeps the file of selected namespaces as it was last decided.
async fn remember(file: PathBuf, mut wanted: tokio::sync::watch::Receiver<Option<SelectedNamespaces>>) {
    while wanted.changed().await.is_ok() {
        loop {
            let Some(namespaces) = wanted.borrow_and_update().clone() else {
                break;
            };
            let file = file.clone();
            match tokio::task::spawn_blocking(move || namespaces.write(&file)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    let error = chain(&error);
                    tracing::error!(
                        error,
                        "plugin calls that find no agent will not know the selected namespaces"
                    );
                }
                Err(_) => return,
            }
            tokio::time::sleep(REMEMBER_PAUSE).await;
        }
    }
}

/// Waiting plugin calls and changes beyond these wait in their sockets and sources.
const CALLS: usize = 256;
const CHANGES: usize = 256;
/// The directory of pods' records in the run directory.
const RECORDS: &str = "pods";
const REMEMBER_PAUSE: Duration = Duration::from_secs(2);
