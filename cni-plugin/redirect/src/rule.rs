//! The vocabulary of the plan: families, tables, our chains, and rules as values that compare by meaning.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// An IP version; each has its own tables, policy rules and routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which they are applied.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The iptables tables that may hold rules of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Before connection tracking.
    Raw,
    /// Marks.
    Mangle,
    /// Redirection.
    Nat,
}

impl Table {
    /// All, in the order in which a packet meets them.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Mangle, Self::Nat];

    /// As iptables spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
        }
    }

    /// The table of family `inet` that holds the same rules in native nftables.
    #[must_use]
    pub const fn nft_name(self) -> &'static str {
        match self {
            Self::Raw => "istio-ambient-raw",
            Self::Mangle => "istio-ambient-mangle",
            Self::Nat => "istio-ambient-nat",
        }
    }
}

/// A chain of ours. The names are those of istio-cni, so that each side can clean up after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// What comes into the pod, also over loopback.
    Prerouting,
    /// What the pod's own sockets send.
    Output,
}

impl Chain {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Prerouting, Self::Output];

    /// As iptables spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "ISTIO_PRERT",
            Self::Output => "ISTIO_OUTPUT",
        }
    }

    /// As native nftables spells it: the base chain and, after it, the chain with the rules.
    #[must_use]
    pub const fn nft_names(self) -> (&'static str, &'static str) {
        match self {
            Self::Prerouting => ("prerouting", "istio-prerouting"),
            Self::Output => ("output", "istio-output"),
        }
    }

    /// The built-in chain that jumps here, once.
    #[must_use]
    pub const fn hook(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
        }
    }

    /// The chain of ours with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chain| chain.name() == name)
    }
}

/// A transport protocol a rule can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As iptables spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A mark and the bits of it that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The value.
    pub value: u32,
    /// The bits that are compared or written.
    pub mask: u32,
}

/// One condition of a rule; `not` inverts it. Declared in an order that is valid to write down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Match {
    /// Source address.
    Source {
        /// Inverted.
        not: bool,
        /// One host.
        address: IpAddr,
    },
    /// Destination address.
    Destination {
        /// Inverted.
        not: bool,
        /// One host.
        address: IpAddr,
    },
    /// The interface it came in by.
    InInterface {
        /// Inverted.
        not: bool,
        /// Its name.
        name: String,
    },
    /// The interface it will leave by.
    OutInterface {
        /// Inverted.
        not: bool,
        /// Its name.
        name: String,
    },
    /// Transport protocol.
    Protocol(Protocol),
    /// Source port.
    SourcePort {
        /// Inverted.
        not: bool,
        /// The port.
        port: u16,
    },
    /// Destination port.
    DestinationPort {
        /// Inverted.
        not: bool,
        /// The port.
        port: u16,
    },
    /// A TCP segment that opens a connection: SYN without ACK, FIN or RST.
    Begins,
    /// The packet's mark.
    Mark {
        /// Inverted.
        not: bool,
        /// Value and mask.
        mark: Mark,
    },
    /// The connection's mark.
    ConnMark {
        /// Inverted.
        not: bool,
        /// Value and mask.
        mark: Mark,
    },
    /// The connection's state or translation.
    State {
        /// Inverted.
        not: bool,
        /// As iptables spells it: `INVALID`, `DNAT`.
        name: String,
    },
    /// The state of the connection's tracking entry.
    Status {
        /// Inverted.
        not: bool,
        /// As iptables spells it: `CONFIRMED`.
        name: String,
    },
}

/// What happens to a packet that meets all conditions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Goes on, no later rule of this table sees it.
    Accept,
    /// Goes back to the chain before.
    Return,
    /// Is lost.
    Drop,
    /// Goes to this port of the pod itself.
    Redirect(u16),
    /// Writes the connection's mark.
    SetConnMark(Mark),
    /// Copies the connection's mark to the packet.
    RestoreMark,
    /// Tracks the connection in a zone of its own.
    Zone(u16),
    /// Goes on in a chain of ours.
    Jump(Chain),
}

/// A rule; two rules are equal when they mean the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// All must hold.
    pub matches: BTreeSet<Match>,
    /// What to do then.
    pub target: Target,
}

impl Rule {
    /// A rule from its parts.
    #[must_use]
    pub fn new(matches: impl IntoIterator<Item = Match>, target: Target) -> Self {
        Self { matches: matches.into_iter().collect(), target }
    }
}
