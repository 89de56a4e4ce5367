//! The header that precedes an application's bytes and says whose they are: PROXY protocol, version 2, binary.

use std::net::{IpAddr, SocketAddr};

use crate::{Reason, model::Identity};

/// Whose connection it is, for an application that reads PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProxyHeader {
    /// The peer's end of the tunnel.
    pub source: SocketAddr,
    /// Where the peer wanted to go.
    pub destination: SocketAddr,
}

/// An identity that no header has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identity of {0} bytes does not fit into a PROXY protocol header")]
pub struct HeaderTooLong(pub usize);

impl HeaderTooLong {
    /// Why the connection ends.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::BadRequest
    }
}

impl ProxyHeader {
    /// The header's bytes, with the source's identity where there is one.
    ///
    /// Addresses of two families have no form in the protocol: the header then says that it does not say them.
    ///
    /// # Errors
    /// The identity is longer than a header can be.
    pub fn encode(&self, identity: Option<&Identity>) -> Result<Vec<u8>, HeaderTooLong> {
        let mut rest = Vec::with_capacity(128);
        let family = match (self.source.ip().to_canonical(), self.destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                rest.extend(source.octets());
                rest.extend(destination.octets());
                TCP_OVER_IPV4
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                rest.extend(source.octets());
                rest.extend(destination.octets());
                TCP_OVER_IPV6
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => UNSPECIFIED,
        };
        if family != UNSPECIFIED {
            rest.extend(self.source.port().to_be_bytes());
            rest.extend(self.destination.port().to_be_bytes());
        }
        if let Some(identity) = identity {
            let identity = identity.to_string();
            let length = u16::try_from(identity.len()).map_err(|_| HeaderTooLong(identity.len()))?;
            rest.push(SOURCE_IDENTITY);
            rest.extend(length.to_be_bytes());
            rest.extend(identity.as_bytes());
        }
        let length = u16::try_from(rest.len()).map_err(|_| HeaderTooLong(rest.len()))?;
        let mut header = Vec::with_capacity(SIGNATURE.len() + 4 + rest.len());
        header.extend(SIGNATURE);
        header.extend([VERSION_2_PROXY, family]);
        header.extend(length.to_be_bytes());
        header.extend(rest);
        Ok(header)
    }
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// A stream whose addresses are not told.
const UNSPECIFIED: u8 = 0x01;
/// The type of the TLV, of those for custom use, in which ztunnel tells the source's identity.
const SOURCE_IDENTITY: u8 = 0xD0;

#[cfg(test)]
mod tests;
