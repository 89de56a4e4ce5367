//! What can go wrong between asking for a certificate and talking under it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::model::Identity;
use proxy_core::{Reason, Str};
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use thiserror::Error;
use x509_parser::time::ASN1Time;

use crate::credentials::MaterialError;
use crate::store::SourceError;

/// Why a handshake did not end in a stream.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The peer stalled.
    #[error("TLS handshake not finished within {limit:?}")]
    Timeout {
        /// The configured limit.
        limit: Duration,
    },
    /// The connection broke under the handshake.
    #[error("TLS handshake: the connection failed")]
    Io {
        /// As the kernel said it.
        #[source]
        source: io::Error,
    },
    /// The peer's certificate, or one above it, has ended.
    #[error(
        "TLS handshake: the peer's certificate ended at {}, and our clock says {}; it was not renewed, or a clock is wrong",
        Date(*.not_after), Date(*.clock)
    )]
    Expired {
        /// End of its validity, since the Unix epoch.
        not_after: Duration,
        /// Our wall clock, since the Unix epoch.
        clock: Duration,
    },
    /// The peer's certificate, or one above it, has not begun.
    #[error(
        "TLS handshake: the peer's certificate begins at {}, and our clock says {}; one of the clocks is wrong",
        Date(*.not_before), Date(*.clock)
    )]
    NotYetValid {
        /// Start of its validity, since the Unix epoch.
        not_before: Duration,
        /// Our wall clock, since the Unix epoch.
        clock: Duration,
    },
    /// A certificate of the peer's chain is on a revocation list.
    #[error("TLS handshake: a certificate in the peer's chain has been revoked by a list of CRL_PATH")]
    Revoked,
    /// There is a file of revocation lists, none of its versions could be read, and we are told to refuse then.
    #[error(
        "TLS handshake: CRL_PATH holds no list that can be read; repair it, or set ADIT_UNREADABLE_CRL to report to let \
         peers in meanwhile"
    )]
    RevocationUnknown,
    /// The peer's chain does not lead to our roots, or is not for this use.
    #[error("TLS handshake: the peer's certificate is refused")]
    Certificate {
        /// Always `InvalidCertificate`, with what is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The chain is sound, but the peer is somebody else.
    #[error(transparent)]
    Identity(#[from] IdentityMismatch),
    /// The peer broke the protocol, sent an alert, or shares no parameters with us.
    #[error("TLS handshake")]
    Protocol {
        /// What rustls says about it.
        #[source]
        source: rustls::Error,
    },
    /// The handshake succeeded, but not for HTTP/2.
    #[error("TLS handshake: ALPN must be h2, the peer chose {}", chosen(.got.as_deref()))]
    Alpn {
        /// What was negotiated, if anything.
        got: Option<Vec<u8>>,
    },
}

/// Why a peer with a sound chain is not the one we talk to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityMismatch {
    /// We dialed one of these identities and met none.
    #[error(
        "identity verification error: peer did not present the expected SAN ({}), got {}",
        Names(.expected), Names(.got)
    )]
    Expected {
        /// Any of these would have done.
        expected: Arc<[Identity]>,
        /// The SPIFFE identities presented, the first few.
        got: Vec<Identity>,
    },
    /// A client of another mesh.
    #[error(
        "identity verification error: peer did not present a SAN of trust domain {ours}, got {}",
        Names(.got)
    )]
    TrustDomain {
        /// The trust domain of our own certificate.
        ours: Str,
        /// The SPIFFE identities presented, the first few.
        got: Vec<Identity>,
    },
}

