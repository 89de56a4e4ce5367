//! An application's socket and a tunnel stream.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::Reason;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::app::App;
use super::deliver::{Delivery, DeliveryError};
use super::intake::{Intake, IntakeError};
use super::patience::Waiting;
use super::{Ended, Pair, RelayError, Side, Stream};
use crate::meter::Meter;

/// Both directions between one application and one tunnel stream.
pub(super) struct TunnelPair<'m> {
    app: App,
    stream: Stream,
    /// The application's side.
    side: Side,
    meter: &'m Meter,
    moved: u64,
    intake: Intake,
    taking: Taking,
    delivery: Delivery,
    /// END_STREAM has come, and FIN has gone to the application.
    delivered: bool,
    /// What the stream is reset with, if the relay does not end well.
    reset: Reason,
}

/// What becomes of the application's bytes.
enum Taking {
    /// They go to the peer.
    Open,
    /// FIN has become END_STREAM.
    Finished,
    /// The peer takes no more; its reset is acted on when what it sent before has been delivered.
    Refused,
    /// The application's socket failed. What it sent before leaves first: a reset overtakes what HTTP/2 has queued.
    Failed(io::Error, Option<Pin<Box<Sleep>>>),
}

impl<'m> TunnelPair<'m> {
    pub(super) fn new(stream: Stream, app: TcpStream, side: Side, meter: &'m Meter) -> Self {
        Self {
            app: App::new(app),
            stream,
            side,
            meter,
            moved: 0,
            intake: Intake::new(),
            taking: Taking::Open,
            delivery: Delivery::default(),
            delivered: false,
            reset: Reason::CANCEL,
        }
    }

    fn poll_intake(&mut self, cx: &mut Context<'_>) {
        let Self { app, stream, side, meter, moved, intake, .. } = self;
        let count = |size| super::count(meter, side.onward(), size, moved);
        self.taking = match intake.poll(cx, &mut app.stream, &mut stream.send, count) {
            Poll::Pending => Taking::Open,
            Poll::Ready(Ok(())) => Taking::Finished,
            Poll::Ready(Err(IntakeError::Closed)) => Taking::Refused,
            Poll::Ready(Err(IntakeError::App(error))) => Taking::Failed(error, None),
        };
    }

    fn poll_delivery<C>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended<C>, RelayError>> {
        let Self { app, stream, side, meter, moved, delivery, .. } = self;
        let count = |size| super::count(meter, side.other().onward(), size, moved);
        match ready!(delivery.poll(cx, app, &mut stream.recv, count)) {
            Ok(()) => {
                self.delivered = true;
                Poll::Pending
            }
            Err(DeliveryError::App(error)) => {
                self.taking = Taking::Failed(error, None);
                Poll::Pending
            }
            Err(DeliveryError::Tunnel(source)) => Poll::Ready(self.tunnel_failed(source)),
        }
    }

    /// Looks for a reset where receiving does not find it: behind END_STREAM, and behind bytes that the application does
    /// not take.
    fn poll_reset<C>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended<C>, RelayError>> {
        if !self.delivered && !self.delivery.is_blocked() {
            return Poll::Pending;
        }
        let reset = ready!(self.stream.send.poll_reset(cx));
        if !self.delivered {
            self.taking = Taking::Refused;
            return Poll::Pending;
        }
        Poll::Ready(match reset {
            // RFC 9113, section 8.1: a peer that has said everything may ask us to stop, and that is no failure.
            Ok(Reason::NO_ERROR) => self.ended_well(),
            Ok(_) => Ok(Ended::Reset { by: self.side.other() }),
            Err(source) => self.tunnel_failed(source),
        })
    }

    fn poll_last_words<C>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended<C>, RelayError>> {
        self.reset = Reason::CONNECT_ERROR;
        while !self.intake.is_flushed() {
            let Taking::Failed(_, tick) = &mut self.taking else { break };
            // HTTP/2 does not say when it has written something, and this is rare.
            ready!(tick.get_or_insert_with(|| Box::pin(sleep(FLUSH_TICK))).as_mut().poll(cx));
            *tick = None;
        }
        Poll::Ready(self.give_up())
    }

    const fn ended_well<C>(&mut self) -> Result<Ended<C>, RelayError> {
        self.app.finish();
        Ok(Ended::Copied)
    }

    fn tunnel_failed<C>(&self, source: h2::Error) -> Result<Ended<C>, RelayError> {
        let side = self.side.other();
        if source.is_reset() {
            Ok(Ended::Reset { by: side })
        } else {
            Err(RelayError::Tunnel { side, source })
        }
    }
}

impl Pair for TunnelPair<'_> {
    fn poll_copy<C>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended<C>, RelayError>> {
        if matches!(self.taking, Taking::Open) {
            self.poll_intake(cx);
        }
        if !self.delivered
            && !matches!(self.taking, Taking::Failed(..))
            && let Poll::Ready(ended) = self.poll_delivery(cx)
        {
            return Poll::Ready(ended);
        }
        match self.taking {
            Taking::Failed(..) => self.poll_last_words(cx),
            Taking::Finished if self.delivered => Poll::Ready(self.ended_well()),
            Taking::Open | Taking::Finished | Taking::Refused => self.poll_reset(cx),
        }
    }

    fn waiting(&self) -> Waiting {
        match self.taking {
            Taking::Failed(..) => Waiting::Flush,
            // END_STREAM is known to be the last that comes, so only the application can take its time.
            Taking::Refused if self.delivery.has_ended_well() => Waiting::HalfClosed,
            Taking::Refused => Waiting::Flush,
            Taking::Finished => Waiting::HalfClosed,
            Taking::Open if self.delivered => Waiting::HalfClosed,
            Taking::Open => Waiting::Unbounded,
        }
    }

    fn moved(&self) -> u64 {
        self.moved
    }

    fn give_up<C>(&mut self) -> Result<Ended<C>, RelayError> {
        match std::mem::replace(&mut self.taking, Taking::Refused) {
            Taking::Failed(error, _) => RelayError::ended(self.side, error),
            Taking::Open | Taking::Finished | Taking::Refused => Ok(Ended::Reset { by: self.side.other() }),
        }
    }
}

impl Drop for TunnelPair<'_> {
    fn drop(&mut self) {
        if !self.app.is_finished() {
            self.stream.send.send_reset(self.reset);
        }
    }
}

const FLUSH_TICK: Duration = Duration::from_millis(1);
