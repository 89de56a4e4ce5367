//! The application's socket until its bytes flow: refused means reset, and how a relay's ending reads.

use proxy_hbone::{Ended, RelayError};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::error::ConnError;

/// A socket that is reset unless it is released: an application whose connection is refused must see an error, never an
/// orderly end without data.
#[derive(Debug)]
pub(crate) struct Captured(Option<TcpStream>);

impl Captured {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self(Some(stream))
    }

    #[expect(
        clippy::expect_used,
        reason = "only `release`, which consumes the value, takes the socket out"
    )]
    pub(crate) fn socket(&self) -> &TcpStream {
        self.0.as_ref().expect("not released")
    }

    #[expect(
        clippy::expect_used,
        reason = "consumes the value: this is the first and last taking"
    )]
    pub(crate) fn release(mut self) -> TcpStream {
        self.0.take().expect("not released")
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            // With zero linger a close is a reset. When the option cannot be set, the socket is already dead.
            let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

/// What a relay's ending means. A reset by either application is an ending of their own choosing.
pub(crate) fn settle(ended: Result<Ended<ConnError>, RelayError>) -> Result<(), ConnError> {
    match ended.map_err(ConnError::Relay)? {
        Ended::Copied | Ended::Reset { .. } => Ok(()),
        Ended::HalfCloseTimeout => Err(ConnError::HalfCloseTimeout),
        Ended::Cut(error) => Err(error),
    }
}
