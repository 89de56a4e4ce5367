//! Which trace a stream belongs to: the `traceparent` header (W3C Trace Context), for log correlation only.

use std::{fmt, str::FromStr};

/// A `traceparent` of version 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traceparent {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
}

/// A header that is not four groups of 2, 32, 16 and 2 hexadecimal digits, or that names no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("traceparent is not of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct ParseTraceparentError;

impl Traceparent {
    /// A trace that begins here, not sampled. Zero ids, which name no trace, become 1.
    #[must_use]
    pub const fn new(trace_id: u128, parent_id: u64) -> Self {
        Self {
            trace_id: if trace_id == 0 { 1 } else { trace_id },
            parent_id: if parent_id == 0 { 1 } else { parent_id },
            flags: 0,
        }
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The step of the trace that sent the header.
    #[must_use]
    pub const fn parent_id(&self) -> u64 {
        self.parent_id
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, parent_id, flags } = self;
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

impl FromStr for Traceparent {
    type Err = ParseTraceparentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or(ParseTraceparentError)
    }
}

fn parse(text: &str) -> Option<Traceparent> {
    let mut groups = text.split('-');
    let (Some(version), Some(trace), Some(parent), Some(flags), None) =
        (groups.next(), groups.next(), groups.next(), groups.next(), groups.next())
    else {
        return None;
    };
    // Version ff is forbidden; a later one begins with the same four groups (section 3.2.2).
    if version.eq_ignore_ascii_case("ff") {
        return None;
    }
    hex(version, 2)?;
    let trace_id = hex(trace, 32)?;
    let parent_id = u64::try_from(hex(parent, 16)?).ok()?;
    let flags = u8::try_from(hex(flags, 2)?).ok()?;
    (trace_id != 0 && parent_id != 0).then_some(Traceparent { trace_id, parent_id, flags })
}

fn hex(group: &str, digits: usize) -> Option<u128> {
    // `from_str_radix` takes a sign; the header does not.
    let fits = group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(group, 16).ok())?
}

#[cfg(test)]
mod tests;
