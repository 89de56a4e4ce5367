//! Bytes on their way into a connection, whose arrival there can be noticed.

use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Bytes handed to HTTP/2, until they are written to the connection or thrown away.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    _in_flight: Option<Arc<()>>,
}

/// Knows whether pieces of one stream still wait to be written.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Arc<()>);

impl InFlight {
    pub(crate) fn piece(&self, bytes: Bytes) -> Piece {
        Piece { bytes, _in_flight: Some(Arc::clone(&self.0)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Piece {
    /// Bytes whose arrival nobody asks about.
    pub(crate) const fn unwatched(bytes: Bytes) -> Self {
        Self { bytes, _in_flight: None }
    }

    /// Nothing, to carry END_STREAM.
    pub(crate) const fn empty() -> Self {
        Self::unwatched(Bytes::new())
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.bytes.copy_to_bytes(len)
    }
}
