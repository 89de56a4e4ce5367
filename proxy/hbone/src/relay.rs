//! Carries bytes between two sides until both have ended, keeping what each side did: FIN stays FIN, RST stays RST.

mod app;
mod deliver;
mod intake;
mod patience;
mod read;
mod tcp;
mod tunnel;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::iter;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::{RecvStream, SendStream};
use proxy_core::Reason;
use tokio::net::TcpStream;

use crate::client::Hold;
use crate::meter::{Meter, Toward};
use crate::piece::Piece;
use crate::settings::RelayLimits;
use patience::{Patience, Waiting};

/// One side of a connection, as the proxy stands between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who opened the connection.
    Downstream,
    /// Whom it is for.
    Upstream,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<C> {
    /// Both sides finished, and everything was delivered.
    Copied,
    /// One side reset the connection, and the other was reset in turn.
    Reset {
        /// Who reset it.
        by: Side,
    },
    /// We cut it for this cause, and both sides were reset.
    Cut(C),
    /// One side had finished and the other stood still for too long; both were reset.
    HalfCloseTimeout,
}

/// Why bytes could not be carried on, other than by a side's own reset. The other side has been reset.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A socket failed.
    #[error("copy: the {side} socket failed")]
    Io {
        /// Whose socket.
        side: Side,
        /// As the kernel said it.
        #[source]
        source: io::Error,
    },
    /// The connection that carries the tunnel failed.
    #[error("copy: the {side} tunnel's connection failed")]
    Tunnel {
        /// Which side the tunnel is.
        side: Side,
        /// What HTTP/2 says about it.
        #[source]
        source: h2::Error,
    },
}

impl RelayError {
    /// Why the connection ended.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Io { .. } => Reason::Io,
            Self::Tunnel { .. } => Reason::TunnelFailed,
        }
    }

    /// A side's reset is an ending, other failures of a socket are errors.
    fn ended<C>(side: Side, source: io::Error) -> Result<Ended<C>, Self> {
        if is_reset(&source) { Ok(Ended::Reset { by: side }) } else { Err(Self::Io { side, source }) }
    }
}

/// Carries bytes between two plain sockets until both directions have ended, one side resets, or `cut` resolves.
///
/// When this future is dropped, both sides are reset.
///
/// # Errors
/// When a socket fails in another way than by a reset.
pub fn relay_tcp<C>(
    down: TcpStream,
    up: TcpStream,
    meter: &Meter,
    cut: impl Future<Output = C>,
    limits: &RelayLimits,
) -> impl Future<Output = Result<Ended<C>, RelayError>> {
    drive(tcp::TcpPair::new(down, up, meter), cut, limits)
}

/// A tunnel stream, open in both directions.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) send: SendStream<Piece>,
    pub(crate) recv: RecvStream,
    /// What the stream's connection is kept by until the stream is over.
    pub(crate) _hold: Option<Hold>,
}

/// Carries bytes between an application, which is `side`, and a tunnel stream, which is the other.
pub(crate) fn relay_tunnel<C>(
    stream: Stream,
    app: TcpStream,
    (side, meter): (Side, &Meter),
    cut: impl Future<Output = C>,
    limits: &RelayLimits,
) -> impl Future<Output = Result<Ended<C>, RelayError>> {
    drive(tunnel::TunnelPair::new(stream, app, side, meter), cut, limits)
}

/// Two sides with bytes between them. Dropped before its end, it resets both.
trait Pair {
    /// Moves what can be moved now, in both directions; ready when the relay is over.
    fn poll_copy<C>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended<C>, RelayError>>;

    /// What the relay is waiting for, where that wait is bounded.
    fn waiting(&self) -> Waiting;

    /// Bytes moved so far, in both directions.
    fn moved(&self) -> u64;

    /// How the relay ends when a reset that came could not be flushed in time.
    fn give_up<C>(&mut self) -> Result<Ended<C>, RelayError>;
}

#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, and connections are many")]
fn drive<P: Pair, C>(
    mut pair: P,
    cut: impl Future<Output = C>,
    limits: &RelayLimits,
) -> impl Future<Output = Result<Ended<C>, RelayError>> {
    async move {
        // Polled only when it is woken: what tells a pod's relays that they are cut is shared by all of them, locks
        // included, and not to be asked about every piece that moves.
        let mut cut: FuturesUnordered<_> = iter::once(cut).collect();
        let mut patience = Patience::default();
        poll_fn(|cx| {
            if let Poll::Ready(Some(cause)) = cut.poll_next_unpin(cx) {
                return Poll::Ready(Ok(Ended::Cut(cause)));
            }
            if let Poll::Ready(ended) = pair.poll_copy(cx) {
                return Poll::Ready(ended);
            }
            let waiting = pair.waiting();
            if patience.poll_over(cx, waiting, limits, pair.moved()).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(match waiting {
                Waiting::Flush => pair.give_up(),
                Waiting::HalfClosed | Waiting::Unbounded => Ok(Ended::HalfCloseTimeout),
            })
        })
        .await
    }
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Downstream => Self::Upstream,
            Self::Upstream => Self::Downstream,
        }
    }

    /// The direction of bytes that come from this side.
    const fn onward(self) -> Toward {
        match self {
            Self::Downstream => Toward::Upstream,
            Self::Upstream => Toward::Downstream,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        })
    }
}

/// Counts bytes of one direction, for whoever reads the meter and for the relay's own patience.
fn count(meter: &Meter, toward: Toward, size: usize, moved: &mut u64) {
    *moved = moved.wrapping_add(u64::try_from(size).unwrap_or(u64::MAX));
    meter.count(toward, size);
}

/// What the kernel says when the other end of a socket has reset it, in the middle of a transfer or before.
fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}
