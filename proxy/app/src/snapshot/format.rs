//! A snapshot as bytes, and back (pure): whole and unharmed, or refused.
//!
//! A magic word with the version, a checksum of all that follows, the time, the context, the number of resources, and each
//! resource as type, name, version and protobuf bytes. Numbers are big-endian, texts and bytes carry their length.

use std::collections::BTreeMap;
use std::time::Duration;

use xds_client::TypeUrl;

#[cfg(test)]
mod tests;

/// One resource as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) version: String,
    pub(crate) value: Vec<u8>,
}

/// What was kept, when, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) context: String,
    /// Seconds since 1970.
    pub(crate) taken: u64,
    pub(crate) resources: BTreeMap<(TypeUrl, String), Kept>,
}

impl Snapshot {
    /// A clock that was set back makes it new, not old.
    pub(crate) const fn age(&self, now: u64) -> Duration {
        Duration::from_secs(now.saturating_sub(self.taken))
    }
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("it does not begin as a snapshot of this version does")]
    Magic,
    #[error("its checksum is not that of its bytes: the file is damaged")]
    Checksum,
    #[error("it ends too early")]
    Short,
    #[error("a resource is of unknown type {0}")]
    Type(u8),
    #[error("a text is not UTF-8")]
    Text,
    #[error("it goes on after its last resource")]
    Long,
}

pub(crate) fn encode(context: &str, taken: u64, resources: &BTreeMap<(TypeUrl, String), Kept>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(taken.to_be_bytes());
    put(&mut body, context.as_bytes());
    body.extend(length(resources.len()));
    for ((type_url, name), Kept { version, value }) in resources {
        body.push(tag(*type_url));
        put(&mut body, name.as_bytes());
        put(&mut body, version.as_bytes());
        put(&mut body, value);
    }
    let mut bytes = Vec::with_capacity(body.len().saturating_add(16));
    bytes.extend(MAGIC);
    bytes.extend(checksum(&body).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// # Errors
/// The bytes are anything but what [`encode`] gave.
pub(crate) fn decode(bytes: &[u8]) -> Result<Snapshot, FormatError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(FormatError::Magic)?;
    let (sum, body) = rest.split_first_chunk::<8>().ok_or(FormatError::Short)?;
    if u64::from_be_bytes(*sum) != checksum(body) {
        return Err(FormatError::Checksum);
    }
    let mut cursor = Cursor(body);
    let taken = cursor.number()?;
    let context = cursor.text()?;
    let count = cursor.number()?;
    let mut resources = BTreeMap::new();
    for _ in 0..count {
        let type_url = cursor.type_url()?;
        let (name, version, value) = (cursor.text()?, cursor.text()?, cursor.bytes()?.to_vec());
        resources.insert((type_url, name), Kept { version, value });
    }
    if cursor.0.is_empty() { Ok(Snapshot { context, taken, resources }) } else { Err(FormatError::Long) }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn number(&mut self) -> Result<u64, FormatError> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(FormatError::Short)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let length = usize::try_from(self.number()?).map_err(|_| FormatError::Short)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(FormatError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, FormatError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| FormatError::Text)
    }

    fn type_url(&mut self) -> Result<TypeUrl, FormatError> {
        let (first, rest) = self.0.split_first().ok_or(FormatError::Short)?;
        self.0 = rest;
        TypeUrl::ALL.into_iter().find(|known| tag(*known) == *first).ok_or(FormatError::Type(*first))
    }
}

const fn tag(type_url: TypeUrl) -> u8 {
    match type_url {
        TypeUrl::Address => 1,
        TypeUrl::Authorization => 2,
    }
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(length(bytes.len()));
    to.extend(bytes);
}

fn length(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes()
}

/// FNV-1a, 64 bits: against a disk's faults. Whoever may write root's files needs no collision.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

const MAGIC: &[u8; 8] = b"ADITSN01";
