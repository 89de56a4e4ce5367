//! A packet connection without a runtime: the plugin's side.
#![expect(clippy::disallowed_types, reason = "there is no runtime whose clock could be asked")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::syscalls::{self, failed};
use super::{Packet, SocketError};

/// One end of a packet connection; all its operations together wait at most the patience it was made with.
#[derive(Debug)]
pub struct BlockingConnection {
    socket: OwnedFd,
    limit: usize,
    until: Instant,
}

impl BlockingConnection {
    /// Connects to the socket at `path`. Connecting, sending and receiving wait at most `patience` in all; packets of
    /// more than `limit` bytes will not be received.
    ///
    /// # Errors
    ///
    /// [`SocketError::Connect`] when nobody listens there, [`SocketError::TimedOut`] when the accept queue stays full.
    pub fn connect(path: &Path, limit: usize, patience: Duration) -> Result<Self, SocketError> {
        let until = Instant::now() + patience;
        let open = || {
            let socket = syscalls::socket(SocketFlags::empty())?;
            set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
            rustix::net::connect(&socket, &syscalls::address(path)?)?;
            Ok::<_, Errno>(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, limit, until }),
            Err(Errno::AGAIN) => Err(SocketError::TimedOut { attempt: "connect" }),
            Err(errno) => Err(SocketError::Connect { path: path.to_owned(), source: errno.into() }),
        }
    }

    /// Sends one packet, with `fd` beside it. The caller keeps its descriptor.
    ///
    /// # Errors
    ///
    /// [`SocketError::Closed`] when the peer is gone, [`SocketError::TimedOut`], or [`SocketError::Io`].
    pub fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), SocketError> {
        self.hurry(Timeout::Send, "send")?;
        syscalls::send(self.socket.as_fd(), bytes, fd).map_err(|errno| timed("send", errno))
    }

    /// Receives one packet.
    ///
    /// # Errors
    ///
    /// As [`super::Connection::recv`], and [`SocketError::TimedOut`].
    pub fn recv(&self) -> Result<Packet, SocketError> {
        self.hurry(Timeout::Recv, "receive")?;
        syscalls::recv(self.socket.as_fd(), self.limit).map_err(|errno| timed("receive", errno))?.judge()
    }

    /// Gives the next operation what is left of the patience.
    fn hurry(&self, direction: Timeout, attempt: &'static str) -> Result<(), SocketError> {
        let left = self.until.saturating_duration_since(Instant::now());
        // To the kernel, no time at all means forever.
        if left.is_zero() {
            return Err(SocketError::TimedOut { attempt });
        }
        set_socket_timeout(&self.socket, direction, Some(left)).map_err(|errno| timed(attempt, errno))
    }
}

fn timed(attempt: &'static str, errno: Errno) -> SocketError {
    if errno == Errno::AGAIN { SocketError::TimedOut { attempt } } else { failed(attempt, errno) }
}
