//! How what is there differs from what is wanted: pure, and by meaning, never by text.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::observe::{Observed, ObservedTable};
use crate::plan::{Plan, Rules};
use crate::rule::{Chain, Family, Rule, Table, Target};
use crate::traces::Engine;

/// Everything that differs; nothing, when the pod is as planned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drift {
    /// In the order family, table, chain.
    pub findings: Vec<Finding>,
}

/// One difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A chain of ours does not exist.
    ChainMissing(Place),
    /// A chain of ours holds other rules, or in another order.
    RulesDiffer(Place),
    /// The hook does not go to our chain.
    JumpMissing(Place),
    /// More than one rule goes to our chain, or one that depends on something.
    JumpsStray(Place),
    /// A chain of ours is where the plan has none.
    ChainStray(Place),
    /// A table of native nftables does not exist.
    TableMissing(Table),
    /// A table of native nftables holds something else.
    TableDiffers(Table),
    /// A table of native nftables is where the plan has none.
    TableStray(Table),
    /// Another backend's rules of istio-cni's or ours are in the namespace too.
    Leftover(Engine, Family),
    /// Our jump is not the first rule of its hook, so a rule before it may let traffic pass by.
    JumpNotFirst(Place),
    /// The policy rule for marked replies is not there.
    PolicyRuleMissing(Family),
    /// The route that delivers everything to the pod itself is not there.
    LocalRouteMissing(Family),
}

/// A chain of ours in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// IP version.
    pub family: Family,
    /// Table.
    pub table: Table,
    /// Chain of ours.
    pub chain: Chain,
}

impl Drift {
    /// Whether all is as planned.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChainMissing(place) => write!(f, "{place} is missing"),
            Self::RulesDiffer(place) => write!(f, "{place} holds other rules"),
            Self::JumpMissing(place) => write!(f, "nothing goes to {place}"),
            Self::JumpsStray(place) => write!(f, "unplanned rules go to {place}"),
            Self::ChainStray(place) => write!(f, "{place} is not planned"),
            Self::TableMissing(table) => write!(f, "table inet {} is missing", table.nft_name()),
            Self::TableDiffers(table) => write!(f, "table inet {} holds something else", table.nft_name()),
            Self::TableStray(table) => write!(f, "table inet {} is not planned", table.nft_name()),
            Self::Leftover(engine, family) => write!(f, "{family} chains of ours are left in {engine}"),
            Self::JumpNotFirst(place) => write!(f, "something comes before the jump to {place}"),
            Self::PolicyRuleMissing(family) => write!(f, "the {family} policy rule is missing"),
            Self::LocalRouteMissing(family) => write!(f, "the {family} local route is missing"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.family, self.table.name(), self.chain.name())
    }
}

/// Compares the plan with the output of iptables-save for one family.
#[must_use]
pub fn drift(plan: &Plan, family: Family, saved: &str) -> Drift {
    let observed = Observed::parse(saved);
    let nothing = ObservedTable::default();
    let mut findings = Vec::new();
    for table in Table::ALL {
        let found = observed.table(table).unwrap_or(&nothing);
        for chain in Chain::ALL {
            let place = Place { family, table, chain };
            match plan.table(family, table) {
                Some(wanted) => compare(place, wanted, found, &mut findings),
                None if found.has(chain.name()) => findings.push(Finding::ChainStray(place)),
                None => {}
            }
        }
    }
    Drift { findings }
}

fn compare(place: Place, wanted: &Rules, found: &ObservedTable, findings: &mut Vec<Finding>) {
    let chain = place.chain;
    if !found.has(chain.name()) {
        findings.push(Finding::ChainMissing(place));
        return;
    }
    let rules = found.rules(chain.name()).iter().map(|saved| saved.rule.as_ref());
    if !rules.eq(wanted.of(chain).iter().map(Some)) {
        findings.push(Finding::RulesDiffer(place));
    }
    let plain = Rule::new([], Target::Jump(chain));
    let (planned, stray): (Vec<_>, Vec<_>) = found
        .jumps()
        .filter(|(_, saved)| saved.goes_to == Some(chain))
        .partition(|(hook, saved)| *hook == chain.hook() && saved.rule.as_ref() == Some(&plain));
    if planned.is_empty() {
        findings.push(Finding::JumpMissing(place));
    }
    let first = found.rules(chain.hook()).first();
    if !planned.is_empty() && first.is_none_or(|saved| saved.rule.as_ref() != Some(&plain)) {
        findings.push(Finding::JumpNotFirst(place));
    }
    if planned.len() > 1 || !stray.is_empty() {
        findings.push(Finding::JumpsStray(place));
    }
}
