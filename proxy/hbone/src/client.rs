//! The asking side: one HTTP/2 connection to a next hop, and CONNECT on it.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use h2::client::{Connection, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri, Version};
use proxy_core::model::Identity;
use proxy_core::wire::hbone::Authority;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::TunnelError;
use crate::keepalive;
use crate::meter::Meter;
use crate::piece::Piece;
use crate::pool::Lease;
use crate::relay::{self, Ended, RelayError, Side};
use crate::settings::{RelayLimits, Settings};

/// What a CONNECT request says. An empty text is a header that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectHead {
    /// Where the tunnel shall lead.
    pub authority: Authority,
    /// The source workload, for telemetry.
    pub baggage: String,
    /// The source address and the destination service (RFC 7239).
    pub forwarded: String,
    /// The trace that this connection belongs to (W3C Trace Context).
    pub traceparent: String,
    /// The source's network, for a peer of another one. Its name may be empty, and is sent then too.
    pub network: Option<String>,
}

impl ConnectHead {
    pub(crate) fn request(&self) -> Result<Request<()>, TunnelError> {
        let authority = http::uri::Authority::try_from(self.authority.to_string())
            .map_err(|_| TunnelError::Head { field: ":authority" })?;
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::from(authority);
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        let some = |text: &'_ String| (!text.is_empty()).then(|| text.clone());
        for (field, value) in [
            (BAGGAGE, some(&self.baggage)),
            (FORWARDED, some(&self.forwarded)),
            (TRACEPARENT, some(&self.traceparent)),
            (NETWORK, self.network.clone()),
        ] {
            if let Some(value) = value {
                let value = HeaderValue::try_from(value).map_err(|_| TunnelError::Head { field })?;
                headers.insert(HeaderName::from_static(field), value);
            }
        }
        Ok(request)
    }
}

/// An open tunnel stream to a next hop.
#[derive(Debug)]
pub struct Tunnel {
    send: SendStream<Piece>,
    recv: RecvStream,
    baggage: Option<String>,
    hold: Hold,
}

/// What keeps the connection of a stream, and says who is at its other end.
#[derive(Debug)]
pub(crate) enum Hold {
    /// A place on a shared connection.
    Lease(Lease),
    /// The only use of a connection.
    Whole(Whole),
}

/// A connection with one stream, which ends when both are dropped.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) requests: SendRequest<Piece>,
    pub(crate) peer: Identity,
    /// Cancelled when the peer, or one on the way to it, may no longer be talked to.
    pub(crate) revoked: CancellationToken,
}

impl Hold {
    const fn requests(&mut self) -> &mut SendRequest<Piece> {
        match self {
            Self::Lease(lease) => lease.requests(),
            Self::Whole(whole) => &mut whole.requests,
        }
    }

    fn peer(&self) -> &Identity {
        match self {
            Self::Lease(lease) => lease.peer(),
            Self::Whole(whole) => &whole.peer,
        }
    }

    const fn revoked(&self) -> &CancellationToken {
        match self {
            Self::Lease(lease) => lease.revoked(),
            Self::Whole(whole) => &whole.revoked,
        }
    }
}

impl Tunnel {
    /// Who the next hop proved to be.
    #[must_use]
    pub fn peer(&self) -> &Identity {
        self.hold.peer()
    }

    /// Resolves when the next hop may no longer be talked to, for a relay's `cut`.
    pub fn revoked(&self) -> WaitForCancellationFutureOwned {
        self.hold.revoked().clone().cancelled_owned()
    }

    /// What the next hop says about the destination workload.
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.baggage.as_deref()
    }

    /// Carries `app` through the tunnel until both directions have ended, one side resets, or `cut` resolves.
    ///
    /// The application is downstream. When this future is dropped, both sides are reset.
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
        relay::relay_tunnel(self.into_stream(), app, (Side::Downstream, meter), cut, limits)
    }

    pub(crate) fn into_stream(self) -> relay::Stream {
        let Self { send, recv, baggage: _, hold } = self;
        relay::Stream { send, recv, _hold: Some(hold) }
    }
}

