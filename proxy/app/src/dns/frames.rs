//! DNS messages on a TCP connection, each after its length (RFC 1035 4.2.2).

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tcp::IDLE;

/// One connection.
#[derive(Debug)]
pub(super) struct Frames {
    stream: TcpStream,
    read: BytesMut,
}

impl Frames {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, read: BytesMut::new() }
    }

    /// The next message, `None` at an orderly end. Nothing is lost when it is not waited for to the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.whole() {
                return Ok(Some(message));
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                // Half a message is no message.
                return if self.read.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    fn whole(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes(*self.read.first_chunk()?));
        let message = self.read.get(2..length.saturating_add(2))?.to_vec();
        self.read.advance(message.len().saturating_add(2));
        Some(message)
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(message.len().saturating_add(2));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
        timeout(IDLE, self.stream.write_all(&frame)).await?
    }
}
