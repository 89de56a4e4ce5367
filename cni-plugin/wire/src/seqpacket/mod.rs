//! Packets over `AF_UNIX` `SOCK_SEQPACKET`: whole messages, each with the descriptors that came with it.

mod blocking;
mod connection;
mod syscalls;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub use blocking::BlockingConnection;
pub use connection::{Connection, Listener};

/// One whole message. Descriptors nobody takes are closed when it is dropped.
#[derive(Debug)]
pub struct Packet {
    /// Never empty: an empty read is [`SocketError::Closed`].
    pub bytes: Vec<u8>,
    /// All close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Why a packet did not travel.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Nobody listens there, or the address is unusable.
    #[error("connect to {path}")]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket could not be put in place.
    #[error("listen on {path}")]
    Listen {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Any other operation.
    #[error("{attempt}")]
    Io {
        /// What was tried: `send`, `receive`, ...
        attempt: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A blocking operation ran into the connection's timeout.
    #[error("{attempt}: no progress within the timeout")]
    TimedOut {
        /// What was tried.
        attempt: &'static str,
    },
    /// The message was longer than this side reads; its descriptors are closed.
    #[error("a packet of more than {limit} bytes arrived")]
    Truncated {
        /// The receiver's limit in bytes.
        limit: usize,
    },
    /// More descriptors arrived than anybody may send; all are closed.
    #[error("a packet with more than {limit} descriptors arrived")]
    DescriptorsTruncated {
        /// The most descriptors the receiver takes.
        limit: usize,
    },
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
}
