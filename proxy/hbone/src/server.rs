//! The asked side: tunnel streams that come in on one accepted connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::BAGGAGE;
use crate::error::TunnelError;
use crate::keepalive;
use crate::meter::Meter;
use crate::piece::Piece;
use crate::relay::{self, Ended, RelayError, Side};
use crate::settings::{RelayLimits, Settings};

/// Serves one authenticated connection: every stream on it is handed to `handler`, in a task of its own.
///
/// When `drain` resolves, the peer is told to go away, streams run on, and one whose request crossed that message is still
/// served. Returns when the connection has closed and every handler has finished; streams that are still open when the
/// connection fails are reset. When this future is dropped, handlers are aborted.
///
/// # Errors
/// When the peer stalls before its first SETTINGS, breaks the protocol, answers no PING, or resets too many streams.
pub async fn serve<S, D, H, F>(
    stream: S,
    settings: &Settings,
    drain: D,
    handler: H,
) -> Result<(), TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Future<Output = ()>,
    H: Fn(Incoming) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let limit = settings.limits.handshake;
    let started = Instant::now();
    let connection = timeout(limit, settings.server().handshake::<_, Piece>(stream))
        .await
        .map_err(|_elapsed| TunnelError::SettingsTimeout { limit })?
        .map_err(TunnelError::handshake)?;
    let mut serving = Serving {
        connection: Box::new(connection),
        handlers: JoinSet::new(),
        resets: Arc::default(),
        most_handlers: usize::try_from(settings.max_streams).unwrap_or(usize::MAX).saturating_mul(2),
    };
    let ended = serving.run(settings, started + limit, drain, handler).await;
    let Serving { connection, mut handlers, .. } = serving;
    // Tells the handlers' streams, if there are any, that they are over.
    drop(connection);
    while let Some(finished) = handlers.join_next().await {
        report(finished);
    }
    ended
}

/// A request for a tunnel stream, to be accepted or refused. Dropped, it is reset.
#[derive(Debug)]
pub struct Incoming {
    head: Parts,
    recv: RecvStream,
    answer: Answer,
}

/// The right to answer once.
#[derive(Debug)]
struct Answer {
    respond: SendResponse<Piece>,
    resets: Arc<AtomicU32>,
    given: bool,
}

/// An open tunnel stream from a client.
#[derive(Debug)]
pub struct ServerTunnel {
    stream: relay::Stream,
}

