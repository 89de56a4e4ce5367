//! What an application says to ask for a connection by SOCKS version 5 (RFC 1928), and what it is answered.

use std::net::{IpAddr, SocketAddr};

use super::hbone::is_hostname;
use crate::{Reason, Str};

/// Where an application wants to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address; never an IPv4-mapped IPv6 one.
    Addr(SocketAddr),
    /// A hostname, which the application leaves to us, and a port.
    Host(Str, u16),
}

/// Bytes that are not the protocol, or a part of it that is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Another version.
    #[error("SOCKS version {0} is not version 5")]
    Version(u8),
    /// Authentication methods, none of which is "none".
    #[error("none of {0} authentication methods is none at all")]
    Authentication(u8),
    /// Another command than CONNECT.
    #[error("SOCKS command {0} is not CONNECT")]
    Command(u8),
    /// Neither IPv4, IPv6 nor a hostname.
    #[error("SOCKS address type {0} is not known")]
    AddressType(u8),
    /// A hostname that is none.
    #[error("a SOCKS request names a host that is no hostname")]
    Hostname,
}

impl ProtocolError {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Version(_)
            | Self::Authentication(_)
            | Self::Command(_)
            | Self::AddressType(_)
            | Self::Hostname => Reason::BadRequest,
        }
    }
}

/// A message as far as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// All of it.
    All(T),
    /// At least so many bytes are still to come; what follows the message is never among them.
    Lacks(usize),
}

/// Reads the methods that a client offers.
///
/// # Errors
/// It speaks another version, or insists on authentication.
pub fn greeting(bytes: &[u8]) -> Result<Heard<()>, ProtocolError> {
    let [version, count, methods @ ..] = bytes else {
        return Ok(Heard::Lacks(2 - bytes.len()));
    };
    check_version(*version)?;
    let lacks = usize::from(*count).saturating_sub(methods.len());
    if lacks > 0 {
        return Ok(Heard::Lacks(lacks));
    }
    if methods.contains(&NO_AUTHENTICATION) {
        Ok(Heard::All(()))
    } else {
        Err(ProtocolError::Authentication(*count))
    }
}

/// Reads where a client wants to go.
///
/// # Errors
/// It asks for anything else than a connection to an address or a hostname.
pub fn request(bytes: &[u8]) -> Result<Heard<Target>, ProtocolError> {
    // The third byte is reserved, and means nothing.
    let [version, command, _, kind, rest @ ..] = bytes else {
        return Ok(Heard::Lacks(4 - bytes.len()));
    };
    check_version(*version)?;
    if *command != CONNECT {
        return Err(ProtocolError::Command(*command));
    }
    let (host, length) = match (*kind, rest) {
        (IPV4, rest) => (rest, 4),
        (IPV6, rest) => (rest, 16),
        (HOSTNAME, [length, rest @ ..]) => (rest, usize::from(*length)),
        (HOSTNAME, []) => return Ok(Heard::Lacks(1)),
        (other, _) => return Err(ProtocolError::AddressType(other)),
    };
    let Some((host, [high, low, ..])) = host.split_at_checked(length) else {
        return Ok(Heard::Lacks(length + 2 - host.len()));
    };
    let port = u16::from_be_bytes([*high, *low]);
    let address = match *kind {
        IPV4 => <[u8; 4]>::try_from(host).map(IpAddr::from).ok(),
        IPV6 => <[u8; 16]>::try_from(host).map(IpAddr::from).ok(),
        _ => None,
    };
    Ok(Heard::All(match address {
        Some(address) => Target::new(address, port),
        None => named(host, port)?,
    }))
}

impl Target {
    fn new(address: IpAddr, port: u16) -> Self {
        Self::Addr(SocketAddr::new(address.to_canonical(), port))
    }
}

/// Clients that leave every host to us send addresses as text too.
fn named(name: &[u8], port: u16) -> Result<Target, ProtocolError> {
    let name = str::from_utf8(name).map_err(|_| ProtocolError::Hostname)?;
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(Target::new(address, port)),
        Err(_) if is_hostname(name) => Ok(Target::Host(name.into(), port)),
        Err(_) => Err(ProtocolError::Hostname),
    }
}

const fn check_version(version: u8) -> Result<(), ProtocolError> {
    if version == 5 { Ok(()) } else { Err(ProtocolError::Version(version)) }
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It is granted.
    Granted = 0,
    /// Something of ours failed.
    Failed = 1,
    /// Nobody knows the host.
    HostUnreachable = 4,
    /// It asks for what is not offered, or is no request at all.
    NotSupported = 7,
}

impl Reply {
    /// The answer's bytes. What address a connection will have is not known yet, and told as none.
    #[must_use]
    pub const fn encode(self) -> [u8; 10] {
        [5, self as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]
    }
}

/// The method that a client is told: none at all.
pub const METHOD: [u8; 2] = [5, NO_AUTHENTICATION];

/// No greeting and no request is longer.
pub const LONGEST: usize = 4 + 1 + 255 + 2;

const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const HOSTNAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests;
