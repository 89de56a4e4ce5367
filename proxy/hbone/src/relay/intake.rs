//! From an application's socket into a tunnel stream, as fast as the peer's window allows.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use tokio::net::TcpStream;

use super::read::Reader;
use crate::piece::{InFlight, Piece};

/// One direction of a relay.
#[derive(Debug)]
pub(super) struct Intake {
    reader: Reader,
    in_flight: InFlight,
    /// Read, and waiting for the peer's window.
    held: Bytes,
    /// FIN follows what is held.
    last: bool,
}

/// Why nothing more is taken in.
#[derive(Debug)]
pub(super) enum IntakeError {
    /// The application's socket failed.
    App(io::Error),
    /// The stream takes nothing any more; who receives from it, or asks for its reset, learns why.
    Closed,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self { reader: Reader::new(), in_flight: InFlight::default(), held: Bytes::new(), last: false }
    }

    /// Whether everything taken in has left for the peer.
    pub(super) fn is_flushed(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Moves what can be moved; ready when the application's FIN has become END_STREAM.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        app: &mut TcpStream,
        send: &mut SendStream<Piece>,
        mut moved: impl FnMut(usize),
    ) -> Poll<Result<(), IntakeError>> {
        loop {
            while !self.held.is_empty() {
                // Asked for only once there is something to send: an assigned window is taken from all other streams.
                send.reserve_capacity(self.held.len());
                let room = match send.capacity() {
                    0 => match ready!(send.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(Err(IntakeError::Closed)),
                    },
                    room => room,
                };
                let piece = self.held.split_to(room.min(self.held.len()));
                let size = piece.len();
                let last = self.last && self.held.is_empty();
                send.send_data(self.in_flight.piece(piece), last).map_err(|_| IntakeError::Closed)?;
                moved(size);
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            if self.last {
                let sent = send.send_data(Piece::empty(), true).map_err(|_| IntakeError::Closed);
                return Poll::Ready(sent);
            }
            let taken = ready!(self.reader.poll_take(cx, app)).map_err(IntakeError::App)?;
            self.held = taken.bytes;
            self.last = taken.last;
        }
    }
}
