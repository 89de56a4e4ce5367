//! A tunnel stream as bytes, which only the TLS inside of it gets to see.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::piece::Piece;
use crate::relay::Stream;

/// Both directions of a tunnel stream. Dropped before both have ended, the stream is reset.
pub(super) struct StreamBytes {
    stream: Stream,
    /// Received and not yet taken.
    held: Bytes,
    /// END_STREAM has been sent.
    finished: bool,
    /// When the peer must have ended its direction too.
    patience: Option<Pin<Box<Sleep>>>,
}

impl StreamBytes {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, held: Bytes::new(), finished: false, patience: None }
    }

    /// Waits for bytes if none are held; the next of them, none at the end of the stream.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Bytes>> {
        while self.held.is_empty() {
            match ready!(self.stream.recv.poll_data(cx)) {
                Some(Ok(bytes)) => self.held = bytes,
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(&mut self.held))
    }

    /// Takes bytes from what is held, which makes room for as many in the peer's window.
    fn take(&mut self, size: usize) -> Bytes {
        // Fails when the stream is gone, and with it the window.
        let _ = self.stream.recv.flow_control().release_capacity(size);
        self.held.split_to(size)
    }
}

impl AsyncRead for StreamBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = ready!(self.poll_held(cx))?.len().min(buf.remaining());
        buf.put_slice(&self.take(size));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamBytes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let send = &mut self.stream.send;
        send.reserve_capacity(buf.len());
        let mut room = send.capacity();
        while room == 0 {
            room = match ready!(send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let piece = buf.get(..room.min(buf.len())).unwrap_or(buf);
        send.send_data(Piece::unwatched(Bytes::copy_from_slice(piece)), false).map_err(failed)?;
        Poll::Ready(Ok(piece.len()))
    }

    /// The stream's connection sends what it has by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our direction and waits a while for the peer to end its own: a reset of the stream before that could overtake,
    /// at a gateway, what we sent last.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            self.finished = true;
            self.stream.send.send_data(Piece::empty(), true).map_err(failed)?;
        }
        loop {
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(CLOSING)));
            if patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let size = ready!(self.poll_held(cx))?.len();
            if size == 0 {
                return Poll::Ready(Ok(()));
            }
            self.take(size);
        }
    }
}

/// What the stream's failure is to those who read and write bytes.
fn failed(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
    }
    let kind =
        if error.is_reset() { io::ErrorKind::ConnectionReset } else { io::ErrorKind::ConnectionAborted };
    io::Error::new(kind, error)
}

/// How long a peer may take to end its direction once we have ended ours.
const CLOSING: Duration = Duration::from_secs(5);
