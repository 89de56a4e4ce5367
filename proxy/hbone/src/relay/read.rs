//! Takes what an application has ready, in one piece: the size of the piece follows the traffic.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

thread_local! {
    /// Where small pieces land, so that a connection without traffic owns no buffer and a small piece no large one.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_SIZE].into_boxed_slice());
}

/// Reads one socket, a piece at a time.
#[derive(Debug)]
pub(super) struct Reader {
    /// The size of the next piece.
    piece: usize,
    /// Room for large pieces, kept while they follow each other.
    buffer: BytesMut,
    /// What came after the bytes of the last piece.
    after: Option<After>,
}

#[derive(Debug)]
enum After {
    Fin,
    Failed(io::Error),
}

/// What was ready.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    /// FIN follows these bytes, or came alone.
    pub(super) last: bool,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { piece: SMALL, buffer: BytesMut::new(), after: None }
    }

    /// Reads until the socket has no more, or the piece is full. Not to be called again after the last.
    pub(super) fn poll_take(&mut self, cx: &mut Context<'_>, app: &mut TcpStream) -> Poll<io::Result<Taken>> {
        let bytes = if self.after.is_some() {
            Bytes::new()
        } else if self.piece > SMALL {
            self.read_large(cx, app)
        } else {
            self.read_small(cx, app)
        };
        self.adapt(bytes.len());
        match self.after.take() {
            None if bytes.is_empty() => Poll::Pending,
            None => Poll::Ready(Ok(Taken { bytes, last: false })),
            Some(After::Fin) => Poll::Ready(Ok(Taken { bytes, last: true })),
            Some(After::Failed(error)) if bytes.is_empty() => Poll::Ready(Err(error)),
            after @ Some(After::Failed(_)) => {
                self.after = after;
                Poll::Ready(Ok(Taken { bytes, last: false }))
            }
        }
    }

    fn read_small(&mut self, cx: &mut Context<'_>, app: &mut TcpStream) -> Bytes {
        with_scratch(SMALL, |scratch| {
            let mut piece = ReadBuf::new(scratch);
            self.after = fill(cx, app, &mut piece);
            Bytes::copy_from_slice(piece.filled())
        })
    }

    fn read_large(&mut self, cx: &mut Context<'_>, app: &mut TcpStream) -> Bytes {
        if self.buffer.capacity() < self.piece / 2 {
            self.buffer.reserve(self.piece);
        }
        let room = self.buffer.capacity().min(self.piece);
        while self.buffer.len() < room {
            match poll_read_buf(Pin::new(app), cx, &mut self.buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => {
                    self.after = Some(After::Fin);
                    break;
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    self.after = Some(After::Failed(error));
                    break;
                }
            }
        }
        let bytes = self.buffer.split().freeze();
        // A few bytes must not hold a large buffer for as long as the peer lets them wait.
        if bytes.len() < self.piece / 16 { Bytes::copy_from_slice(&bytes) } else { bytes }
    }

    /// Larger after a full piece, smaller after a small one; without a piece, no buffer.
    fn adapt(&mut self, taken: usize) {
        if taken >= self.piece {
            self.piece = (self.piece * 4).min(LARGE);
        } else if taken < self.piece / 4 {
            self.piece = (self.piece / 4).max(SMALL);
        }
        if taken == 0 || self.piece == SMALL {
            self.buffer = BytesMut::new();
        }
    }
}

/// Lends a piece of this thread's scratch space.
pub(super) fn with_scratch<R>(size: usize, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| use_it(scratch.get_mut(..size).unwrap_or_default()))
}

/// Reads until the socket has no more or `piece` is full, and says what came after the bytes.
fn fill(cx: &mut Context<'_>, app: &mut TcpStream, piece: &mut ReadBuf<'_>) -> Option<After> {
    while piece.remaining() > 0 {
        let before = piece.filled().len();
        match Pin::new(&mut *app).poll_read(cx, piece) {
            Poll::Pending => break,
            Poll::Ready(Ok(())) if piece.filled().len() == before => return Some(After::Fin),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Some(After::Failed(error)),
        }
    }
    None
}

/// What a connection reads at once until it has proved that it has more.
const SMALL: usize = 16 << 10;
/// What a bulk transfer reads at once.
const LARGE: usize = 256 << 10;
/// The largest loan.
pub(super) const SCRATCH_SIZE: usize = 64 << 10;
