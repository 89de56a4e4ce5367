//! DNS messages as far as decisions need them (RFC 1035 4.1), read without following a pointer or trusting a length.

use std::fmt;

/// The fixed part of a message.
pub(super) const HEADER: usize = 12;
/// A response.
pub(super) const QR: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TC: u16 = 0x0200;
/// Recursion desired, and checking disabled: a response says them again.
pub(super) const RD: u16 = 0x0100;
pub(super) const CD: u16 = 0x0010;
const AD: u16 = 0x0020;
const RCODE: u16 = 0x000f;
/// The pseudo-record of EDNS (RFC 6891).
pub(super) const OPT: u16 = 41;
/// DNSSEC OK, in an OPT record's flags.
pub(super) const DO: u16 = 0x8000;

/// A query of which every byte is understood: one question, and at most an OPT record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// The question as it was asked, for the response.
    pub(super) question: &'a [u8],
    pub(super) asked: Asked<'a>,
    pub(super) edns: Option<Edns>,
}

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) payload: u16,
    pub(super) flags: u16,
}

/// The first question of a message.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The type of record.
    pub kind: u16,
    /// The class, which is 1 for the Internet.
    pub class: u16,
}

/// A name as it is on the wire: labels without pointers, the root's empty label at the end.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    pub(super) fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader(self.0);
        std::iter::from_fn(move || {
            let length = reader.u8()?;
            reader.bytes(length.into()).filter(|label| !label.is_empty())
        })
    }

    /// In lower case, without a dot at the end; `None` when a label holds what no name of the mesh does.
    pub(super) fn plain(self) -> Option<String> {
        let mut text = String::with_capacity(self.0.len());
        for label in self.labels() {
            let usual = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\');
            if !label.iter().all(usual) {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        (!text.is_empty()).then_some(text)
    }

    fn same(self, other: Self) -> bool {
        // Lengths are below 64 and so not letters: comparing them along changes nothing.
        self.0.eq_ignore_ascii_case(other.0)
    }
}

/// With a dot at the end; bytes that are no letters as RFC 1035 5.1 writes them.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut labels = self.labels().peekable();
        if labels.peek().is_none() {
            return f.write_str(".");
        }
        for label in labels {
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    _ if byte.is_ascii_graphic() => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

/// Bytes that are left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn header(&mut self) -> Option<Header> {
        Some(Header {
            id: self.u16()?,
            flags: self.u16()?,
            questions: self.u16()?,
            answers: self.u16()?,
            authorities: self.u16()?,
            additionals: self.u16()?,
        })
    }

    /// A name without pointers.
    fn name(&mut self) -> Option<Name<'a>> {
        let whole = self.0;
        loop {
            match self.u8()? {
                0 => break,
                length if length < 64 => drop(self.bytes(length.into())?),
                _ => return None,
            }
        }
        let length = whole.len().checked_sub(self.0.len())?;
        (length <= 255).then(|| whole.get(..length).map(Name)).flatten()
    }

    /// Past a name that may end in a pointer.
    pub(super) fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length if length < 64 => drop(self.bytes(length.into())?),
                length if length >= 0xc0 => return self.u8().map(drop),
                _ => return None,
            }
        }
    }

    pub(super) fn question(&mut self) -> Option<Asked<'a>> {
        Some(Asked { name: self.name()?, kind: self.u16()?, class: self.u16()? })
    }
}

/// The counts and flags at the beginning of every message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: u16,
    pub(super) answers: u16,
    pub(super) authorities: u16,
    pub(super) additionals: u16,
}

impl<'a> Query<'a> {
    /// `None` when anything about the message is not understood.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(message);
        let header = reader.header()?;
        // An ordinary query with nothing but questions, and no flag that a query does not have.
        let plain = header.flags & !(RD | CD | AD) == 0;
        if !plain || (header.questions, header.answers, header.authorities) != (1, 0, 0) {
            return None;
        }
        let before = reader.0;
        let asked = reader.question()?;
        let question = before.get(..before.len().checked_sub(reader.0.len())?)?;
        let edns = match header.additionals {
            0 => None,
            1 => Some(Edns::read(&mut reader)?),
            _ => return None,
        };
        reader.0.is_empty().then_some(Self { id: header.id, flags: header.flags, question, asked, edns })
    }
}

impl Edns {
    /// Version 0 only; a server answers any other with BADVERS (RFC 6891 6.1.3), and that server is not us.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (root, kind, payload) = (reader.u8()?, reader.u16()?, reader.u16()?);
        let (extended, version, flags) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let length = reader.u16()?;
        reader.bytes(length.into())?;
        ((root, kind, extended, version) == (0, OPT, 0, 0)).then_some(Self { payload, flags })
    }
}

