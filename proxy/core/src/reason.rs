//! Why a connection ended: one word that becomes the HBONE status, the `response_flags` label and the log level.

/// Why a connection ended, when it did not simply finish.
///
/// Labels that ztunnel has keep its values; the others are ours, because ztunnel counts those endings as `CONNECT` or not
/// at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// An authorization policy refused the connection when it came.
    PolicyDenied,
    /// A policy that changed refused a connection that was open.
    PolicyChanged,
    /// The next hop did not accept a connection.
    ConnectFailed,
    /// The tunnel port did not answer: something filters it.
    NetworkPolicy,
    /// The TLS handshake or the verification of the peer failed.
    TlsFailed,
    /// HTTP/2 failed on a connection whose TLS was fine.
    TunnelFailed,
    /// There is no certificate for the local identity.
    IdentityUnavailable,
    /// A certificate in the peer's chain has been revoked.
    Revoked,
    /// The peer asked for something malformed, or for an address that is not ours.
    BadRequest,
    /// There is no way to the destination.
    NoRoute,
    /// The service has no endpoint that can be used.
    NoEndpoint,
    /// The proxy is shutting down, or the workload left.
    Drained,
    /// The peer answered the tunnel request with another status than 200.
    PeerRefused,
    /// The control plane has not announced the local workload.
    UnknownWorkload,
    /// The connection was meant for a port of this proxy itself.
    SelfCall,
    /// Reading or writing failed while bytes were being copied.
    Io,
    /// One side had finished and the other made no progress for too long.
    HalfCloseTimeout,
    /// The node is short of something, and this workload has the most of it.
    Overloaded,
}

/// How loud the access log is about an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// An ending that operators expect.
    Info,
    /// A failure.
    Error,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 18] = [
        Self::PolicyDenied,
        Self::PolicyChanged,
        Self::ConnectFailed,
        Self::NetworkPolicy,
        Self::TlsFailed,
        Self::TunnelFailed,
        Self::IdentityUnavailable,
        Self::Revoked,
        Self::BadRequest,
        Self::NoRoute,
        Self::NoEndpoint,
        Self::Drained,
        Self::PeerRefused,
        Self::UnknownWorkload,
        Self::SelfCall,
        Self::Io,
        Self::HalfCloseTimeout,
        Self::Overloaded,
    ];

    /// The HTTP status that a CONNECT is answered with; `None` where the stream is reset, or where there is no stream.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::BadRequest => Some(400),
            Self::PolicyDenied => Some(401),
            Self::ConnectFailed
            | Self::NetworkPolicy
            | Self::IdentityUnavailable
            | Self::NoRoute
            | Self::NoEndpoint
            | Self::UnknownWorkload
            | Self::SelfCall
            | Self::Overloaded => Some(503),
            Self::PolicyChanged
            | Self::TlsFailed
            | Self::TunnelFailed
            | Self::Revoked
            | Self::Drained
            | Self::PeerRefused
            | Self::Io
            | Self::HalfCloseTimeout => None,
        }
    }

    /// The value of the `response_flags` label.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::PolicyDenied | Self::PolicyChanged => "DENY",
            Self::ConnectFailed | Self::PeerRefused => "CONNECT",
            Self::NetworkPolicy => "NETWORK_POLICY",
            Self::TlsFailed => "TLS_FAILURE",
            Self::TunnelFailed => "H2_HANDSHAKE_FAILURE",
            Self::IdentityUnavailable => "IDENTITY_ERROR",
            Self::Revoked => "CERT_REVOKED",
            Self::BadRequest => "BAD_REQUEST",
            Self::NoRoute => "NO_ROUTE",
            Self::NoEndpoint => "NO_ENDPOINT",
            Self::Drained => "DRAIN",
            Self::UnknownWorkload => "UNKNOWN_WORKLOAD",
            Self::SelfCall => "SELF_CALL",
            Self::Io => "IO",
            Self::HalfCloseTimeout => "HALF_CLOSE_TIMEOUT",
            Self::Overloaded => "OVERLOADED",
        }
    }

    /// How loud the access log is.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Drained => Level::Info,
            Self::PolicyDenied
            | Self::PolicyChanged
            | Self::ConnectFailed
            | Self::NetworkPolicy
            | Self::TlsFailed
            | Self::TunnelFailed
            | Self::IdentityUnavailable
            | Self::Revoked
            | Self::BadRequest
            | Self::NoRoute
            | Self::NoEndpoint
            | Self::PeerRefused
            | Self::UnknownWorkload
            | Self::SelfCall
            | Self::Io
            | Self::HalfCloseTimeout
            | Self::Overloaded => Level::Error,
        }
    }
}

/// The `response_flags` label of an ending; `-` for a connection that simply finished.
#[must_use]
pub const fn flag(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(reason) => reason.flag(),
        None => "-",
    }
}

#[cfg(test)]
mod tests;
