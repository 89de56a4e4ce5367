//! One pod's proxy: what its connections share, its three listeners, and how it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proxy_core::Str;
use proxy_core::decide::guard;
use proxy_core::model::PodInfo;
use proxy_hbone::{Pool, RelayLimits, Settings};
use proxy_mtls::{Store, TlsLimits};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::accept;
use crate::config::{SocketConfig, TunnelConfig};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::net::listen::{ListenError, Listener, listen};
use crate::net::netns::Netns;
use crate::{inbound, outbound, passthrough};

/// What all pods of the node share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) live: Arc<Live>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) metrics: Metrics,
    pub(crate) sockets: SocketConfig,
    pub(crate) tunnel: TunnelConfig,
    pub(crate) settings: Settings,
    pub(crate) relay: RelayLimits,
    pub(crate) tls: TlsLimits,
    /// The network of this node.
    pub(crate) network: Str,
    /// Log each policy decision at info.
    pub(crate) log_decisions: bool,
}

/// What the connections of one pod share.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) info: PodInfo,
    pub(crate) netns: Netns,
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Pool,
    /// Handshakes in progress with peers that are not known yet.
    pub(crate) handshakes: Semaphore,
    /// No new connections; tunnels say goodbye.
    pub(crate) closing: CancellationToken,
    /// What is still open ends now.
    pub(crate) cut: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// The accept loops, each with its port.
    listeners: TaskTracker,
    pub(crate) open: Open,
}

/// The connections of a pod that are open, for the dump.
#[derive(Debug, Default)]
pub(crate) struct Open {
    next: AtomicU64,
    connections: Mutex<BTreeMap<u64, OpenConnection>>,
}

/// One open connection.
#[derive(Debug, Clone)]
pub(crate) struct OpenConnection {
    pub(crate) outbound: bool,
    pub(crate) source: SocketAddr,
    /// Where the client wanted to go: an address, or the service it named.
    pub(crate) original: Option<String>,
    pub(crate) actual: Option<SocketAddr>,
    pub(crate) protocol: &'static str,
}

impl Open {
    pub(crate) fn insert(&self, connection: OpenConnection) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(id, connection);
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        self.connections.lock().remove(&id);
    }

    pub(crate) fn list(&self) -> Vec<OpenConnection> {
        self.connections.lock().values().cloned().collect()
    }
}

impl Pod {
    /// Binds the pod's listeners and serves them.
    ///
    /// # Errors
    /// One of them cannot be bound; none is left behind.
    pub(crate) fn start(info: PodInfo, netns: Netns, node: &Arc<Node>) -> Result<Arc<Self>, ListenError> {
        let bind = |port| listen(&netns, &node.sockets, port);
        let (tunnels, plain, captured) =
            (bind(guard::HBONE)?, bind(guard::PASSTHROUGH)?, bind(guard::OUTBOUND)?);
        let pod = Arc::new(Self {
            info,
            netns,
            node: Arc::clone(node),
            pool: Pool::new(node.settings.clone()),
            handshakes: Semaphore::new(node.tunnel.max_handshakes),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            listeners: TaskTracker::new(),
            open: Open::default(),
        });
        pod.serve(tunnels, |pod, transparent, stream, peer| inbound::serve(pod, stream, peer, transparent));
        pod.serve(plain, |pod, transparent, stream, peer| passthrough::serve(pod, stream, peer, transparent));
        pod.serve(captured, |pod, _, stream, peer| outbound::serve(pod, stream, peer));
        Ok(pod)
    }

    fn serve<S, F>(self: &Arc<Self>, listener: Listener, serve: S)
    where
        S: Fn(Arc<Self>, bool, tokio::net::TcpStream, SocketAddr) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Listener { socket, transparent } = listener;
        let pod = Arc::clone(self);
        let connection = move |stream, peer| {
            let serving = serve(Arc::clone(&pod), transparent, stream, peer);
            let pod = Arc::clone(&pod);
            async move {
                tokio::select! {
                    biased;
                    () = serving => {}
                    // Whatever it still waits for, its record is written and its sockets are reset as it is dropped.
                    () = pod.finally_cut() => {}
                }
            }
        };
        // Not among `tasks`: it ends with `closing`, and what it accepted is what a drain waits for.
        self.listeners.spawn(accept(socket, self.closing.clone(), self.tasks.clone(), connection));
    }

    /// No new connections; the open ones go on.
    pub(crate) fn drain(&self) {
        self.closing.cancel();
        self.listeners.close();
        self.tasks.close();
    }

    /// Waits until the ports are free, which they soon are after [`Pod::drain`].
    pub(crate) async fn unbound(&self) {
        self.listeners.wait().await;
    }

    /// Waits until every connection has ended and is recorded; for ever unless the pod drains.
    pub(crate) async fn finished(&self) {
        self.unbound().await;
        self.tasks.wait().await;
    }

    /// Ends what is open, and waits until every ending is recorded.
    pub(crate) async fn stop(&self) {
        self.drain();
        self.cut.cancel();
        self.finished().await;
    }

    /// Resolves a moment after the cut: until then connections end by themselves, and tell their ends more exactly.
    async fn finally_cut(&self) {
        self.cut.cancelled().await;
        tokio::time::sleep(LAST_MOMENT).await;
    }
}

/// How long a connection that is cut may take to end.
const LAST_MOMENT: Duration = Duration::from_secs(1);
