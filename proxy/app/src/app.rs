//! Wiring: which runtime runs what, in which order things start, and in which order they stop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::world::{NodeContext, Strictness};
use proxy_hbone::{RelayLimits, Settings};
use proxy_mtls::{Store, TlsLimits};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xds_client::{CaClient, ads};

use crate::admin::Admin;
use crate::certs::Authority;
use crate::config::{Config, PortConfig, wildcard};
use crate::http_server::{self, Answer, BindError, text, typed};
use crate::ingest::Ingest;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::net::netns::{self, Netns};
use crate::pod::Node;
use crate::ready::{self, Ready};
use crate::telemetry::LogControl;
use crate::workloads::{Follower, Workloads};

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread pool cannot be made.
    #[error("start the {0} runtime")]
    Runtime(&'static str, #[source] std::io::Error),
    /// One of the process's own servers cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A privilege is missing, without which no pod could be served.
    #[error("{attempt}: the proxy needs CAP_SYS_ADMIN and CAP_NET_ADMIN")]
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
    let home = check_privileges(config.sockets.mark)?;
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
    let ready = Ready::waiting_for(&[ready::STATE, ready::PODS]);
    let ready_listeners = http_server::bind(&[wildcard_address(&config.ports, config.ports.ready)]).await?;
    let metrics = Metrics::new(&config.node.istio_version, data_plane.clone());
    let node = node(&config, metrics.clone());
    let workloads = Workloads::default();
    let (synced, when_synced) = watch::channel(config.xds.is_none());
    let admin = Admin {
        node: Arc::clone(&node),
        workloads: workloads.clone(),
        config: Arc::clone(&config),
        log,
        stop: stop.clone(),
    };
    let admin_listeners = http_server::bind(&loopback(&config.ports, config.ports.admin)).await?;
    let stats_listeners = http_server::bind(&[wildcard_address(&config.ports, config.ports.stats)]).await?;

    let answers = ready.clone();
    for listener in ready_listeners {
        let ready = answers.clone();
        tokio::spawn(http_server::serve(listener, stop.clone(), move |request| {
            let answer = ready::serve(&ready, &request);
            async move { answer }
        }));
    }
    for listener in admin_listeners {
        let admin = admin.clone();
        tokio::spawn(http_server::serve(listener, stop.clone(), move |request| {
            let answer = admin.serve(&request);
            async move { answer }
        }));
    }
    for listener in stats_listeners {
        let metrics = metrics.clone();
        tokio::spawn(http_server::serve(listener, stop.clone(), move |request| {
            let answer = stats(&metrics, &request);
            async move { answer }
        }));
    }
    tokio::spawn(sweep(Arc::clone(&node)));
    start_discovery(&config, &node, &metrics, &ready, synced);

    let follower = Follower {
        socket: config.inpod.socket.clone(),
        node: Arc::clone(&node),
        home,
        workloads: workloads.clone(),
        ready: ready.clone(),
        metrics: metrics.pods.clone(),
    };
    let following = data_plane.spawn(follow(follower, when_synced, stop.clone()));
    signalled(&stop).await;
    stop.cancel();
    // The follower first: a pod that is announced from now on belongs to our successor.
    let _ = following.await;
    data_plane.spawn(drain(workloads, config.drain_deadline)).await.unwrap_or_else(|error| {
        tracing::error!("draining failed: {error}");
    });
    Ok(())
}

fn node(config: &Config, metrics: Metrics) -> Arc<Node> {
    let context = NodeContext {
        node_name: config.node.name.as_str().into(),
        network: config.node.network.as_str().into(),
        cluster_domain: config.node.cluster_domain.as_str().into(),
        unknown_policy: Strictness::default(),
    };
    let ca = CaClient::new(config.ca.endpoint.clone(), config.ca.ttl, true);
    let tunnel = &config.tunnel;
    Arc::new(Node {
        live: Arc::new(Live::new(context)),
        certificates: Store::new(
            Arc::new(Authority(Arc::new(ca))),
            config.tls,
            proxy_mtls::Limits::default(),
        ),
        metrics,
        sockets: config.sockets.clone(),
        settings: Settings {
            stream_window: tunnel.stream_window,
            connection_window: tunnel.connection_window,
            frame_size: tunnel.frame_size,
            pool_max_streams: tunnel.pool_max_streams,
            pool_idle: tunnel.pool_idle,
            max_streams: tunnel.max_streams,
            limits: proxy_hbone::Limits {
                handshake: tunnel.settings_timeout,
                response: tunnel.response_timeout,
                resets: tunnel.max_resets,
                ..proxy_hbone::Limits::default()
            },
            ..Settings::default()
        },
        relay: RelayLimits { half_closed: tunnel.half_close_timeout, ..RelayLimits::default() },
        tls: TlsLimits { handshake: tunnel.handshake_timeout },
        tunnel: tunnel.clone(),
        network: config.node.network.as_str().into(),
        log_decisions: config.log.policy_decisions,
    })
}

