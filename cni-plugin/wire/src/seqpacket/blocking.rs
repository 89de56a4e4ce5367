//! A packet connection without a runtime: the plugin's side.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::syscalls::{self, failed};
use super::{Packet, SocketError};

/// One end of a packet connection; each operation waits at most the timeout.
#[derive(Debug)]
pub struct BlockingConnection {
    socket: OwnedFd,
    limit: usize,
}

impl BlockingConnection {
    /// Connects to the socket at `path`. Connecting, each send and each receive wait at most `timeout`; packets of
    /// more than `limit` bytes will not be received.
    ///
    /// # Errors
    ///
    /// [`SocketError::Connect`] when nobody listens there, [`SocketError::TimedOut`] when the accept queue stays full.
    pub fn connect(path: &Path, limit: usize, timeout: Duration) -> Result<Self, SocketError> {
        let open = || {
            let socket = syscalls::socket(SocketFlags::empty())?;
            for direction in [Timeout::Send, Timeout::Recv] {
                set_socket_timeout(&socket, direction, Some(timeout))?;
            }
            rustix::net::connect(&socket, &syscalls::address(path)?)?;
            Ok::<_, Errno>(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, limit }),
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
        syscalls::send(self.socket.as_fd(), bytes, fd).map_err(|errno| timed("send", errno))
    }

    /// Receives one packet.
    ///
    /// # Errors
    ///
    /// As [`super::Connection::recv`], and [`SocketError::TimedOut`].
    pub fn recv(&self) -> Result<Packet, SocketError> {
        syscalls::recv(self.socket.as_fd(), self.limit).map_err(|errno| timed("receive", errno))?.judge()
    }
}

fn timed(attempt: &'static str, errno: Errno) -> SocketError {
    if errno == Errno::AGAIN { SocketError::TimedOut { attempt } } else { failed(attempt, errno) }
}
