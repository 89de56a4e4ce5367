//! Which DNS queries of a pod the mesh answers, and with what; every other message is somebody else's to answer.
//!
//! The mesh answers A and AAAA for names that exist because of it, and nothing else. What is not exactly one such question
//! (another type, another opcode, a signature, an extension we do not know) is relayed, so that an application meets the
//! resolver it would have met without us.

mod answer;
mod lookup;
mod message;
mod names;

use crate::Str;

pub use answer::{Answer, Asker, Outcome, Transport, Verdict, decide, service};
pub use lookup::{Addresses, addresses, lookup};
pub use message::{
    Asked, Name, answers, asked, failure, id, is_refusal, is_retryable, is_truncated, record_type, set_id,
};

/// The type of an IPv4 address record.
pub const A: u16 = 1;
/// The type of an IPv6 address record.
pub const AAAA: u16 = 28;

/// What holds for every pod of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether AAAA records are given.
    pub ipv6: bool,
    /// Wins among namespaces that claim one hostname, after the client's own and the canonical one.
    pub preferred_namespace: Option<Str>,
    /// Domains that resolvers append. Without any, those that Kubernetes gives a pod of the client's namespace.
    pub search_domains: Vec<Str>,
}

#[cfg(test)]
mod tests;
