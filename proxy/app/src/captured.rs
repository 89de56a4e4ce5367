//! The application's socket until its bytes flow: refused means reset, and how a relay's ending reads.

use std::time::Duration;

use proxy_hbone::{Ended, RelayError};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::ConnError;

/// The application's socket: released to a relay, or reset.
#[derive(Debug)]
pub(crate) struct Captured(Option<TcpStream>);

/// How long a refused client has to say something before it is reset.
const REFUSAL: Duration = Duration::from_millis(200);
/// How long the node agent may look at a canary.
const CANARY: Duration = Duration::from_secs(5);

impl Captured {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self(Some(stream))
    }

    /// `None` once it is released.
    pub(crate) const fn socket(&self) -> Option<&TcpStream> {
        self.0.as_ref()
    }

    /// Hands the socket on; from here on its ending is the relay's.
    pub(crate) fn release(&mut self) -> Result<TcpStream, ConnError> {
        self.0.take().ok_or(ConnError::Captured)
    }

    /// Resets the socket unless it was released: an application whose connection is refused must see an error, never an
    /// orderly end without data.
    ///
    /// The reset waits for the client's first bytes, or a moment. Sent at once it can overtake the client's `connect`,
    /// which then fails as if nobody listened, and which of the two the application sees would be chance.
    pub(crate) async fn refuse(mut self) {
        if let Some(stream) = &self.0 {
            // Whatever comes of it, the reset follows. `readable` will not do: tokio takes a fresh socket for ready.
            let _ = timeout(REFUSAL, stream.peek(&mut [0])).await;
        }
        self.reset();
    }

    /// Holds a canary open until the node agent has seen by whom it was accepted; it is no connection of the
    /// application's, and nothing is read from it.
    pub(crate) async fn land(self) {
        if let Some(stream) = &self.0 {
            let _ = timeout(CANARY, stream.peek(&mut [0])).await;
        }
    }

    fn reset(&mut self) {
        if let Some(stream) = self.0.take() {
            // With zero linger a close is a reset. When the option cannot be set, the socket is already dead.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.reset();
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

/// What ends a relay, or the revocation of who is at its other end.
pub(crate) async fn unless_revoked(
    cut: impl Future<Output = ConnError>,
    revoked: impl Future<Output = ()>,
) -> ConnError {
    tokio::select! {
        biased;
        () = revoked => ConnError::Revoked,
        error = cut => error,
    }
}
