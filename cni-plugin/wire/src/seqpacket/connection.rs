//! Packet sockets for a tokio runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::syscalls::{self, failed};
use super::{Packet, SocketError};

/// One end of a packet connection. Methods take `&self`: one task may receive while another sends.
#[derive(Debug)]
pub struct Connection {
    socket: AsyncFd<OwnedFd>,
    limit: usize,
}

impl Connection {
    /// Connects to the socket at `path`; packets of more than `limit` bytes will not be received.
    /// Does not wait: a full accept queue is an error. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SocketError::Connect`] when nobody listens there.
    pub fn connect(path: &Path, limit: usize) -> Result<Self, SocketError> {
        let open = || {
            let socket = syscalls::socket(SocketFlags::NONBLOCK)?;
            rustix::net::connect(&socket, &syscalls::address(path)?)?;
            Ok::<_, Errno>(socket)
        };
        let socket =
            open().map_err(|errno| SocketError::Connect { path: path.to_owned(), source: errno.into() })?;
        Self::register(socket, limit)
    }

    /// Two connected ends, for the two sides of a test or of one process.
    ///
    /// # Errors
    ///
    /// [`SocketError::Io`] when the process has no descriptors left.
    pub fn pair(limit: usize) -> Result<(Self, Self), SocketError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| failed("make a socket pair", errno))?;
        Ok((Self::register(one, limit)?, Self::register(other, limit)?))
    }

    fn register(socket: OwnedFd, limit: usize) -> Result<Self, SocketError> {
        Ok(Self { socket: watch(socket)?, limit })
    }

    /// Sends one packet, with `fd` beside it. The caller keeps its descriptor. Cancel-safe: a packet goes whole or not.
    ///
    /// # Errors
    ///
    /// [`SocketError::Closed`] when the peer is gone, [`SocketError::Io`] otherwise.
    pub async fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), SocketError> {
        self.socket
            .async_io(Interest::WRITABLE, |socket| {
                syscalls::send(socket.as_fd(), bytes, fd).map_err(io::Error::from)
            })
            .await
            .map_err(|source| io_failed("send", source))
    }

    /// Receives one packet. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::Closed`] at the end, [`SocketError::Truncated`] and [`SocketError::DescriptorsTruncated`] when
    /// the packet did not fit: it is lost and its descriptors are closed, but the connection still works.
    pub async fn recv(&self) -> Result<Packet, SocketError> {
        self.socket
            .async_io(Interest::READABLE, |socket| {
                syscalls::recv(socket.as_fd(), self.limit).map_err(io::Error::from)
            })
            .await
            .map_err(|source| io_failed("receive", source))?
            .judge()
    }

    /// The user id of the process at the other end, as it was when it connected.
    ///
    /// # Errors
    ///
    /// [`SocketError::Io`] when the kernel does not say.
    pub fn peer_uid(&self) -> Result<u32, SocketError> {
        // A container does not see the PIDs of its node's processes: the kernel then says 0, which rustix has no value for.
        let peer = nix::sys::socket::getsockopt(&self.socket, nix::sys::socket::sockopt::PeerCredentials)
            .map_err(|errno| io_failed("ask for the peer's credentials", errno.into()))?;
        Ok(peer.uid())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

/// A listening packet socket. The file stays when it is dropped: a successor may already have replaced it.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
    limit: usize,
}

impl Listener {
    /// Listens on `path` with the permission bits `mode`, replacing a socket that a predecessor left there.
    /// The directory must exist. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SocketError::Listen`], also when something that is no socket has that name.
    pub fn bind(path: &Path, mode: u32, limit: usize) -> Result<Self, SocketError> {
        let socket =
            listen(path, mode).map_err(|source| SocketError::Listen { path: path.to_owned(), source })?;
        Ok(Self { socket: watch(socket)?, limit })
    }

    /// The next connection. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`SocketError::Io`]; most are transient (no descriptors left): wait a little and call again.
    pub async fn accept(&self) -> Result<Connection, SocketError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = self
            .socket
            .async_io(Interest::READABLE, |socket| {
                rustix::net::accept_with(socket, flags).map_err(io::Error::from)
            })
            .await
            .map_err(|source| SocketError::Io { attempt: "accept", source })?;
        Connection::register(socket, self.limit)
    }
}

fn listen(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let socket = syscalls::socket(SocketFlags::NONBLOCK)?;
    rustix::net::bind(&socket, &syscalls::address(path)?)?;
    // Nobody can connect before listen, so nobody meets the umask's permissions.
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

#[expect(deprecated, reason = "its successor is an unsafe function; an OwnedFd keeps what that asks for")]
fn watch(socket: OwnedFd) -> Result<AsyncFd<OwnedFd>, SocketError> {
    AsyncFd::new(socket).map_err(|source| SocketError::Io { attempt: "watch a socket", source })
}

fn io_failed(attempt: &'static str, source: io::Error) -> SocketError {
    match Errno::from_io_error(&source) {
        Some(errno) => failed(attempt, errno),
        None => SocketError::Io { attempt, source },
    }
}

const BACKLOG: i32 = 128;
