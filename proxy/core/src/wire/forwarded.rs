//! Whom a tunnel stream is carried for: the `forwarded` header (RFC 7239), for telemetry only.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use crate::Str;

/// What a peer says about the connection it carries. Nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Forwarded {
    /// The client's address; the port is 0 when the peer gave none.
    pub source: Option<SocketAddr>,
    /// The service that the client meant.
    pub host: Option<Str>,
}

/// The header for a connection from `source` to a service, if it is known which.
#[must_use]
pub fn encode(source: SocketAddr, host: Option<&str>) -> String {
    let mut header = format!("for=\"{source}\"");
    if let Some(host) = host.filter(|host| !host.is_empty() && host.bytes().all(is_host_byte)) {
        // Writing to a String cannot fail.
        let _ = write!(header, ";host={host}");
    }
    header
}

/// Reads the first element of a header. What is malformed is left out; the first of two parameters of one name counts.
#[must_use]
pub fn parse(header: &[u8]) -> Forwarded {
    let mut forwarded = Forwarded::default();
    let Ok(header) = str::from_utf8(header) else {
        return forwarded;
    };
    if !header.is_ascii() || header.len() > LONGEST_HEADER {
        return forwarded;
    }
    let element = header.split(',').next().unwrap_or_default();
    for (name, value) in element.split(';').filter_map(|pair| pair.split_once('=')) {
        let value = unquote(value.trim());
        let name = name.trim();
        if name.eq_ignore_ascii_case("for") {
            forwarded.source = forwarded.source.or_else(|| node(value));
        } else if name.eq_ignore_ascii_case("host") && forwarded.host.is_none() {
            let fits = !value.is_empty() && value.len() <= LONGEST_HOST && value.bytes().all(is_host_byte);
            forwarded.host = fits.then(|| value.into());
        }
    }
    forwarded
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// An address with or without port; IPv6 in brackets. Obfuscated names are not addresses.
fn node(value: &str) -> Option<SocketAddr> {
    let address = value.parse().ok().or_else(|| {
        let bare = value.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(value);
        bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0))
    })?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*' | b':')
}

const LONGEST_HEADER: usize = 1024;
const LONGEST_HOST: usize = 260;

#[cfg(test)]
mod tests;
