//! Our own queries, for workloads that the control plane knows by a DNS name only, and what their responses say.

use std::{net::IpAddr, time::Duration};

use super::{
    A, AAAA,
    message::{HEADER, OPT, QR, RD, Reader, code, write_header},
};

/// What a name server said of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The addresses; none when the name has none, or does not exist.
    pub addresses: Vec<IpAddr>,
    /// How long that may be remembered; `None` when the server does not say.
    pub ttl: Option<Duration>,
}

/// The query for one type of address of a name; `None` when the text is no name that can be asked for.
#[must_use]
pub fn lookup(name: &str, kind: u16, id: u16) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER.saturating_add(name.len()).saturating_add(17));
    write_header(&mut message, id, RD, [1, 0, 0, 1]);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    for word in [kind, INTERNET] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.push(0);
    for word in [OPT, PAYLOAD, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    Some(message)
}

/// Reads the response to [`lookup`]; `None` when it is malformed, or says that the server could not tell.
#[must_use]
pub fn addresses(response: &[u8]) -> Option<Addresses> {
    let mut reader = Reader(response);
    let header = reader.header()?;
    if header.flags & QR == 0 || !matches!(code(header.flags), NO_ERROR | NO_SUCH_NAME) {
        return None;
    }
    for _ in 0..header.questions {
        reader.skip_name()?;
        reader.u32()?;
    }
    let mut found = Addresses { addresses: Vec::new(), ttl: None };
    // Aliases included: an answer lives as long as the shortest lived link of its chain.
    for _ in 0..header.answers {
        let record = Record::read(&mut reader)?;
        found.addresses.extend(record.address());
        found.ttl = [found.ttl, Some(record.ttl)].into_iter().flatten().min();
    }
    if found.addresses.is_empty() {
        found.ttl = None;
        for _ in 0..header.authorities {
            let record = Record::read(&mut reader)?;
            found.ttl = found.ttl.or_else(|| record.negative_ttl());
        }
    }
    Some(found)
}

struct Record<'a> {
    kind: u16,
    ttl: Duration,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.skip_name()?;
        let (kind, _class, ttl, length) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.u16()?);
        // RFC 2181 8: with the highest bit set it counts as nought.
        let ttl = Duration::from_secs(if ttl > 0x7fff_ffff { 0 } else { ttl.into() });
        Some(Self { kind, ttl, data: reader.bytes(length.into())? })
    }

    fn address(&self) -> Option<IpAddr> {
        match self.kind {
            A => self.data.try_into().map(|octets: [u8; 4]| octets.into()).ok(),
            AAAA => self.data.try_into().map(|octets: [u8; 16]| IpAddr::from(octets).to_canonical()).ok(),
            _ => None,
        }
    }

    /// RFC 2308 5: the lesser of the SOA record's own time and the minimum that ends it.
    fn negative_ttl(&self) -> Option<Duration> {
        let minimum = self.data.last_chunk().copied().map(u32::from_be_bytes);
        let minimum = minimum.filter(|_| self.kind == SOA)?;
        Some(self.ttl.min(Duration::from_secs(minimum.into())))
    }
}

const INTERNET: u16 = 1;
const SOA: u16 = 6;
const NO_ERROR: u16 = 0;
const NO_SUCH_NAME: u16 = 3;
/// What crosses every link unfragmented.
const PAYLOAD: u16 = 1232;
