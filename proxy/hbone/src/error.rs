//! Why there is no tunnel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use proxy_core::Reason;
use proxy_mtls::TlsError;

/// Why the next hop could not be dialed, in the words of whoever dials.
pub trait DialError: std::error::Error + Send + Sync + 'static {
    /// Why the connections that wait for this dial end.
    fn reason(&self) -> Reason;
}

/// Why a tunnel, or the connection that would carry it, did not come about or ended early.
///
/// Cheap to clone: everybody who waits for one dial is told of its one failure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TunnelError {
    /// TCP, TLS or our own credentials failed.
    #[error(transparent)]
    Dial(Arc<dyn DialError>),
    /// TLS with the peer behind the next hop failed.
    #[error("tls handshake error")]
    Tls(#[source] Arc<TlsError>),
    /// The next hop let us through, and there is no tunnel with the peer behind it.
    #[error("behind the gateway")]
    Inside {
        /// How that tunnel failed.
        #[source]
        source: Arc<Self>,
    },
    /// The task that dialed ended without an answer.
    #[error("the dial was abandoned; see the log for a panic")]
    Abandoned,
    /// HTTP/2 did not start. In TLS 1.3 this is also how a server rejects a client's certificate.
    #[error("HTTP/2 handshake")]
    Handshake {
        /// What HTTP/2 says about it.
        #[source]
        source: Arc<h2::Error>,
    },
    /// The peer closed the connection in good order, and before it was of any use.
    #[error("HTTP/2 handshake: the peer closed the connection")]
    Closed,
    /// A connection that carried tunnels failed.
    #[error("the tunnel connection failed")]
    Failed {
        /// What HTTP/2 says about it.
        #[source]
        source: Arc<h2::Error>,
    },
    /// The peer took its request back before it was answered.
    #[error("CONNECT was withdrawn before it was answered")]
    Withdrawn {
        /// What HTTP/2 says about it.
        #[source]
        source: Arc<h2::Error>,
    },
    /// The peer did not say in time what it allows.
    #[error("HTTP/2 handshake: no preface and SETTINGS from the peer within {limit:?}")]
    SettingsTimeout {
        /// The configured limit.
        limit: Duration,
    },
    /// A value cannot be sent as a header.
    #[error("CONNECT request: {field} holds bytes that a header cannot carry")]
    Head {
        /// The header's name.
        field: &'static str,
    },
    /// The stream or its connection broke before the peer answered.
    #[error("the tunnel's connection ended before the peer answered CONNECT")]
    Lost {
        /// What HTTP/2 says about it.
        #[source]
        source: Arc<h2::Error>,
        /// Whether the peer cannot have acted on the request.
        unprocessed: bool,
    },
    /// The peer took the request and said nothing.
    #[error("no answer to CONNECT within {limit:?}")]
    ResponseTimeout {
        /// The configured limit.
        limit: Duration,
    },
    /// The peer answered, and not with 200.
    #[error("http status: {status}")]
    Refused {
        /// Its answer.
        status: StatusCode,
    },
    /// A certificate of the peer's chain was revoked while the connection was open.
    #[error("the peer's certificate has been revoked")]
    Revoked,
    /// The peer answers no PING.
    #[error("no answer to a PING within {limit:?}")]
    KeepaliveTimeout {
        /// The configured limit.
        limit: Duration,
    },
    /// A client opens streams only to reset them.
    #[error("the peer reset more than {limit} unanswered streams in half a minute")]
    TooManyResets {
        /// The configured limit.
        limit: u32,
    },
}

impl TunnelError {
    /// Why the application's connection ends.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Dial(error) => error.reason(),
            Self::Tls(error) => error.reason(),
            Self::Inside { source } => source.reason(),
            Self::Handshake { source } if is_tls(source) => Reason::TlsFailed,
            Self::Refused { .. } => Reason::PeerRefused,
            Self::Head { .. } => Reason::BadRequest,
            Self::Revoked => Reason::Revoked,
            Self::Abandoned
            | Self::Closed
            | Self::Handshake { .. }
            | Self::Failed { .. }
            | Self::Withdrawn { .. }
            | Self::SettingsTimeout { .. }
            | Self::Lost { .. }
            | Self::ResponseTimeout { .. }
            | Self::KeepaliveTimeout { .. }
            | Self::TooManyResets { .. } => Reason::TunnelFailed,
        }
    }

    /// Whether HTTP/2 closed the connection because of what its peer sent too much of.
    #[must_use]
    pub fn is_abuse(&self) -> bool {
        let (Self::Handshake { source } | Self::Failed { source }) = self else { return false };
        source.is_library() && source.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    }

    pub(crate) fn handshake(source: h2::Error) -> Self {
        Self::Handshake { source: Arc::new(source) }
    }

    pub(crate) fn inside(self) -> Self {
        Self::Inside { source: Arc::new(self) }
    }

    pub(crate) fn failed(source: h2::Error) -> Self {
        Self::Failed { source: Arc::new(source) }
    }

    pub(crate) fn withdrawn(source: h2::Error) -> Self {
        Self::Withdrawn { source: Arc::new(source) }
    }

    /// The request never reached the peer.
    pub(crate) fn unsent(source: h2::Error) -> Self {
        Self::Lost { source: Arc::new(source), unprocessed: true }
    }

    /// The request was sent and no response came.
    pub(crate) fn unanswered(source: h2::Error) -> Self {
        // RFC 9113, section 8.7: these two promise that the request was not processed. A GOAWAY ends only streams that the
        // peer did not and will not process; those that it will process go on.
        let unprocessed = source.is_remote()
            && (source.is_go_away() || source.reason() == Some(h2::Reason::REFUSED_STREAM));
        Self::Lost { source: Arc::new(source), unprocessed }
    }

    /// Whether the same request may be made once more on another connection. `reused` says that this one had carried
    /// streams before: then it may have been dead all along, and a CONNECT has carried no data yet.
    pub(crate) fn may_retry(&self, reused: bool) -> bool {
        match self {
            Self::Lost { source, unprocessed } => *unprocessed || (reused && source.is_io()),
            Self::Dial(_)
            | Self::Tls(_)
            | Self::Inside { .. }
            | Self::Abandoned
            | Self::Closed
            | Self::Handshake { .. }
            | Self::Failed { .. }
            | Self::Withdrawn { .. }
            | Self::SettingsTimeout { .. }
            | Self::Head { .. }
            | Self::ResponseTimeout { .. }
            | Self::Refused { .. }
            | Self::Revoked
            | Self::KeepaliveTimeout { .. }
            | Self::TooManyResets { .. } => false,
        }
    }
}

/// TLS reports what it finds in the peer's records, alerts among them, as invalid data.
fn is_tls(error: &h2::Error) -> bool {
    error.get_io().is_some_and(|io| io.kind() == io::ErrorKind::InvalidData)
}
