//! What a network namespace holds of ours and of istio-cni's, by any backend: asked of the kernel, without a program, so
//! that the question neither costs a process nor creates the tables it asks for.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use tracing::warn;

use crate::error::RedirectError;
use crate::nfnetlink::{self, INET, IPV4, IPV6, Name};
use crate::rule::{Chain, Family, Table};

/// The two ways into the kernel; rules of one are not seen through the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// nf_tables, as `nft` and `iptables-nft` use it.
    NfTables,
    /// x_tables, as `iptables-legacy` uses it.
    Legacy,
}

impl Engine {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::NfTables, Self::Legacy];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NfTables => "nf_tables",
            Self::Legacy => "legacy tables",
        })
    }
}

/// The names of everything there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    names: BTreeSet<Name>,
    legacy: BTreeMap<Family, BTreeSet<String>>,
}

impl Traces {
    /// Looks at the namespace of the calling thread.
    pub(crate) fn read() -> Result<Self, RedirectError> {
        let legacy = Family::ALL.into_iter().map(|family| (family, legacy_tables(family))).collect();
        Ok(Self { names: nfnetlink::names()?, legacy })
    }

    /// Tables of family `inet` that istio-cni or we have made for redirection.
    pub(crate) fn native(&self) -> Vec<&'static str> {
        Table::ALL.into_iter().map(Table::nft_name).filter(|name| self.has_inet(name)).collect()
    }

    /// Whether there is a table of family `inet` with that name.
    pub(crate) fn has_inet(&self, table: &str) -> bool {
        self.names.contains(&Name { family: INET, table: table.to_owned(), chain: String::new() })
    }

    /// Whether iptables of that engine would print anything: if not, there is nothing to ask it for.
    pub(crate) fn in_use(&self, engine: Engine, family: Family) -> bool {
        match engine {
            Engine::NfTables => self.names.iter().any(|name| name.family == number(family)),
            Engine::Legacy => self.legacy.get(&family).is_some_and(|tables| !tables.is_empty()),
        }
    }

    /// Whether iptables-nft has the chain for kubelet's probes, which only a node's own namespace has.
    pub(crate) fn has_host_chain(&self, family: Family) -> bool {
        self.names.iter().any(|name| name.family == number(family) && name.chain == crate::choose::HOST_CHAIN)
    }

    /// Whether iptables of that engine may have chains of ours: legacy tables do not tell without being printed.
    pub(crate) fn maybe_ours(&self, engine: Engine, family: Family) -> bool {
        match engine {
            Engine::NfTables => self.names.iter().any(|name| {
                name.family == number(family)
                    && (Chain::named(&name.chain).is_some() || name.chain == crate::refusal::CHAIN)
            }),
            Engine::Legacy => self.in_use(engine, family),
        }
    }
}

const fn number(family: Family) -> u8 {
    match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    }
}

/// The kernel lists the tables that were ever used in a namespace; reading the list makes none.
fn legacy_tables(family: Family) -> BTreeSet<String> {
    let path = match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match std::fs::read_to_string(path) {
        Ok(names) => names.lines().map(str::to_owned).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => {
            warn!(%error, path, "cannot tell which legacy tables there are; going on as if there were none");
            BTreeSet::new()
        }
    }
}