/// Why there are no credentials for an identity.
#[derive(Debug, Clone, Error)]
pub enum IdentityError {
    /// The last attempt failed; the store tries again on its own schedule.
    #[error("no certificate for {identity}; it is retried in the background")]
    Unavailable {
        /// Whose certificate.
        identity: Identity,
        /// How the last attempt failed.
        #[source]
        source: Arc<FetchError>,
    },
    /// The last workload of this identity left the node while we waited.
    #[error("no certificate for {identity}: the identity has left this node")]
    Forgotten {
        /// Whose certificate.
        identity: Identity,
    },
    /// The store holds as many identities as it may.
    #[error("no certificate for {identity}: the store already holds its limit of {limit} identities")]
    Full {
        /// Whose certificate.
        identity: Identity,
        /// The configured limit.
        limit: usize,
    },
    /// The runtime that fetches certificates is gone: the process is stopping.
    #[error("no certificate for {identity}: the certificate store has stopped")]
    Stopped {
        /// Whose certificate.
        identity: Identity,
    },
}

/// How one attempt to get a certificate failed.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The source (the certificate authority) said no, or could not be asked.
    #[error("fetch certificate")]
    Source {
        /// In the source's own words.
        #[source]
        source: SourceError,
    },
    /// It answered with something we cannot serve.
    #[error("use fetched certificate")]
    Material {
        /// What is wrong with it.
        #[from]
        source: MaterialError,
    },
    /// It never answered.
    #[error("fetch certificate: no answer within {limit:?}")]
    Timeout {
        /// The configured limit.
        limit: Duration,
    },
    /// The source panicked: a bug, contained to this attempt.
    #[error("fetch certificate: the source panicked")]
    Panicked,
}

impl TlsError {
    /// The one word for it in metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Revoked => Reason::Revoked,
            Self::Timeout { .. }
            | Self::Io { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::RevocationUnknown
            | Self::Certificate { .. }
            | Self::Identity(_)
            | Self::Protocol { .. }
            | Self::Alpn { .. } => Reason::TlsFailed,
        }
    }

    /// Sorts what a handshake future failed with.
    pub(crate) fn from_handshake(error: io::Error) -> Self {
        let error = match error.downcast::<rustls::Error>() {
            Ok(error) => error,
            Err(source) => return Self::Io { source },
        };
        let rustls::Error::InvalidCertificate(verdict) = &error else {
            return Self::Protocol { source: error };
        };
        Self::from_verdict(verdict).unwrap_or(Self::Certificate { source: error })
    }
}

impl TlsError {
    /// What an operator can act on.
    fn from_verdict(verdict: &CertificateError) -> Option<Self> {
        if let CertificateError::Other(other) = verdict {
            return other.0.downcast_ref::<IdentityMismatch>().cloned().map(Self::Identity);
        }
        if let CertificateError::ExpiredContext { time, not_after } = verdict {
            return Some(Self::Expired { not_after: since_epoch(*not_after), clock: since_epoch(*time) });
        }
        if let CertificateError::NotValidYetContext { time, not_before } = verdict {
            return Some(Self::NotYetValid {
                not_before: since_epoch(*not_before),
                clock: since_epoch(*time),
            });
        }
        if *verdict == CertificateError::Revoked {
            return Some(Self::Revoked);
        }
        (*verdict == CertificateError::UnknownRevocationStatus).then_some(Self::RevocationUnknown)
    }
}

impl IdentityError {
    /// The one word for it in metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unavailable { .. } | Self::Forgotten { .. } | Self::Full { .. } | Self::Stopped { .. } => {
                Reason::IdentityUnavailable
            }
        }
    }
}

/// An error with everything that caused it, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A moment since the Unix epoch, as a person reads it.
struct Date(Duration);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match i64::try_from(seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok()) {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "{seconds} s after 1970"),
        }
    }
}

const fn since_epoch(time: UnixTime) -> Duration {
    Duration::from_secs(time.as_secs())
}

/// Identities as a person reads them.
struct Names<'a>(&'a [Identity]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("no SPIFFE identity");
        };
        write!(f, "{first}")?;
        rest.iter().try_for_each(|identity| write!(f, ", {identity}"))
    }
}

fn chosen(got: Option<&[u8]>) -> String {
    got.map_or_else(|| "none".to_owned(), |name| String::from_utf8_lossy(name).into_owned())
}