/// Makes the request on a connection and waits for its answer.
pub(crate) async fn connect(
    mut hold: Hold,
    request: Request<()>,
    settings: &Settings,
) -> Result<Tunnel, TunnelError> {
    let (response, send) = hold.requests().send_request(request, false).map_err(TunnelError::unsent)?;
    let limit = settings.limits.response;
    let revoked = hold.revoked().clone();
    let answered = tokio::select! {
        biased;
        () = revoked.cancelled() => return Err(TunnelError::Revoked),
        answered = timeout(limit, response) => answered,
    };
    let response = answered
        .map_err(|_elapsed| TunnelError::ResponseTimeout { limit })?
        .map_err(TunnelError::unanswered)?;
    let (head, recv) = response.into_parts();
    if head.status != StatusCode::OK {
        end_refused(send, &recv);
        return Err(TunnelError::Refused { status: head.status });
    }
    let baggage = head.headers.get(BAGGAGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Tunnel { send, recv, baggage, hold })
}

/// Ends a refused stream without a reset where that is possible: peers count streams that clients reset.
fn end_refused(mut send: SendStream<Piece>, recv: &RecvStream) {
    if recv.is_end_stream() {
        // Fails when the peer has closed the stream already, which is as well.
        let _ = send.send_data(Piece::empty(), true);
    }
}

/// Starts HTTP/2 on `stream` and waits until the peer says how many streams it takes.
pub(crate) async fn establish<S>(
    stream: S,
    settings: &Settings,
) -> Result<(SendRequest<Piece>, Connection<S, Piece>), TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limit = settings.limits.handshake;
    let handshake = async {
        let (requests, mut connection) = settings.client().handshake(stream).await?;
        let settled = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(ended.map(|()| false)),
            // The first SETTINGS lift our own initial value, which is 0.
            Poll::Pending if connection.max_concurrent_send_streams() == 0 => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(true)),
        });
        Ok::<_, h2::Error>(settled.await?.then_some((requests, connection)))
    };
    timeout(limit, handshake)
        .await
        .map_err(|_elapsed| TunnelError::SettingsTimeout { limit })?
        .map_err(TunnelError::handshake)?
        .ok_or(TunnelError::Closed)
}

/// How a connection came to its end.
pub(crate) enum Closed {
    /// One side said goodbye.
    Finished,
    /// HTTP/2 or what it runs on failed.
    Failed(h2::Error),
    /// The peer answers no PING.
    Dead,
    /// The pool is gone.
    Abandoned,
    /// The peer may no longer be talked to.
    Revoked,
}

/// Moves a connection's frames until it closes, its peer is dead or `revoked`, or the pool is gone.
///
/// `idle` is asked now and then whether the connection is still wanted; its answer is when to ask again.
pub(crate) async fn drive<S>(
    connection: &mut Connection<S, Piece>,
    (mut pool, revoked): (watch::Receiver<()>, impl Future<Output = ()>),
    settings: &Settings,
    idle: impl Fn(Instant) -> Option<Instant>,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pings = connection.ping_pong();
    let unwanted = async {
        let mut ask = Instant::now() + settings.pool_idle;
        loop {
            sleep_until(ask).await;
            match idle(Instant::now()) {
                Some(again) => ask = again,
                // Nobody can open a stream any more: HTTP/2 says goodbye and ends.
                None => return pending().await,
            }
        }
    };
    tokio::select! {
        biased;
        // An error: the sender is gone, and nothing is ever sent.
        _ = pool.changed() => Closed::Abandoned,
        () = revoked => Closed::Revoked,
        ended = connection => ended.map_or_else(Closed::Failed, |()| Closed::Finished),
        () = keepalive::until_dead(pings, &settings.limits) => Closed::Dead,
        closed = unwanted => closed,
    }
}

pub(crate) const BAGGAGE: &str = "baggage";
const FORWARDED: &str = "forwarded";
const TRACEPARENT: &str = "traceparent";
/// How long the streams of a revoked peer may take to reset themselves.
pub(crate) const LAST_MOMENT: Duration = Duration::from_secs(1);
const NETWORK: &str = "x-forwarded-network";