struct Serving<S> {
    connection: Box<Connection<S, Piece>>,
    handlers: JoinSet<()>,
    /// Streams that the peer reset before they were answered.
    resets: Arc<AtomicU32>,
    /// Handlers outlive the streams that their peer resets, and HTTP/2 counts only streams.
    most_handlers: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    async fn run<D, H, F>(
        &mut self,
        settings: &Settings,
        settled_by: Instant,
        drain: D,
        handler: H,
    ) -> Result<(), TunnelError>
    where
        D: Future<Output = ()>,
        H: Fn(Incoming) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let limits = &settings.limits;
        let mut drain = pin!(drain);
        let mut draining = false;
        let mut dead = pin!(keepalive::until_dead(self.connection.ping_pong(), limits));
        let mut settled = pin!(sleep_until(settled_by));
        let mut settling = true;
        let mut window_ends = Instant::now() + RESET_WINDOW;
        loop {
            let accept = self.handlers.len() < self.most_handlers;
            tokio::select! {
                biased;
                () = &mut drain, if !draining => {
                    draining = true;
                    self.connection.graceful_shutdown();
                }
                () = &mut dead => {
                    return Err(TunnelError::KeepaliveTimeout { limit: limits.ping_timeout });
                }
                () = &mut settled, if settling => {
                    settling = false;
                    // Lifted from 0 by the peer's first SETTINGS.
                    if self.connection.max_concurrent_send_streams() == 0 {
                        self.hang_up(Reason::SETTINGS_TIMEOUT).await;
                        return Err(TunnelError::SettingsTimeout { limit: limits.handshake });
                    }
                }
                Some(finished) = self.handlers.join_next(), if !self.handlers.is_empty() => report(finished),
                next = next_stream(&mut self.connection, accept) => match next {
                    None => return Ok(()),
                    // Peers close connections that carry nothing without a word.
                    Some(Err(error)) if error.is_io() && self.handlers.is_empty() => return Ok(()),
                    Some(Err(error)) => return Err(TunnelError::failed(error)),
                    Some(Ok((request, respond))) => {
                        // A client with streams is past its handshake, whatever it says about ours.
                        settling = false;
                        let incoming = Incoming::new(request, respond, &self.resets);
                        self.handlers.spawn(handler(incoming));
                    }
                },
            }
            if self.resets.load(Ordering::Relaxed) > limits.resets {
                if Instant::now() < window_ends {
                    self.hang_up(Reason::ENHANCE_YOUR_CALM).await;
                    return Err(TunnelError::TooManyResets { limit: limits.resets });
                }
                self.resets.store(0, Ordering::Relaxed);
                window_ends = Instant::now() + RESET_WINDOW;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    /// Says why, if the peer still listens, and closes.
    async fn hang_up(&mut self, reason: Reason) {
        self.connection.abrupt_shutdown(reason);
        let goodbye = poll_fn(|cx| self.connection.poll_closed(cx));
        // Whether it arrives or not, the connection is over.
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

/// The next request; with `accept` unset only moves frames, so that HTTP/2 bounds what a peer opens and resets meanwhile.
async fn next_stream<S>(
    connection: &mut Connection<S, Piece>,
    accept: bool,
) -> Option<Result<(Request<RecvStream>, SendResponse<Piece>), h2::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if accept {
        return connection.accept().await;
    }
    poll_fn(|cx| connection.poll_closed(cx)).await.err().map(Err)
}

fn report(finished: Result<(), tokio::task::JoinError>) {
    if let Err(error) = finished {
        tracing::error!("a tunnel stream's handler failed: {error}");
    }
}

impl Incoming {
    fn new(request: Request<RecvStream>, respond: SendResponse<Piece>, resets: &Arc<AtomicU32>) -> Self {
        let (head, recv) = request.into_parts();
        Self { head, recv, answer: Answer { respond, resets: Arc::clone(resets), given: false } }
    }

    /// The request's method, `CONNECT` for a tunnel.
    #[must_use]
    pub fn method(&self) -> &str {
        self.head.method.as_str()
    }

    /// Where the tunnel shall lead, as the peer wrote it.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.head.uri.authority().map(http::uri::Authority::as_str)
    }

    /// The first header of this (lower-case) name, as the peer wrote it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.headers.get(name).map(HeaderValue::as_bytes)
    }

    /// Resolves when the peer has taken the request back.
    pub async fn withdrawn(&mut self) {
        // Its error is an end of the connection, which ends the request too.
        let _ = poll_fn(|cx| self.answer.respond.poll_reset(cx)).await;
    }

    /// Answers with a status and nothing else; 500 for what is not a status.
    pub fn refuse(mut self, status: u16) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.answer.given = true;
        if let Err(error) = self.answer.respond.send_response(response, true) {
            tracing::debug!("status {status} not sent, the request was withdrawn: {error}");
        }
    }

    /// Answers with 200, and with what is known of the destination workload.
    ///
    /// # Errors
    /// When the peer has taken the request back.
    pub fn accept(mut self, baggage: Option<&str>) -> Result<ServerTunnel, TunnelError> {
        let mut response = Response::new(());
        if let Some(baggage) = baggage {
            let value = HeaderValue::from_str(baggage).map_err(|_| TunnelError::Head { field: BAGGAGE })?;
            response.headers_mut().insert(BAGGAGE, value);
        }
        let send: SendStream<Piece> =
            self.answer.respond.send_response(response, false).map_err(TunnelError::withdrawn)?;
        self.answer.given = true;
        Ok(ServerTunnel { stream: relay::Stream { send, recv: self.recv, _hold: None } })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.given
            && let Poll::Ready(Ok(_)) = self.respond.poll_reset(&mut Context::from_waker(Waker::noop()))
        {
            self.resets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ServerTunnel {
    /// Carries `app` through the tunnel until both directions have ended, one side resets, or `cut` resolves.
    ///
    /// The application is upstream. When this future is dropped, both sides are reset.
    ///
    /// # Errors
    /// When a socket or the tunnel's connection fails in another way than by a reset.
    pub fn relay<C>(
        self,
        app: TcpStream,
        meter: &Meter,
        cut: impl Future<Output = C>,
        limits: &RelayLimits,
    ) -> impl Future<Output = Result<Ended<C>, RelayError>> {
        relay::relay_tunnel(self.stream, app, (Side::Upstream, meter), cut, limits)
    }
}

/// The time over which unanswered resets are counted.
const RESET_WINDOW: Duration = Duration::from_secs(30);
/// How long a last GOAWAY may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);
