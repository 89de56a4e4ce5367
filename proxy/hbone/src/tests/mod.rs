//! Tunnels between real loopback sockets, over connections in memory.

mod conversation;
mod endings;
mod nested;
mod pooling;
mod raw;
mod serving;
mod sizes;

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use proxy_core::Reason;
use proxy_core::model::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{
    ConnectHead, DialError, Dialed, Ended, Incoming, Meter, Pool, PoolKey, RelayError, RelayLimits, Settings,
    Side, Tunnel, TunnelError, serve,
};

type Relayed = Result<Ended<()>, RelayError>;

#[derive(Debug, thiserror::Error)]
#[error("dial number {0} failed")]
struct NoRoute(usize);

impl DialError for NoRoute {
    fn reason(&self) -> Reason {
        Reason::ConnectFailed
    }
}

/// A pool whose connections lead to servers that relay every stream to one listener.
struct Mesh {
    pool: Arc<Pool>,
    settings: Settings,
    limits: RelayLimits,
    listener: Arc<TcpListener>,
    dials: Arc<AtomicUsize>,
    /// How the server's relays ended.
    served: mpsc::UnboundedReceiver<Relayed>,
    server_meters: mpsc::UnboundedReceiver<Arc<Meter>>,
    told: Told,
    /// How many of the servers are to drain, the oldest first.
    drain: tokio::sync::watch::Sender<usize>,
    connections: mpsc::UnboundedSender<Result<(), TunnelError>>,
    closed: mpsc::UnboundedReceiver<Result<(), TunnelError>>,
}

/// Where a server's handlers report their relays.
#[derive(Clone)]
struct Told {
    started: mpsc::UnboundedSender<Arc<Meter>>,
    ended: mpsc::UnboundedSender<Relayed>,
}

/// A relay in progress: `near` is the application that opened it, `far` the one it is for.
struct Talk {
    near: TcpStream,
    far: TcpStream,
    meter: Arc<Meter>,
    server_meter: Arc<Meter>,
    relay: JoinHandle<Relayed>,
}

impl Mesh {
    async fn new(settings: Settings, limits: RelayLimits) -> Self {
        let (tell_served, served) = mpsc::unbounded_channel();
        let (tell_meter, server_meters) = mpsc::unbounded_channel();
        let (connections, closed) = mpsc::unbounded_channel();
        Self {
            pool: Arc::new(Pool::new(settings.clone())),
            settings,
            limits,
            listener: Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap()),
            dials: Arc::default(),
            served,
            server_meters,
            told: Told { ended: tell_served, started: tell_meter },
            drain: tokio::sync::watch::channel(0).0,
            connections,
            closed,
        }
    }

    async fn usual() -> Self {
        Self::new(Settings::default(), RelayLimits::default()).await
    }

    fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    /// Connects to a new server that relays to the listener.
    fn dial(&self) -> impl Future<Output = Result<Dialed<DuplexStream>, NoRoute>> + Send + 'static + use<> {
        let number = self.dials.fetch_add(1, Ordering::SeqCst) + 1;
        let to = self.listener.local_addr().unwrap();
        let (told, limits) = (self.told.clone(), self.limits);
        let handler = move |incoming: Incoming| relay_to(incoming, to, told.clone(), limits);
        let (ours, theirs) = duplex(64 << 10);
        let settings = self.settings.clone();
        let mut drain = self.drain.subscribe();
        let connections = self.connections.clone();
        async move {
            tokio::spawn(async move {
                let drained = async move { drop(drain.wait_for(|drained| *drained >= number).await) };
                drop(connections.send(serve(theirs, &settings, drained, handler).await));
            });
            Ok(Dialed::new(ours, identity("server")))
        }
    }

    async fn open(&self) -> Result<Tunnel, TunnelError> {
        self.pool.open(&key("uid"), || self.dial(), &head()).await
    }

    async fn talk(&mut self) -> Talk {
        self.talk_until(pending()).await
    }

    async fn talk_until(&mut self, cut: impl Future<Output = ()> + Send + 'static) -> Talk {
        let (tunnel, far) = tokio::join!(self.open(), self.listener.accept());
        let (near, app) = sockets().await;
        let meter = Arc::new(Meter::new());
        let relay = {
            let (meter, tunnel, limits) = (Arc::clone(&meter), tunnel.unwrap(), self.limits);
            tokio::spawn(async move { tunnel.relay(app, &meter, cut, &limits).await })
        };
        let server_meter = self.server_meters.recv().await.unwrap();
        Talk { near, far: far.unwrap().0, meter, server_meter, relay }
    }

    async fn served(&mut self) -> Relayed {
        self.served.recv().await.unwrap()
    }
}

async fn relay_to(incoming: Incoming, to: std::net::SocketAddr, told: Told, limits: RelayLimits) {
    let app = TcpStream::connect(to).await.unwrap();
    let Ok(tunnel) = incoming.accept(Some("service.name=far")) else { return };
    let meter = Arc::new(Meter::new());
    drop(told.started.send(Arc::clone(&meter)));
    let ended = tunnel.relay(app, &meter, pending(), &limits).await;
    drop(told.ended.send(ended));
}

fn identity(name: &str) -> Identity {
    format!("spiffe://cluster.local/ns/default/sa/{name}").parse().unwrap()
}

fn key(uid: &str) -> PoolKey {
    PoolKey {
        source: identity("client"),
        expected: vec![identity("server")],
        next_hop: "10.0.0.2:15008".parse().unwrap(),
        source_ip: "10.0.0.1".parse().unwrap(),
        workload_uid: Some(uid.into()),
    }
}

fn head() -> ConnectHead {
    ConnectHead {
        authority: "10.0.0.2:80".parse().unwrap(),
        baggage: "service.name=near".to_owned(),
        forwarded: "for=\"10.0.0.1:4711\"".to_owned(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".to_owned(),
        network: None,
    }
}

/// Two ends of one loopback connection.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), accepted.unwrap().0)
}

/// Sends RST.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

async fn say(stream: &mut TcpStream, words: &[u8]) {
    stream.write_all(words).await.unwrap();
}

async fn hear(stream: &mut TcpStream, words: &[u8]) {
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, words);
}

/// Reads to FIN.
async fn hear_fin(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

/// Reads to RST, and returns what came before.
async fn hear_rst(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let error = stream.read_to_end(&mut rest).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    rest
}

/// Waits for something that another task brings about.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn bytes(size: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(size / 251 + 1);
    bytes.truncate(size);
    bytes
}

#[track_caller]
fn assert_copied(relayed: &Relayed) {
    assert!(matches!(relayed, Ok(Ended::Copied)), "{relayed:?}");
}

#[track_caller]
fn assert_reset(relayed: &Relayed, side: Side) {
    assert!(matches!(relayed, Ok(Ended::Reset { by }) if *by == side), "{relayed:?}");
}

/// Polls once.
async fn now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
