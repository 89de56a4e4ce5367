//! Why a connection ended otherwise than by both sides finishing: one enum, from which the one [`Reason`] follows.

use std::error::Error;
use std::fmt;

use proxy_core::Reason;
use proxy_core::decide::{AdmitError, Deny, RouteError, UnknownWorkload};
use proxy_core::wire::hbone::RequestError;
use proxy_core::wire::proxy_header::HeaderTooLong;
use proxy_hbone::{RelayError, TunnelError};
use proxy_mtls::{IdentityError, TlsError};

use crate::descriptors::Short;
use crate::live::Undecided;
use crate::net::dial::DialError;
use crate::socks5::SocksError;

/// The ending of one connection.
///
/// The texts are read by people who grep for them: those that ztunnel has begin as ztunnel's do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnError {
    #[error("the connection was closed before it was served")]
    Captured,
    #[error("attempted recursive call to ourselves")]
    SelfCall,
    #[error(transparent)]
    UnknownWorkload(#[from] UnknownWorkload),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Undecided(#[from] Undecided),
    #[error("connection failed")]
    Dial(#[source] DialError),
    #[error(transparent)]
    Header(#[from] HeaderTooLong),
    #[error("write the PROXY protocol header to the application")]
    WriteHeader(#[source] std::io::Error),
    #[error("identity error")]
    Identity(#[from] IdentityError),
    #[error("too many TLS handshakes at once")]
    Handshakes,
    #[error(transparent)]
    Short(#[from] Short),
    #[error("tls handshake error")]
    Tls(#[source] TlsError),
    #[error("{}", .0)]
    Tunnel(#[source] TunnelError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error("connection closed due to policy rejection: {0}")]
    Denied(Deny),
    #[error("connection closed due to policy change: {0}")]
    PolicyChanged(Deny),
    #[error("connection closed due to connection drain")]
    Drained,
    #[error("connection closed because the peer's certificate has been revoked")]
    Revoked,
    #[error("one side had finished and the other made no progress")]
    HalfCloseTimeout,
    #[error("the peer took its request back")]
    Withdrawn,
    #[error(transparent)]
    Socks(#[from] SocksError),
    #[error(transparent)]
    Relay(RelayError),
}

impl ConnError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Captured | Self::Withdrawn => Reason::Io,
            Self::Relay(error) => error.reason(),
            Self::Socks(error) => error.reason(),
            Self::SelfCall => Reason::SelfCall,
            Self::UnknownWorkload(error) => error.reason(),
            Self::Route(error) => error.reason(),
            Self::Undecided(_) => Reason::NoRoute,
            Self::Dial(_) | Self::WriteHeader(_) => Reason::ConnectFailed,
            Self::Header(error) => error.reason(),
            Self::Identity(_) => Reason::IdentityUnavailable,
            Self::Handshakes => Reason::TlsFailed,
            Self::Tls(error) => error.reason(),
            Self::Short(_) => Reason::Overloaded,
            Self::Tunnel(error) => error.reason(),
            Self::Request(error) => error.reason(),
            Self::Admit(error) => error.reason(),
            Self::Denied(_) => Reason::PolicyDenied,
            Self::PolicyChanged(_) => Reason::PolicyChanged,
            Self::Drained => Reason::Drained,
            Self::Revoked => Reason::Revoked,
            Self::HalfCloseTimeout => Reason::HalfCloseTimeout,
        }
    }
}

/// An error with its causes, in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // A transparent error repeats its cause.
            if text != said {
                write!(f, ": {text}")?;
            }
            said = text;
            next = cause.source();
        }
        Ok(())
    }
}
