//! What iptables-save prints, read by structure: pure. Rules we could not have written keep their text only.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::rule::{Chain, Mark, Match, Protocol, Rule, Table, Target};

/// The tables of one family as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    tables: BTreeMap<String, ObservedTable>,
}

/// One table: its chains, each with its rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedTable {
    chains: BTreeMap<String, Vec<Saved>>,
}

/// One rule as it was printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Everything after the chain's name.
    pub text: String,
    /// Its meaning, `None` when it uses words that no rule of ours uses.
    pub rule: Option<Rule>,
    /// The chain of ours it goes to, if it does.
    pub goes_to: Option<Chain>,
}

impl Observed {
    /// Reads the output of iptables-save. Lines that are none of its kinds are passed over, as comments are.
    #[must_use]
    pub fn parse(saved: &str) -> Self {
        let mut tables: BTreeMap<String, ObservedTable> = BTreeMap::new();
        let mut current = String::new();
        for line in saved.lines().map(str::trim) {
            if let Some(table) = line.strip_prefix('*') {
                current = table.to_owned();
                tables.entry(current.clone()).or_default();
            } else if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
                tables.entry(current.clone()).or_default().chains.entry(chain.to_owned()).or_default();
            } else if let Some((chain, text)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' '))
            {
                let chains = &mut tables.entry(current.clone()).or_default().chains;
                chains.entry(chain.to_owned()).or_default().push(Saved::parse(text));
            }
        }
        Self { tables }
    }

    /// One table, `None` when it is not in use.
    #[must_use]
    pub fn table(&self, table: Table) -> Option<&ObservedTable> {
        self.tables.get(table.name())
    }
}

impl ObservedTable {
    /// Whether the chain exists.
    #[must_use]
    pub fn has(&self, chain: &str) -> bool {
        self.chains.contains_key(chain)
    }

    /// The rules of a chain, in order.
    #[must_use]
    pub fn rules(&self, chain: &str) -> &[Saved] {
        self.chains.get(chain).map_or(&[], Vec::as_slice)
    }

    /// Every rule in a chain that is not ours and goes to one that is, with the chain's name.
    pub fn jumps(&self) -> impl Iterator<Item = (&str, &Saved)> {
        self.chains
            .iter()
            .filter(|(chain, _)| Chain::named(chain).is_none())
            .flat_map(|(chain, rules)| rules.iter().map(move |rule| (chain.as_str(), rule)))
            .filter(|(_, rule)| rule.goes_to.is_some())
    }
}

impl Saved {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let goes_to = words
            .iter()
            .zip(words.iter().skip(1))
            .find(|(flag, _)| matches!(**flag, "-j" | "-g"))
            .and_then(|(_, target)| Chain::named(target));
        Self { text: text.to_owned(), rule: Words(&words).rule(), goes_to }
    }
}

/// The rest of a rule's words.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn rule(mut self) -> Option<Rule> {
        let mut matches = BTreeSet::new();
        let mut module = "";
        let mut not = false;
        loop {
            match self.next()? {
                "!" => {
                    not = true;
                    continue;
                }
                "-j" if !not => {
                    let target = self.target()?;
                    return self.0.is_empty().then_some(Rule { matches, target });
                }
                "-m" if !not => module = self.module()?,
                flag => {
                    let condition = self.condition(flag, module, not)?;
                    matches.insert(condition);
                }
            }
            not = false;
        }
    }

    fn module(&mut self) -> Option<&'a str> {
        let name = self.next()?;
        matches!(name, "tcp" | "udp" | "mark" | "connmark" | "conntrack").then_some(name)
    }

    fn condition(&mut self, flag: &str, module: &str, not: bool) -> Option<Match> {
        let value = self.next()?;
        Some(match flag {
            "-s" => Match::Source { not, address: host(value)? },
            "-d" => Match::Destination { not, address: host(value)? },
            "-i" => Match::InInterface { not, name: value.to_owned() },
            "-o" => Match::OutInterface { not, name: value.to_owned() },
            "-p" if !not => Match::Protocol(protocol(value)?),
            "--sport" => Match::SourcePort { not, port: value.parse().ok()? },
            "--dport" => Match::DestinationPort { not, port: value.parse().ok()? },
            "--tcp-flags" if !not => {
                let set = self.next()?;
                (flags(value) == flags("FIN,SYN,RST,ACK") && set == "SYN").then_some(Match::Begins)?
            }
            "--mark" if module == "mark" => Match::Mark { not, mark: mark(value)? },
            "--mark" if module == "connmark" => Match::ConnMark { not, mark: mark(value)? },
            "--ctstate" => Match::State { not, name: value.to_owned() },
            "--ctstatus" => Match::Status { not, name: value.to_owned() },
            _ => return None,
        })
    }

    fn target(&mut self) -> Option<Target> {
        Some(match self.next()? {
            "ACCEPT" => Target::Accept,
            "RETURN" => Target::Return,
            "DROP" => Target::Drop,
            "REDIRECT" => Target::Redirect(self.option("--to-ports")?.parse().ok()?),
            "CT" => Target::Zone(self.option("--zone")?.parse().ok()?),
            "CONNMARK" => match self.next()? {
                "--set-xmark" => Target::SetConnMark(mark(self.next()?)?),
                "--restore-mark" => {
                    let whole = |value| (mark(value)?.value == u32::MAX).then_some(());
                    whole(self.option("--nfmask")?)?;
                    whole(self.option("--ctmask")?)?;
                    Target::RestoreMark
                }
                _ => return None,
            },
            name => Target::Jump(Chain::named(name)?),
        })
    }

    fn option(&mut self, name: &str) -> Option<&'a str> {
        (self.next()? == name).then(|| self.next())?
    }
}

/// An address, or a prefix that holds only one.
fn host(text: &str) -> Option<IpAddr> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { "32" } else { "128" };
    length.is_none_or(|length| length == whole).then_some(address)
}

fn protocol(text: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.name() == text)
}

/// `0x539/0xfff`; without a mask, every bit counts.
fn mark(text: &str) -> Option<Mark> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some(Mark { value: number(value)?, mask: number(mask)? }),
        None => Some(Mark { value: number(text)?, mask: u32::MAX }),
    }
}

fn flags(list: &str) -> BTreeSet<&str> {
    list.split(',').collect()
}
