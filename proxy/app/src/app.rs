//! Wiring: which runtime runs what, in which order things start, and in which order they stop.

mod privilege;
mod resident;
mod servers;
mod stop;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use proxy_mtls::CrlFile;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xds_client::{Following, Questions, ads};

use crate::admin::{self, Admin};
use crate::config::{Config, ProxyMode};
use crate::http_server::{BindError, Large};
use crate::ingest::Ingest;
use crate::metrics::{About, Metrics};
use crate::net::listen::ListenError;
use crate::node::{self, Node};
use crate::ready::{self, Ready};
use crate::snapshot::Keeper;
use crate::telemetry::LogControl;
use crate::workloads::{Follower, Workloads};
use privilege::{check_privileges, raise_descriptor_limit};
use servers::Servers;

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread pool cannot be made.
    #[error("start the {0} runtime")]
    Runtime(&'static str, #[source] std::io::Error),
    /// One of the process's own servers cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A port on which the process serves its own namespace is taken.
    #[error(transparent)]
    Listen(ListenError),
    /// A privilege is missing, without which nobody could be served.
    #[error("{attempt}: the proxy needs {needs}", needs = privilege::NEEDED)]
    Privilege {
        /// What was tried.
        attempt: &'static str,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the node's proxy until it is told to stop and has drained.
///
/// # Errors
/// Something it cannot do without is not there; nothing was served.
pub fn run(config: Config, log: LogControl) -> Result<(), StartError> {
    raise_descriptor_limit();
    let home = check_privileges(&config)?;
    let workers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads)
        .thread_name("data-plane")
        .enable_all()
        .build()
        .map_err(|source| StartError::Runtime("data plane", source))?;
    let control = tokio::runtime::Builder::new_current_thread()
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|source| StartError::Runtime("control", source))?;
    let result = control.block_on(serve(Arc::new(config), log, home, workers.handle().clone()));
    finish(workers);
    finish(control);
    result
}

/// Nothing that is left may hold the end of the process up.
fn finish(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::from_millis(100));
}

async fn serve(
    config: Arc<Config>,
    log: LogControl,
    home: Arc<OwnedFd>,
    data_plane: Handle,
) -> Result<(), StartError> {
    let stop = CancellationToken::new();
    let servers = Servers::bind(&config.ports).await?;
    let metrics = Metrics::new(About {
        tag: &config.node.istio_version,
        data_plane: data_plane.clone(),
        lines_lost: log.lines_lost(),
        max_series: config.max_series,
    });
    let ready = Ready::waiting_for(match config.mode {
        ProxyMode::Shared { .. } => &[ready::STATE, ready::PODS],
        ProxyMode::Dedicated(_) => &[ready::STATE, ready::PROXY],
    });
    let ready = ready.telling(metrics.pending.clone());
    let on_demand = config.xds.as_ref().filter(|xds| xds.on_demand);
    let (demand, questions) = on_demand.map(|_| xds_client::demand()).unzip();
    let node = Node::new(&config, metrics.clone(), demand);
    let workloads = Workloads::default();
    let (synced, when_synced) = watch::channel(config.xds.is_none());
    let admin = Admin {
        node: Arc::clone(&node),
        workloads: workloads.clone(),
        config: Arc::clone(&config),
        log,
        stop: stop.clone(),
        dumps: Large::at_most(admin::DUMPS),
    };
    let resident = resident::bind(&config, &node, &home, &data_plane)?;
    ready.done(ready::PROXY);
    servers.serve(&ready, &admin, &metrics, &stop);
    tokio::spawn(node::sweep(Arc::clone(&node)));
    follow_revocations(&config, &node).await;
    start_discovery(&config, &node, &metrics, &ready, synced, questions);

    let mut serving = JoinSet::new();
    if let Some(bound) = resident {
        let serve = resident::serve(bound, workloads.clone(), when_synced.clone(), stop.clone());
        serving.spawn_on(serve, &data_plane);
    }
    if matches!(config.mode, ProxyMode::Shared { .. }) {
        let follower = Follower {
            socket: config.inpod.socket.clone(),
            node: Arc::clone(&node),
            home,
            workloads: workloads.clone(),
            ready: ready.clone(),
            metrics: metrics.pods.clone(),
        };
        serving.spawn_on(follow(follower, when_synced, stop.clone()), &data_plane);
    }
    stop::signalled(&stop).await;
    stop.cancel();
    // The follower first: a pod that is announced from now on belongs to our successor.
    while serving.join_next().await.is_some() {}
    data_plane.spawn(stop::drain(workloads, config.drain_deadline)).await.unwrap_or_else(|error| {
        tracing::error!("draining failed: {error}");
    });
    Ok(())
}

/// Before the first peer comes, and from then on.
async fn follow_revocations(config: &Config, node: &Node) {
    if let Some(asked) = &config.revocation {
        let mut file = CrlFile::new(&asked.path);
        file.begin(&node.revocations).await;
        tokio::spawn(proxy_mtls::follow(file, Arc::clone(&node.revocations)));
    }
}

fn start_discovery(
    config: &Config,
    node: &Arc<Node>,
    metrics: &Metrics,
    ready: &Ready,
    synced: watch::Sender<bool>,
    questions: Option<Questions>,
) {
    let keeper = config.snapshot.clone().filter(|_| config.xds.is_some());
    let keeper = keeper.map(|at| Keeper::new(at, &config.node, metrics.snapshot.clone()));
    let sink = Ingest {
        live: Arc::clone(&node.live),
        certificates: matches!(config.mode, ProxyMode::Shared { .. }).then(|| Arc::clone(&node.certificates)),
        metrics: metrics.clone(),
        ready: ready.clone(),
        synced,
        keeper: keeper.clone(),
    };
    sink.local(config.local.changes.clone());
    let Some(xds) = &config.xds else {
        ready.done(ready::STATE);
        return;
    };
    let fallback = keeper.as_ref().map(|keeper| keeper.wait());
    if let Some(keeper) = keeper {
        tokio::spawn(keeper.run());
    }
    tokio::spawn(ads::run(Following {
        endpoint: xds.endpoint.clone(),
        node: xds.node.clone(),
        sink: Arc::new(sink),
        on_demand: questions,
        fallback,
    }));
}

/// Pods get their proxies once the world is known: before, every connection would be refused or go out in plain text.
async fn follow(follower: Follower, mut synced: watch::Receiver<bool>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => return,
        known = synced.wait_for(|synced| *synced) => if known.is_err() { return },
    }
    follower.run(stop).await;
}
