//! The request that opens a tunnel stream: HTTP/2 CONNECT to an address or a hostname (RFC 9113, section 8.5).

use std::{fmt, net::SocketAddr, str::FromStr};

use crate::{Reason, Str};

/// Where a tunnel stream is asked to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// An address; never an IPv4-mapped IPv6 one.
    Addr(SocketAddr),
    /// A hostname, which the destination's proxy resolves, and a service port.
    Host(Str, u16),
}

/// A request that does not open a tunnel stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Another method.
    #[error("method {0:?} is not CONNECT")]
    Method(String),
    /// No authority at all.
    #[error("the request has no authority")]
    Missing,
    /// Neither `ip:port` nor `host:port`.
    #[error("authority {0:?} is not an address or hostname with a port")]
    Authority(String),
}

impl RequestError {
    /// Why the stream ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Method(_) | Self::Missing | Self::Authority(_) => Reason::BadRequest,
        }
    }
}

/// Reads a request's method and authority.
///
/// # Errors
/// When the method is not CONNECT, or the authority is not an address or a hostname with a port from 1 to 65535.
pub fn request(method: &str, authority: Option<&str>) -> Result<Authority, RequestError> {
    if method != "CONNECT" {
        return Err(RequestError::Method(quote(method)));
    }
    authority.ok_or(RequestError::Missing)?.parse()
}

impl Authority {
    /// The port asked for.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Addr(address) => address.port(),
            Self::Host(_, port) => *port,
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for Authority {
    fn from(address: SocketAddr) -> Self {
        Self::Addr(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl FromStr for Authority {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| RequestError::Authority(quote(text)))
    }
}

fn parse(text: &str) -> Option<Authority> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then(|| address.into());
    }
    let (host, port) = text.rsplit_once(':')?;
    // `u16::from_str` takes a sign, an authority does not (RFC 3986, section 3.2.3).
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)?.parse().ok()?;
    (port != 0 && is_hostname(host)).then(|| Authority::Host(host.into(), port))
}

/// Whether a text can be a hostname.
pub(super) fn is_hostname(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_HOST && text.bytes().all(is_hostname_byte)
}

const fn is_hostname_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*')
}

fn quote(text: &str) -> String {
    text.chars().take(LONGEST_HOST).collect()
}

/// The longest hostname that DNS can carry (RFC 1035, section 2.3.4), with room for a trailing dot.
const LONGEST_HOST: usize = 254;

#[cfg(test)]
mod tests;
