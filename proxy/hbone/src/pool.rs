//! One connection for all streams that may share it: same source, same next hop, same expectations.

mod dial;
mod reuse;
mod shelf;

use std::future::{Future, pending};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use h2::client::SendRequest;
use parking_lot::Mutex;
use proxy_core::Str;
use proxy_core::model::Identity;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{self, ConnectHead, Hold, Tunnel};
use crate::error::{DialError, TunnelError};
use crate::piece::Piece;
use crate::settings::Settings;
use dial::Duty;
use shelf::Shelves;

/// What must be equal for two streams to share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// Whose certificate we present.
    pub source: Identity,
    /// Whom we insist on meeting.
    pub expected: Vec<Identity>,
    /// Where we connect to.
    pub next_hop: SocketAddr,
    /// The application's own address.
    pub source_ip: IpAddr,
    /// The destination workload: an address that gets a new owner never meets a tunnel to the old one.
    pub workload_uid: Option<Str>,
}

/// What a dial brings.
pub struct Dialed<S> {
    /// Authenticated, and ready for HTTP/2.
    pub stream: S,
    /// Who answered.
    pub peer: Identity,
    /// Resolves when the peer may no longer be talked to, whatever the connection carries.
    pub revoked: BoxFuture<'static, ()>,
}

impl<S> Dialed<S> {
    /// A connection to a peer that is good for as long as it lasts.
    #[must_use]
    pub fn new(stream: S, peer: Identity) -> Self {
        Self { stream, peer, revoked: Box::pin(pending()) }
    }
}

/// The tunnel connections of one workload. Dropping it closes them all, streams included.
#[derive(Debug)]
pub struct Pool {
    inner: Arc<Inner>,
    /// Never written: its end is the signal.
    _open: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    open: watch::Receiver<()>,
    /// Held for look-ups only: never over I/O, a dial, or the end of a [`Lease`].
    shelves: Mutex<Shelves>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (sender, open) = watch::channel(());
        let shelves = Mutex::new(Shelves::default());
        Self { inner: Arc::new(Inner { settings, open, shelves }), _open: sender }
    }

    /// Opens a tunnel stream on a shared connection, dialing one with `dial` when none has room.
    ///
    /// `dial` connects, shakes hands and says who answered, and when that is over; it must end in bounded time. It runs in a task of its own, so
    /// that an opener that gives up does not take it from the others who wait for the same dial. Whoever waits for a dial
    /// shares its error.
    ///
    /// A request that the peer cannot have processed, because its connection was going away, is made once more on a fresh
    /// connection; `dial` may therefore be called twice.
    ///
    /// # Errors
    /// When the dial fails, the peer stalls, refuses, or goes away.
    pub async fn open<D, F, S, E>(
        &self,
        key: &PoolKey,
        dial: D,
        head: &ConnectHead,
    ) -> Result<Tunnel, TunnelError>
    where
        D: Fn() -> F,
        F: Future<Output = Result<Dialed<S>, E>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        E: DialError,
    {
        let request = head.request()?;
        let mut fresh = false;
        loop {
            let lease = self.lease(key, &dial, fresh).await?;
            let reused = lease.reused;
            match client::connect(Hold::Lease(lease), request.clone(), &self.inner.settings).await {
                Err(error) if !fresh && error.may_retry(reused) => {
                    tracing::debug!("CONNECT is made again on a fresh connection: {error}");
                    fresh = true;
                }
                result => return result,
            }
        }
    }

    /// Connections that new streams may use.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.shelves.lock().connections()
    }

    async fn lease<D, F, S, E>(&self, key: &PoolKey, dial: &D, fresh: bool) -> Result<Lease, TunnelError>
    where
        D: Fn() -> F,
        F: Future<Output = Result<Dialed<S>, E>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        E: DialError,
    {
        loop {
            let waiting = match self.inner.take(key, fresh) {
                Taken::Lease(lease) => return Ok(lease),
                Taken::Join(waiting) => waiting,
                Taken::Dial(duty, waiting) => {
                    tokio::spawn(duty.run(dial()));
                    waiting
                }
            };
            if let Ok(answer) = waiting.await {
                return answer;
            }
            // The connection came, and takes fewer streams than there were openers.
        }
    }
}

/// A place for one stream on a connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    inner: Arc<Inner>,
    key: Arc<PoolKey>,
    id: ConnectionId,
    requests: SendRequest<Piece>,
    peer: Arc<Identity>,
    /// Cancelled when the peer may no longer be talked to.
    revoked: CancellationToken,
    /// Whether the connection was there before it was wanted.
    reused: bool,
}

impl Lease {
    pub(crate) const fn requests(&mut self) -> &mut SendRequest<Piece> {
        &mut self.requests
    }

    pub(crate) fn peer(&self) -> &Identity {
        &self.peer
    }

    pub(crate) const fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let max_idle = self.inner.settings.pool_max_idle;
        self.inner.shelves.lock().give_back(&self.key, self.id, max_idle, Instant::now());
    }
}

/// What an opener gets from the shelves.
enum Taken {
    Lease(Lease),
    Join(oneshot::Receiver<Answer>),
    Dial(Duty, oneshot::Receiver<Answer>),
}

/// What a dial brings to one who waits for it.
type Answer = Result<Lease, TunnelError>;

/// Tells connections of one pool apart.
type ConnectionId = u64;
