//! The bounds on what a peer may cost, by name, and which of them an ending means.

use std::error::Error;
use std::fmt;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use proxy_hbone::TunnelError;
use proxy_mtls::TlsError;

use crate::error::ConnError;
use crate::net::dial::DialError;

/// A bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// Nobody answered a TCP connect.
    TcpConnect,
    /// A TLS handshake took too long.
    TlsHandshake,
    /// Handshakes at once with peers that are not known yet.
    Handshakes,
    /// The HTTP/2 preface and first SETTINGS took too long.
    Settings,
    /// The answer to a CONNECT took too long.
    ConnectResponse,
    /// A PING was not answered.
    Ping,
    /// Streams that a peer has open at once.
    Streams,
    /// Streams that a peer opened and reset.
    Resets,
    /// HTTP/2 itself called the peer's frames too many of a kind: empty DATA, CONTINUATION, SETTINGS or PING floods.
    Frames,
    /// A half-closed connection stood still.
    HalfClosed,
    /// The CA did not answer.
    CaCall,
    /// Descriptors are short, and this pod has the most.
    Descriptors,
}

impl Limit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TcpConnect => "tcp_connect",
            Self::TlsHandshake => "tls_handshake",
            Self::Handshakes => "handshakes",
            Self::Settings => "settings",
            Self::ConnectResponse => "connect_response",
            Self::Ping => "ping",
            Self::Streams => "streams",
            Self::Resets => "resets",
            Self::Frames => "frames",
            Self::HalfClosed => "half_closed",
            Self::CaCall => "ca_call",
            Self::Descriptors => "descriptors",
        }
    }

    /// The bound that brought this ending about, if one did.
    pub(crate) fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let found = error.downcast_ref().and_then(of_connection);
            let found = found.or_else(|| error.downcast_ref().and_then(of_tunnel));
            let found = found.or_else(|| error.downcast_ref().and_then(of_tls));
            let found = found.or_else(|| error.downcast_ref().and_then(of_dial));
            if found.is_some() {
                return found;
            }
            next = error.source();
        }
        None
    }
}

fn of_connection(error: &ConnError) -> Option<Limit> {
    if matches!(error, ConnError::Handshakes) {
        return Some(Limit::Handshakes);
    }
    if matches!(error, ConnError::Short(_)) {
        return Some(Limit::Descriptors);
    }
    matches!(error, ConnError::HalfCloseTimeout).then_some(Limit::HalfClosed)
}

fn of_tunnel(error: &TunnelError) -> Option<Limit> {
    if matches!(error, TunnelError::SettingsTimeout { .. }) {
        return Some(Limit::Settings);
    }
    if matches!(error, TunnelError::ResponseTimeout { .. }) {
        return Some(Limit::ConnectResponse);
    }
    if matches!(error, TunnelError::KeepaliveTimeout { .. }) {
        return Some(Limit::Ping);
    }
    if matches!(error, TunnelError::TooManyResets { .. }) {
        return Some(Limit::Resets);
    }
    error.is_abuse().then_some(Limit::Frames)
}

fn of_tls(error: &TlsError) -> Option<Limit> {
    matches!(error, TlsError::Timeout { .. }).then_some(Limit::TlsHandshake)
}

fn of_dial(error: &DialError) -> Option<Limit> {
    matches!(error, DialError::TimedOut { .. }).then_some(Limit::TcpConnect)
}

impl EncodeLabelValue for Limit {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[cfg(test)]
mod tests;
