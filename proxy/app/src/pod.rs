//! One pod's proxy: what its connections share, its three listeners, and how it ends.

mod open;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::decide::guard;
use proxy_core::model::PodInfo;
use proxy_hbone::Pool;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::accept;
use crate::config::SocketConfig;
use crate::descriptors::Holder;
use crate::handshakes::Handshakes;
use crate::net::listen::{ListenError, Listener, Port, listen};
use crate::net::netns::Netns;
use crate::node::Node;
use crate::{dns, inbound, outbound, passthrough, socks5};

pub(crate) use open::{Open, OpenConnection};

/// Where a proxy serves one workload, and how its sockets are made.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) info: PodInfo,
    pub(crate) netns: Netns,
    pub(crate) sockets: Arc<SocketConfig>,
}

/// What one of a pod's ports is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Tunnels to the application.
    Tunnels,
    /// Plaintext to the application, redirected.
    Plain,
    /// Connections that the application opens, redirected.
    Captured,
    /// Connections that the application asks for.
    Asked,
    /// What the application asks its resolver, redirected.
    Dns,
}

impl Role {
    /// Everything that a pod in the mesh needs.
    pub(crate) const fn pod(socks5: bool) -> &'static [Self] {
        let all = &[Self::Dns, Self::Tunnels, Self::Plain, Self::Captured, Self::Asked];
        match (socks5, all) {
            (true, all) => all,
            (false, [pod @ .., _]) => pod,
        }
    }

    /// The port without which there is no proxy; DNS comes when it can.
    const fn port(self) -> Option<Port> {
        let (number, loopback, keepalive) = match self {
            // HTTP/2 asks the peer itself.
            Self::Tunnels => (guard::HBONE, false, false),
            Self::Plain => (guard::PASSTHROUGH, false, true),
            Self::Captured => (guard::OUTBOUND, false, true),
            Self::Asked => (guard::SOCKS5, true, false),
            Self::Dns => return None,
        };
        Some(Port { number, loopback, keepalive })
    }
}

/// What the connections of one pod share.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) info: PodInfo,
    pub(crate) netns: Netns,
    pub(crate) sockets: Arc<SocketConfig>,
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Pool,
    /// The tunnels of connections that were asked for, which no redirected one shares.
    pub(crate) asked: Pool,
    /// Handshakes in progress with peers that are not known yet.
    pub(crate) handshakes: Handshakes,
    /// No new connections; tunnels say goodbye.
    pub(crate) closing: CancellationToken,
    /// What is still open ends now.
    pub(crate) cut: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Those of the node that its connections have.
    pub(crate) descriptors: Arc<Holder>,
    /// The accept loops, each with its port.
    listeners: TaskTracker,
    pub(crate) open: Open,
}

/// A pod whose ports are bound: connections queue, and nobody accepts them yet.
#[derive(Debug)]
pub(crate) struct Bound {
    pod: Arc<Pod>,
    listeners: Vec<(Role, Listener)>,
    dns: bool,
}

impl Bound {
    /// Begins to accept.
    pub(crate) fn serve(self) -> Arc<Pod> {
        let Self { pod, listeners, dns } = self;
        if dns {
            dns::serve(&pod);
        }
        for (role, listener) in listeners {
            pod.accept(role, listener);
        }
        pod
    }
}

impl Pod {
    /// Binds a port for each of `roles`.
    ///
    /// # Errors
    /// One of them cannot be bound; none is left behind.
    pub(crate) fn bind(place: Place, roles: &[Role], node: &Arc<Node>) -> Result<Bound, ListenError> {
        let Place { info, netns, sockets } = place;
        let wanted = |role: &Role| node.proxy || *role == Role::Dns;
        let ports = roles.iter().filter(|role| wanted(role)).filter_map(|role| Some((*role, role.port()?)));
        let bind = |(role, port)| Ok((role, listen(&netns, &sockets, port)?));
        let listeners = ports.map(bind).collect::<Result<_, _>>()?;
        let pod = Arc::new(Self {
            descriptors: node.descriptors.holder(info.clone()),
            info,
            netns,
            sockets,
            node: Arc::clone(node),
            pool: Pool::new(node.settings.clone()),
            asked: Pool::new(node.settings.clone()),
            handshakes: Handshakes::new(node.tunnel.max_handshakes),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            listeners: TaskTracker::new(),
            open: Open::default(),
        });
        Ok(Bound { pod, listeners, dns: roles.contains(&Role::Dns) })
    }

    fn accept(self: &Arc<Self>, role: Role, listener: Listener) {
        let Listener { socket, transparent } = listener;
        match role {
            Role::Tunnels => {
                self.serve(socket, move |pod, stream, peer| inbound::serve(pod, stream, peer, transparent));
            }
            Role::Plain => {
                self.serve(socket, move |pod, stream, peer| {
                    passthrough::serve(pod, stream, peer, transparent)
                });
            }
            Role::Captured => self.serve(socket, outbound::serve),
            Role::Asked => self.serve(socket, socks5::serve),
            Role::Dns => {}
        }
    }

    /// Serves what a listener accepts, until the pod closes.
    pub(crate) fn serve<S, F>(self: &Arc<Self>, listener: TcpListener, serve: S)
    where
        S: Fn(Arc<Self>, TcpStream, SocketAddr) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let pod = Arc::clone(self);
        let connection = move |stream, peer| {
            let serving = serve(Arc::clone(&pod), stream, peer);
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
        self.listeners.spawn(accept(listener, self.closing.clone(), self.tasks.clone(), connection));
    }

    /// Runs something that holds a port of the pod, and lets go of it when the pod closes.
    pub(crate) fn track_listener(&self, listener: impl Future<Output = ()> + Send + 'static) {
        self.listeners.spawn(listener);
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
pub(crate) const LAST_MOMENT: Duration = Duration::from_secs(1);
