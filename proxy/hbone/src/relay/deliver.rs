//! From a tunnel stream to an application's socket, as fast as the application reads.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::app::App;

/// One direction of a relay.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Received and not yet written.
    queue: VecDeque<Bytes>,
    queued: usize,
    /// How the stream ended, behind what is queued.
    end: Option<Result<(), h2::Error>>,
}

/// Why nothing more is delivered.
#[derive(Debug)]
pub(super) enum DeliveryError {
    /// The application's socket failed.
    App(io::Error),
    /// The stream ended without END_STREAM; everything received before has been delivered.
    Tunnel(h2::Error),
}

impl Delivery {
    /// Moves what can be moved; ready when END_STREAM has become FIN.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        app: &mut App,
        recv: &mut RecvStream,
        mut moved: impl FnMut(usize),
    ) -> Poll<Result<(), DeliveryError>> {
        loop {
            let drained = self.fill(cx, recv);
            while !self.queue.is_empty() {
                let size = ready!(self.poll_write(cx, &mut app.stream)).map_err(DeliveryError::App)?;
                self.advance(size);
                // Only now may the peer send as much again. Fails when the stream is gone, and with it the window.
                let _ = recv.flow_control().release_capacity(size);
                moved(size);
            }
            match self.end.take() {
                Some(Ok(())) => {
                    self.end = Some(Ok(()));
                    return app.poll_shutdown(cx).map_err(DeliveryError::App);
                }
                Some(Err(error)) => return Poll::Ready(Err(DeliveryError::Tunnel(error))),
                None if drained => return Poll::Pending,
                None => {}
            }
        }
    }

    /// Whether bytes wait for the application. If not, an end of the stream is noticed as soon as it comes.
    pub(super) fn is_blocked(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the peer has finished sending.
    pub(super) const fn has_ended_well(&self) -> bool {
        matches!(self.end, Some(Ok(())))
    }

    /// Collects what has arrived; true when that was all, and more will wake the task.
    fn fill(&mut self, cx: &mut Context<'_>, recv: &mut RecvStream) -> bool {
        while self.end.is_none() && self.queued < MOST_QUEUED && self.queue.len() < MOST_SLICES {
            match recv.poll_data(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(bytes))) => {
                    if !bytes.is_empty() {
                        self.queued += bytes.len();
                        self.queue.push_back(bytes);
                    }
                }
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
            }
        }
        false
    }

    fn poll_write(&self, cx: &mut Context<'_>, app: &mut TcpStream) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MOST_SLICES];
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        let slices = slices.get(..filled).unwrap_or_default();
        match ready!(Pin::new(app).poll_write_vectored(cx, slices))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            size => Poll::Ready(Ok(size)),
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.queued -= written;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}

/// Enough for one large write; the rest waits inside the stream's window.
const MOST_QUEUED: usize = 256 << 10;
/// Frames in one write: peers with the smallest frames fill 256 KiB with these.
const MOST_SLICES: usize = 16;
