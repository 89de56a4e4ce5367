//! An application's socket that is reset unless its relay ended well.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// A socket whose peer sees RST when this is dropped before [`App::finish`].
#[derive(Debug)]
pub(super) struct App {
    pub(super) stream: TcpStream,
    finished: bool,
}

impl App {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream, finished: false }
    }

    /// Both directions have ended: closing is silent.
    pub(super) const fn finish(&mut self) {
        self.finished = true;
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Sends FIN.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if !self.finished {
            // Fails only on a socket that is not one.
            let _ = self.stream.set_zero_linger();
        }
    }
}
