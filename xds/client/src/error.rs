//! What can go wrong between a node and its control plane, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};

use crate::ads::Termination;
use crate::backoff::Retry;
use crate::channel::Broken;

/// A connection that could not be made, or a request that could not be dressed.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not a URI that we can dial.
    #[error("control plane address {uri} cannot be used: write it as https://host:port")]
    Uri {
        /// As configured.
        uri: String,
    },
    /// A second host name that is none.
    #[error("alternate host name {name:?} is not a DNS name")]
    AltHostname {
        /// As configured.
        name: String,
    },
    /// The root file is absent or unreadable.
    #[error(
        "read the control plane's root certificates from {path}: mount them there, or name another file, PEM text or \
         SYSTEM in XDS_ROOT_CA and CA_ROOT_CA", path = path.display()
    )]
    ReadRoots {
        /// The root file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Read, but no certificate in it can be used.
    #[error("no usable root certificate in {from}: put the PEM certificate of the control plane's CA there")]
    NoRoots {
        /// Where we looked.
        from: String,
    },
    /// The token file is absent or unreadable.
    #[error(
        "read the token file {path}: project a service account token there, or name another file or a token in \
         AUTH_TOKEN", path = path.display()
    )]
    ReadToken {
        /// The token file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A token of no bytes.
    #[error("{from} is empty: it must hold a bearer token for the control plane")]
    EmptyToken {
        /// Where we looked.
        from: String,
    },
    /// A token that HTTP cannot carry.
    #[error(
        "{from} holds characters that a header cannot carry: write the token alone, without a line break"
    )]
    TokenBytes {
        /// Where we looked.
        from: String,
    },
    /// An extra header that HTTP cannot carry.
    #[error("header {name:?} has a name or a value that HTTP cannot carry")]
    Header {
        /// As configured.
        name: String,
    },
    /// The name service failed.
    #[error("resolve {host}")]
    Resolve {
        /// Host of the URI.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The name service knows no address.
    #[error("resolve {host}: it has no address")]
    NoAddress {
        /// Host of the URI.
        host: String,
    },
    /// No address took a connection; the last one is named.
    #[error("connect to {host} at {address}")]
    Connect {
        /// Host of the URI.
        host: String,
        /// Last address tried.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Name, address or handshake took too long.
    #[error("{step} {uri}: no answer in {} ms", after.as_millis())]
    Timeout {
        /// What was waited for.
        step: &'static str,
        /// The peer.
        uri: String,
        /// How long.
        after: Duration,
    },
    /// No TLS configuration could be made of the endpoint.
    #[error("configure TLS for {uri}")]
    Tls {
        /// The peer.
        uri: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The server's certificate was not accepted.
    #[error("trust the certificate of {uri}, checked against {roots}")]
    Untrusted {
        /// The peer.
        uri: String,
        /// What it was checked against.
        roots: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The TLS handshake failed otherwise.
    #[error("TLS handshake with {uri}")]
    Handshake {
        /// The peer.
        uri: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS is there, HTTP/2 is not.
    #[error("{uri} does not offer HTTP/2: is this the control plane's gRPC port?")]
    NotHttp2 {
        /// The peer.
        uri: String,
    },
    /// The HTTP/2 preface could not be sent.
    #[error("begin HTTP/2 with {uri}")]
    Http2 {
        /// The peer.
        uri: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
}

/// How a discovery stream ended.
#[derive(Debug, thiserror::Error)]
pub enum AdsError {
    /// It never began.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Connected, but the stream was not granted.
    #[error("open the discovery stream{}", hint(status))]
    Open {
        /// The peer's answer.
        #[source]
        status: Status,
    },
    /// It ended with an error.
    #[error("read the discovery stream{}", hint(status))]
    Stream {
        /// The peer's answer, or how the connection broke.
        #[source]
        status: Status,
    },
    /// The control plane ended it in peace.
    #[error("the control plane closed the discovery stream")]
    Closed,
    /// The control plane pushes but does not read our answers.
    #[error("the control plane took no answer in {} s", after.as_secs())]
    Stalled {
        /// How long we waited.
        after: Duration,
    },
    /// Whoever applies updates panicked.
    #[error("apply a push of {type_url}")]
    Apply {
        /// Type of the push.
        type_url: &'static str,
        /// The panic.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl AdsError {
    /// How eagerly to connect again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Closed => Retry::Soon,
            Self::Stream { status } if routine(status) => Retry::Soon,
            Self::Channel(_)
            | Self::Open { .. }
            | Self::Stream { .. }
            | Self::Stalled { .. }
            | Self::Apply { .. } => Retry::Later,
        }
    }

    /// Whether the control plane may have found our request too long; it says the same when it limits our rate.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        match self {
            Self::Open { status } | Self::Stream { status } => {
                matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange)
            }
            Self::Channel(_) | Self::Closed | Self::Stalled { .. } | Self::Apply { .. } => false,
        }
    }

    /// The word under which the ending is counted.
    #[must_use]
    pub fn termination(&self) -> Termination {
        match self {
            Self::Channel(_) | Self::Open { .. } => Termination::ConnectionError,
            Self::Closed => Termination::Complete,
            Self::Stream { status } if routine(status) => Termination::Reconnect,
            Self::Stream { .. } | Self::Stalled { .. } | Self::Apply { .. } => Termination::Error,
        }
    }
}

/// A connection that closed under an open stream is how istiod rolls out and sheds load.
fn routine(status: &Status) -> bool {
    let broken = status.source().is_some_and(<dyn Error>::is::<Broken>);
    broken || matches!(status.code(), Code::Unknown | Code::Cancelled | Code::DeadlineExceeded)
}

/// A certificate that was not issued.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Not a name that a certificate can carry.
    #[error("identity {identity:?} cannot be written into a certificate request")]
    Identity {
        /// As asked for.
        identity: String,
    },
    /// No key or no request could be made.
    #[error("make a key and a certificate request for {identity}")]
    Request {
        /// As asked for.
        identity: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The CA was not reached.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Everything together took too long.
    #[error("the CA did not issue a certificate for {identity} in {} ms", after.as_millis())]
    Deadline {
        /// As asked for.
        identity: String,
        /// How long we waited.
        after: Duration,
    },
    /// The CA answered no.
    #[error("ask the CA for a certificate of {identity}{}", hint(status))]
    Refused {
        /// As asked for.
        identity: String,
        /// Its answer.
        #[source]
        status: Status,
    },
    /// Fewer than a leaf and a root.
    #[error("the CA answered with {elements} chain elements: a leaf and a root are needed")]
    ShortChain {
        /// Elements in the answer.
        elements: usize,
    },
    /// An element before the last that is no certificate.
    #[error("element {index} of the CA's chain is not a certificate: {why}")]
    Element {
        /// From 0, the leaf.
        index: usize,
        /// In the parser's words.
        why: String,
    },
    /// A certificate for someone else.
    #[error("the CA issued a certificate for {}, not for {wanted}", got.as_deref().unwrap_or("nobody"))]
    WrongIdentity {
        /// As asked for.
        wanted: String,
        /// First URI name of the certificate, shortened.
        got: Option<String>,
    },
    /// A certificate for another key than ours.
    #[error("the CA issued a certificate for {identity} with a key that is not ours")]
    WrongKey {
        /// As asked for.
        identity: String,
    },
    /// No root to check peers against.
    #[error("the last element of the CA's chain holds no usable root certificate")]
    NoRoots,
}

impl CaError {
    /// Whether the same question may get another answer later.
    #[must_use]
    pub const fn retry(&self) -> bool {
        match self {
            Self::Identity { .. } => false,
            Self::Request { .. }
            | Self::Channel(_)
            | Self::Deadline { .. }
            | Self::Refused { .. }
            | Self::ShortChain { .. }
            | Self::Element { .. }
            | Self::WrongIdentity { .. }
            | Self::WrongKey { .. }
            | Self::NoRoots => true,
        }
    }
}

/// What an operator can do about a refusal; istiod's own words are kept short on purpose.
fn hint(status: &Status) -> &'static str {
    match status.code() {
        Code::Unauthenticated => {
            ": the control plane does not accept our token; check its audience and age, and that our service account \
             may act for the pods of this node (CA_TRUSTED_NODE_ACCOUNTS)"
        }
        Code::PermissionDenied => {
            ": the token's namespace and service account must be those of this node's metadata"
        }
        Code::ResourceExhausted => ": the control plane is limiting us",
        Code::Unimplemented => ": is this the control plane's gRPC port, and is ambient enabled there?",
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => "",
    }
}

/// Shows an error with all its causes on one line, for logs.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = Some(self.0);
        let mut separator = "";
        while let Some(error) = next {
            match error.downcast_ref::<Status>() {
                // Its cause, when it has one, is already in its message.
                Some(status) => {
                    let words = clip(status.message(), SHOWN);
                    return write!(f, "{separator}{:?} {words:?}", status.code());
                }
                None => write!(f, "{separator}{error}")?,
            }
            separator = ": ";
            next = error.source();
        }
        Ok(())
    }
}

/// At most so many bytes of a text, cut between characters.
pub(crate) fn clip(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Bytes of a status message that a log line repeats.
const SHOWN: usize = 1024;

#[cfg(test)]
mod tests;