fn start_discovery(
    config: &Config,
    node: &Arc<Node>,
    metrics: &Metrics,
    ready: &Ready,
    synced: watch::Sender<bool>,
) {
    let Some(xds) = &config.xds else {
        ready.done(ready::STATE);
        return;
    };
    let sink = Ingest {
        live: Arc::clone(&node.live),
        certificates: Arc::clone(&node.certificates),
        metrics: metrics.clone(),
        ready: ready.clone(),
        synced,
    };
    tokio::spawn(ads::run(xds.endpoint.clone(), xds.node.clone(), Arc::new(sink)));
}

/// Pods get their proxies once the world is known: before, every connection would be refused or go out in plain text.
async fn follow(follower: Follower, mut synced: watch::Receiver<bool>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => return,
        known = synced.wait_for(|synced| *synced) => if known.is_err() { return },
    }
    follower.run(stop).await;
}

async fn drain(workloads: Workloads, deadline: Duration) {
    tracing::info!("draining: open connections may finish within {deadline:?}");
    workloads.drain();
    if timeout(deadline, workloads.finished()).await.is_err() {
        tracing::warn!("connections are still open after {deadline:?} and are cut");
    }
    workloads.stop().await;
}

/// Resolves when the process is asked to stop. A second SIGINT ends it at once.
async fn signalled(stop: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; POST /quitquitquit on the admin port stops the process");
        return stop.cancelled().await;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM"),
        _ = interrupt.recv() => {
            tracing::info!("SIGINT; a second one ends the process at once");
            tokio::spawn(async move {
                interrupt.recv().await;
                std::process::exit(0);
            });
        }
        () = stop.cancelled() => tracing::info!("asked to stop"),
    }
}

fn stats(metrics: &Metrics, request: &hyper::Request<hyper::body::Incoming>) -> Answer {
    if !matches!(request.uri().path(), "/metrics" | "/stats/prometheus") {
        return text(hyper::StatusCode::NOT_FOUND, "not found; try /metrics\n");
    }
    let openmetrics =
        request.headers().get_all(http::header::ACCEPT).iter().any(|accept| {
            accept.to_str().is_ok_and(|accept| accept.contains("application/openmetrics-text"))
        });
    let content_type = if openmetrics {
        "application/openmetrics-text;charset=utf-8;version=1.0.0"
    } else {
        "text/plain; charset=utf-8"
    };
    match metrics.encode() {
        Ok(body) => typed(hyper::StatusCode::OK, content_type, body),
        Err(_) => text(hyper::StatusCode::INTERNAL_SERVER_ERROR, "the metrics do not encode\n"),
    }
}

/// Series end some time after their workloads have: ten sweeps are enough for any scrape interval.
async fn sweep(node: Arc<Node>) {
    let mut every = tokio::time::interval(Duration::from_secs(60));
    loop {
        every.tick().await;
        let world = node.live.snapshot();
        let live: std::collections::HashSet<_> =
            world.workloads().map(|w| ((&w.namespace).into(), (&w.workload_name).into())).collect();
        let known = |side: &crate::metrics::traffic::Side| {
            live.contains(&(side.namespace.clone(), side.workload.clone()))
        };
        node.metrics.traffic.sweep(10, |labels| !(known(&labels.source) && known(&labels.destination)));
    }
}

/// Many pods mean many sockets, and the soft limit is meant for shells.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("cannot raise the limit of open files from {soft} to {hard}: {error}");
    }
}

/// Enters our own namespace and marks a socket: whoever may do that may serve pods.
fn check_privileges(mark: u32) -> Result<Arc<OwnedFd>, StartError> {
    let failed = |attempt| move |source| StartError::Privilege { attempt, source };
    let home = netns::home().map_err(failed("open the own network namespace"))?;
    let own = home.try_clone().map_err(failed("open the own network namespace"))?;
    let own = Netns::new(own, Arc::clone(&home)).map_err(failed("examine the own network namespace"))?;
    own.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_mark(mark)
    })
    .map_err(failed("enter a network namespace"))?
    .map_err(failed("set SO_MARK on a socket"))?;
    Ok(home)
}

const fn wildcard_address(ports: &PortConfig, port: u16) -> SocketAddr {
    SocketAddr::new(wildcard(ports.ipv6), port)
}

fn loopback(ports: &PortConfig, port: u16) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)];
    if ports.ipv6 {
        addresses.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port));
    }
    addresses
}
