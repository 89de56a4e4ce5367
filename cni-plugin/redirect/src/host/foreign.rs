//! What istio-cni keeps on the host for probes: seen, so that a change of agents leaves no gap, and removed after it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::HostError;
use super::ipset::removal;
use crate::program::{find, run};

/// The addresses that istio-cni exempts; `None` when no rule of its does.
pub(super) fn addresses() -> Result<Option<BTreeSet<IpAddr>>, HostError> {
    if let Some(table) = nft_table()? {
        return Ok(table.contains("snat").then(|| nft_addresses(&table)));
    }
    if chains()?.is_empty() {
        return Ok(None);
    }
    let mut all = BTreeSet::new();
    for set in sets()? {
        all.extend(ipset_addresses(&ipset(&["save", &set])?));
    }
    Ok(Some(all))
}

/// Takes all of it away; rules before the sets that they refer to. Whether there was anything.
pub(super) fn remove() -> Result<bool, HostError> {
    let mut any = false;
    if nft_table()?.is_some() {
        if let Some(nft) = find("nft") {
            run(&nft, &["-f", "-"], Some(&format!("add {TABLE}\ndelete {TABLE}\n")))?;
        }
        any = true;
    }
    for Chained { restore, jumps } in chains()? {
        if let Some(restore) = find(&restore) {
            run(&restore, &["--noflush", "--wait", "30"], Some(&removal(CHAIN, jumps)))?;
        }
        any = true;
    }
    for set in sets()? {
        ipset(&["destroy", &set])?;
        any = true;
    }
    Ok(any)
}

/// Where istio-cni's chain is, and how often it is jumped to.
#[derive(Debug, PartialEq, Eq)]
struct Chained {
    restore: String,
    jumps: usize,
}

fn nft_table() -> Result<Option<String>, HostError> {
    let Some(nft) = find("nft") else { return Ok(None) };
    let tables = run(&nft, &["list", "tables"], None)?;
    if !tables.lines().any(|line| line.trim() == TABLE) {
        return Ok(None);
    }
    Ok(Some(run(&nft, &["-n", "list", "table", "inet", NAME], None)?))
}

fn chains() -> Result<Vec<Chained>, HostError> {
    let mut found = Vec::new();
    for stem in ["iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft"] {
        let Some(save) = find(&format!("{stem}-save")) else { continue };
        // A family or variant that this kernel lacks holds nothing.
        let Ok(saved) = run(&save, &["-t", "nat"], None) else { continue };
        if let Some(jumps) = chained(&saved) {
            found.push(Chained { restore: format!("{stem}-restore"), jumps });
        }
    }
    Ok(found)
}

fn chained(saved: &str) -> Option<usize> {
    saved.lines().any(|line| line.starts_with(&format!(":{CHAIN} "))).then(|| {
        let jump = format!("-A POSTROUTING -j {CHAIN}");
        saved.lines().filter(|line| *line == jump).count()
    })
}

fn sets() -> Result<Vec<String>, HostError> {
    if find("ipset").is_none() {
        return Ok(Vec::new());
    }
    let names = ipset(&["list", "-n"])?;
    Ok(names.lines().filter(|name| SETS.contains(name)).map(str::to_owned).collect())
}

fn ipset(arguments: &[&str]) -> Result<String, HostError> {
    match find("ipset") {
        Some(program) => Ok(run(&program, arguments, None)?),
        None => Ok(String::new()),
    }
}

/// Elements are addresses, each with the pod's UID as its comment.
fn nft_addresses(table: &str) -> BTreeSet<IpAddr> {
    let lists = table.split("elements = {").skip(1).filter_map(|rest| rest.split('}').next());
    lists.flat_map(|list| list.split(',')).filter_map(first_address).collect()
}

fn ipset_addresses(saved: &str) -> BTreeSet<IpAddr> {
    saved
        .lines()
        .filter_map(|line| line.strip_prefix("add ")?.split_once(' '))
        .filter_map(|(_, rest)| first_address(rest))
        .collect()
}

fn first_address(text: &str) -> Option<IpAddr> {
    text.split_whitespace().next()?.parse().ok()
}

const NAME: &str = "istio-ambient-nat";
const TABLE: &str = "table inet istio-ambient-nat";
const CHAIN: &str = "ISTIO_POSTRT";
const SETS: [&str; 2] = ["istio-inpod-probes-v4", "istio-inpod-probes-v6"];
