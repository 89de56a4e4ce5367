//! Two plain sockets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::app::App;
use super::patience::Waiting;
use super::read::{SCRATCH_SIZE, with_scratch};
use super::{Ended, Pair, RelayError, Side};
use crate::meter::Meter;

/// Both directions between two sockets.
pub(super) struct TcpPair<'m> {
    down: App,
    up: App,
    meter: &'m Meter,
    moved: u64,
    sending: OneWay,
    receiving: OneWay,
}

/// One direction between two sockets.
#[derive(Debug, Default)]
struct OneWay {
    /// Read, and not taken by the other socket yet.
    held: Bytes,
    /// FIN has been passed on.
    finished: bool,
}

/// Which of the two sockets of a direction failed.
enum Failed {
    From(io::Error),
    To(io::Error),
}

impl<'m> TcpPair<'m> {
    pub(super) fn new(down: TcpStream, up: TcpStream, meter: &'m Meter) -> Self {
        Self {
            down: App::new(down),
            up: App::new(up),
            meter,
            moved: 0,
            sending: OneWay::default(),
            receiving: OneWay::default(),
        }
    }
}

impl Pair for TcpPair<'_> {
    fn poll_copy<C>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended<C>, RelayError>> {
        let Self { down, up, meter, moved, sending, receiving } = self;
        for side in [Side::Downstream, Side::Upstream] {
            let (way, from, to) = match side {
                Side::Downstream => (&mut *sending, &mut *down, &mut *up),
                Side::Upstream => (&mut *receiving, &mut *up, &mut *down),
            };
            let count = |size| super::count(meter, side.onward(), size, moved);
            match way.poll(cx, from, to, count) {
                Poll::Pending | Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Failed::From(error))) => return Poll::Ready(RelayError::ended(side, error)),
                Poll::Ready(Err(Failed::To(error))) => {
                    return Poll::Ready(RelayError::ended(side.other(), error));
                }
            }
        }
        if !self.sending.finished || !self.receiving.finished {
            return Poll::Pending;
        }
        self.down.finish();
        self.up.finish();
        Poll::Ready(Ok(Ended::Copied))
    }

    fn waiting(&self) -> Waiting {
        if self.sending.finished || self.receiving.finished {
            Waiting::HalfClosed
        } else {
            Waiting::Unbounded
        }
    }

    fn moved(&self) -> u64 {
        self.moved
    }

    fn give_up<C>(&mut self) -> Result<Ended<C>, RelayError> {
        Ok(Ended::HalfCloseTimeout)
    }
}

impl OneWay {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut App,
        to: &mut App,
        mut moved: impl FnMut(usize),
    ) -> Poll<Result<(), Failed>> {
        while !self.finished {
            while !self.held.is_empty() {
                let size = ready!(poll_write(cx, &mut to.stream, &self.held)).map_err(Failed::To)?;
                self.held.advance(size);
                moved(size);
            }
            if ready!(self.poll_pass(cx, from, to, &mut moved))? {
                ready!(to.poll_shutdown(cx)).map_err(Failed::To)?;
                self.finished = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what one read brings, and holds what the other socket does not take; true at FIN.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut App,
        to: &mut App,
        moved: &mut impl FnMut(usize),
    ) -> Poll<Result<bool, Failed>> {
        with_scratch(SCRATCH_SIZE, |scratch| {
            let mut piece = ReadBuf::new(scratch);
            ready!(Pin::new(&mut from.stream).poll_read(cx, &mut piece)).map_err(Failed::From)?;
            let mut bytes = piece.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(true));
            }
            while !bytes.is_empty() {
                let Poll::Ready(size) = poll_write(cx, &mut to.stream, bytes) else {
                    self.held = Bytes::copy_from_slice(bytes);
                    return Poll::Pending;
                };
                let size = size.map_err(Failed::To)?;
                bytes.advance(size);
                moved(size);
            }
            Poll::Ready(Ok(false))
        })
    }
}

fn poll_write(cx: &mut Context<'_>, to: &mut TcpStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        size => Poll::Ready(Ok(size)),
    }
}
