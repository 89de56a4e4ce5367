//! What the host wants, and what has to change for it. Pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Target;
use super::kubelet::Cgroup;
use crate::rule::Family;

/// How the kubelet's connections are told from others that leave the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By the cgroup of the kubelet's service, and its user.
    Cgroup {
        /// Its user.
        uid: u32,
        /// Its cgroup.
        cgroup: Cgroup,
    },
    /// Any socket of the kubelet's user.
    Uid(u32),
    /// No kubelet was seen: any socket of root's.
    AssumedRoot,
}

impl Who {
    /// The user that owns the socket.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        match self {
            Self::Cgroup { uid, .. } | Self::Uid(uid) => *uid,
            Self::AssumedRoot => 0,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup { uid, cgroup } => {
                write!(f, "sockets of user {uid} in the kubelet's cgroup {}", cgroup.path)
            }
            Self::Uid(uid) => write!(f, "sockets of the kubelet's user {uid}"),
            Self::AssumedRoot => f.write_str("sockets of root, as no kubelet was found"),
        }
    }
}

/// Everything the host shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The source address that pods see of probes.
    pub probe_v4: Ipv4Addr,
    /// The same for IPv6; `None` where the host has none.
    pub probe_v6: Option<Ipv6Addr>,
    /// Whose connections count.
    pub who: Who,
    /// To where.
    pub targets: BTreeSet<Target>,
}

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The comments of our rules, chain by chain and in their order. Each names the text of its rule.
    pub rules: Vec<String>,
    /// Whether our rules are reached, and first.
    pub hooked: bool,
    /// Both sets are there.
    pub sets: bool,
    /// The elements of both.
    pub targets: BTreeSet<Target>,
    /// How often POSTROUTING jumps to our chain; nft has no such jump.
    pub jumps: Vec<(Family, usize)>,
}

/// The difference: what to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The rules are missing or others.
    pub rules: bool,
    /// Elements to add.
    pub add: BTreeSet<Target>,
    /// Elements to take away.
    pub delete: BTreeSet<Target>,
    /// Jumps that are there already.
    pub jumps: Vec<(Family, usize)>,
}

impl Wanted {
    /// What has to change. `None` when everything is as it should be.
    #[must_use]
    pub fn change(&self, found: &Found, rules: &[Rule]) -> Option<Change> {
        let stand =
            found.hooked && found.sets && found.rules.iter().eq(rules.iter().map(|rule| &rule.comment));
        let change = Change {
            rules: !stand,
            add: self.targets.difference(&found.targets).copied().collect(),
            delete: found.targets.difference(&self.targets).copied().collect(),
            jumps: found.jumps.clone(),
        };
        (change.rules || !change.add.is_empty() || !change.delete.is_empty()).then_some(change)
    }
}

impl Change {
    /// How many jumps of a family are there already.
    #[must_use]
    pub fn jumps_of(&self, family: Family) -> usize {
        self.jumps.iter().filter(|(which, _)| *which == family).map(|(_, jumps)| jumps).sum()
    }
}

/// A rule as text, with a comment by which it is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The chain it is in.
    pub chain: &'static str,
    /// Without the comment.
    pub text: String,
    /// What the comment says.
    pub comment: String,
}

impl Rule {
    /// A rule that is known by its own text, and by what the text only names: `meant`.
    #[must_use]
    pub fn new(chain: &'static str, text: String, meant: u64) -> Self {
        // FNV-1a, as programs print a rule back in words of their own.
        let hash = text.bytes().chain(meant.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { chain, comment: format!("adit-{hash:016x}"), text }
    }
}