/// The first question of any message, if it can be read at all.
#[must_use]
pub fn asked(message: &[u8]) -> Option<Asked<'_>> {
    let mut reader = Reader(message);
    let header = reader.header()?;
    (header.questions > 0).then(|| reader.question()).flatten()
}

/// The message's id, by which a response finds its query.
#[must_use]
pub fn id(message: &[u8]) -> Option<u16> {
    Reader(message).u16()
}

/// Gives the message another id. TSIG signatures stay good: they cover the original one (RFC 8945 5.3.2).
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(bytes) = message.first_chunk_mut() {
        *bytes = id.to_be_bytes();
    }
}

/// Whether `response` answers `query`: id, opcode, and the question if it repeats one (RFC 5452 9.1).
#[must_use]
pub fn answers(query: &[u8], response: &[u8]) -> bool {
    let (Some(sent), Some(got)) = (Reader(query).header(), Reader(response).header()) else {
        return false;
    };
    if got.id != sent.id || got.flags & QR == 0 || (got.flags ^ sent.flags) & OPCODE != 0 {
        return false;
    }
    match (asked(query), asked(response)) {
        (Some(wanted), Some(told)) => {
            wanted.kind == told.kind && wanted.class == told.class && wanted.name.same(told.name)
        }
        // A server that could not read the query repeats none of it, and what we cannot read others may.
        (None, _) | (_, None) => true,
    }
}

/// Whether another server, or the same one once more, may be asked: an ordinary query changes nothing. An UPDATE does.
#[must_use]
pub fn is_retryable(query: &[u8]) -> bool {
    Reader(query).header().is_some_and(|header| header.flags & (OPCODE | QR) == 0)
}

/// Whether the response says that this server cannot tell, where another one may: a failure, something it does not do, a
/// refusal.
#[must_use]
pub fn is_refusal(response: &[u8]) -> bool {
    const NOT_IMPLEMENTED: u16 = 4;
    const REFUSED: u16 = 5;
    let header = Reader(response).header();
    header.is_some_and(|header| matches!(code(header.flags), SERVFAIL | NOT_IMPLEMENTED | REFUSED))
}

/// Whether the response says that it is not whole.
#[must_use]
pub fn is_truncated(response: &[u8]) -> bool {
    Reader(response).header().is_some_and(|header| header.flags & TC != 0)
}

/// The response code, without what EDNS adds to it.
pub(super) const fn code(flags: u16) -> u16 {
    flags & RCODE
}

/// The response "server failure" to a query that nobody answered; `None` when the message is no query.
#[must_use]
pub fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(query);
    let header = reader.header()?;
    if header.flags & QR != 0 {
        return None;
    }
    let before = reader.0;
    let question = (header.questions == 1).then(|| reader.question()).flatten();
    let question = question.and_then(|_| before.get(..before.len().checked_sub(reader.0.len())?));
    let flags = QR | RA | (header.flags & (OPCODE | RD | CD)) | SERVFAIL;
    let counts = [u16::from(question.is_some()), 0, 0, 0];
    let mut message = Vec::with_capacity(HEADER + question.map_or(0, <[u8]>::len));
    write_header(&mut message, header.id, flags, counts);
    message.extend_from_slice(question.unwrap_or_default());
    Some(message)
}

pub(super) fn write_header(message: &mut Vec<u8>, id: u16, flags: u16, counts: [u16; 4]) {
    for word in [id, flags].into_iter().chain(counts) {
        message.extend_from_slice(&word.to_be_bytes());
    }
}

/// The name of a record type in lower case, `unknown` for one that has none here: clients choose numbers, and metrics keep
/// a series for each word.
#[must_use]
pub fn record_type(kind: u16) -> &'static str {
    TYPES.iter().find(|(number, _)| *number == kind).map_or("unknown", |(_, name)| name)
}

/// Recursion available.
pub(super) const RA: u16 = 0x0080;
const SERVFAIL: u16 = 2;

const TYPES: [(u16, &str); 30] = [
    (1, "a"),
    (2, "ns"),
    (5, "cname"),
    (6, "soa"),
    (10, "null"),
    (12, "ptr"),
    (13, "hinfo"),
    (15, "mx"),
    (16, "txt"),
    (25, "key"),
    (28, "aaaa"),
    (33, "srv"),
    (35, "naptr"),
    (37, "cert"),
    (43, "ds"),
    (44, "sshfp"),
    (46, "rrsig"),
    (47, "nsec"),
    (48, "dnskey"),
    (50, "nsec3"),
    (52, "tlsa"),
    (59, "cds"),
    (60, "cdnskey"),
    (61, "openpgpkey"),
    (64, "svcb"),
    (65, "https"),
    (251, "ixfr"),
    (252, "axfr"),
    (255, "any"),
    (257, "caa"),
];
