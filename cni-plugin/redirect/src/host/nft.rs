//! The host's rules and sets with nft: a table of our own, changed by one transaction.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use super::plan::{Change, Found, Rule, Wanted, Who};
use super::{HostError, Target};
use crate::error::Trial;
use crate::netns::in_new_netns;
use crate::program::{find, run};

/// The program that works on this node.
#[derive(Debug)]
pub(super) struct Nft {
    program: PathBuf,
}

impl Nft {
    pub(super) fn try_out(wanted: &Wanted) -> Result<Self, Trial> {
        let failed = |why: String| Trial { program: "nft".to_owned(), why };
        let nft = Self { program: find("nft").ok_or_else(|| failed("not installed".to_owned()))? };
        let loaded = in_new_netns(|| {
            nft.write(wanted, &Change { rules: true, ..Change::default() })?;
            nft.observe()
        });
        let found =
            loaded.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        match wanted.change(&found, &rules(wanted)) {
            None => Ok(nft),
            Some(_) => Err(failed("its listing does not show what was loaded".to_owned())),
        }
    }

    pub(super) fn observe(&self) -> Result<Found, HostError> {
        let tables = self.run(&["list", "tables"], None)?;
        if !tables.lines().any(|line| line.trim() == TABLE) {
            return Ok(Found::default());
        }
        parse(&self.run(&["-n", "list", "table", "inet", NAME], None)?)
    }

    pub(super) fn write(&self, wanted: &Wanted, change: &Change) -> Result<(), HostError> {
        let written = self.run(&["-f", "-"], Some(&script(wanted, change)));
        if !change.rules {
            return written.map(drop);
        }
        // A chain or set of our name may have another shape: then all of it is replaced, still in one transaction.
        written.or_else(|_| self.run(&["-f", "-"], Some(&replacement(wanted)))).map(drop)
    }

    pub(super) fn remove(&self) -> Result<(), HostError> {
        // What is added first can be deleted.
        self.run(&["-f", "-"], Some(&format!("add {TABLE}\ndelete {TABLE}\n"))).map(drop)
    }

    pub(super) fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, HostError> {
        Ok(run(&self.program, arguments, input)?)
    }
}

/// The rules that `wanted` comes down to, in the order of their chains.
pub(super) fn rules(wanted: &Wanted) -> Vec<Rule> {
    let mut sides = vec![(Side::V4, IpAddr::from(wanted.probe_v4))];
    sides.extend(wanted.probe_v6.map(|probe| (Side::V6, probe.into())));
    let uid = wanted.who.uid();
    let mut rules = Vec::new();
    let mut told = String::new();
    if let Who::Cgroup { cgroup, .. } = &wanted.who {
        // Only hooks of the host's own traffic can look a socket's cgroup up, and source addresses change later.
        for (side, _) in &sides {
            let (level, path) = (cgroup.level, cgroup.nft_path());
            let text = format!(
                "socket cgroupv2 level {level} \"{path}\" {} meta mark set meta mark | {MARK}",
                side.target()
            );
            // A service that restarts has another cgroup by the same path.
            rules.push(Rule::new(OUTPUT, text, cgroup.inode));
        }
        told = format!("meta mark & {MARK} == {MARK} ");
    }
    for (side, probe) in &sides {
        let text =
            format!("meta skuid {uid} {told}{} counter snat {} to {probe}", side.target(), side.family());
        rules.push(Rule::new(POSTROUTING, text, 0));
    }
    rules
}

/// What brings the table from what was found to what is wanted.
fn script(wanted: &Wanted, change: &Change) -> String {
    let mut script = String::new();
    if change.rules {
        let _ = writeln!(script, "add {TABLE}");
        for side in Side::ALL {
            let _ = writeln!(
                script,
                "add set inet {NAME} {} {{ type {} . inet_service; }}",
                side.set(),
                side.key()
            );
        }
        for (chain, hook) in CHAINS {
            let _ = writeln!(
                script,
                "add chain inet {NAME} {chain} {{ {hook} }}\nflush chain inet {NAME} {chain}"
            );
        }
        for Rule { chain, text, comment } in rules(wanted) {
            let _ = writeln!(script, "add rule inet {NAME} {chain} {text} comment \"{comment}\"");
        }
    }
    for (verb, targets) in [("add", &change.add), ("delete", &change.delete)] {
        for side in Side::ALL {
            let elements: Vec<String> = targets
                .iter()
                .filter(|(ip, _)| side.has(*ip))
                .map(|(ip, port)| format!("{ip} . {port}"))
                .collect();
            if !elements.is_empty() {
                let _ = writeln!(
                    script,
                    "{verb} element inet {NAME} {} {{ {} }}",
                    side.set(),
                    elements.join(", ")
                );
            }
        }
    }
    script
}

fn replacement(wanted: &Wanted) -> String {
    let all = Change { rules: true, add: wanted.targets.clone(), ..Change::default() };
    format!("add {TABLE}\ndelete {TABLE}\n{}", script(wanted, &all))
}

/// Reads the listing of our table.
fn parse(listing: &str) -> Result<Found, HostError> {
    let mut found = Found::default();
    let (mut sets, mut hooks, mut in_chain) = (0, 0, false);
    for line in listing.lines().map(str::trim) {
        if line.starts_with("chain ") {
            in_chain = true;
        } else if line == "}" {
            in_chain = false;
        } else if Side::ALL.iter().any(|side| line == format!("set {} {{", side.set())) {
            sets += 1;
        } else if CHAINS.iter().any(|(_, hook)| line == *hook) {
            hooks += 1;
        } else if in_chain && !line.is_empty() && !line.starts_with("type ") {
            // Without a comment it is none of ours, and is told as it stands.
            let comment = line.rsplit_once(" comment \"").map_or(line, |(_, comment)| comment);
            found.rules.push(comment.trim_end_matches('"').to_owned());
        }
    }
    found.sets = sets == Side::ALL.len();
    found.hooked = hooks == CHAINS.len();
    for elements in listing.split("elements = {").skip(1) {
        let inside = elements.split('}').next().unwrap_or_default();
        found.targets.extend(elements_of(inside)?);
    }
    Ok(found)
}

fn elements_of(list: &str) -> Result<BTreeSet<Target>, HostError> {
    let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
    texts
        .map(|text| {
            let target =
                text.split_once(" . ").and_then(|(ip, port)| Some((ip.parse().ok()?, port.parse().ok()?)));
            target.ok_or_else(|| HostError::Unreadable { program: "nft", text: text.to_owned() })
        })
        .collect()
}

/// What differs between the families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    V4,
    V6,
}

impl Side {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn set(self) -> &'static str {
        match self {
            Self::V4 => "probes-v4",
            Self::V6 => "probes-v6",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }

    const fn family(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    fn target(self) -> String {
        format!("{} daddr . tcp dport @{}", self.family(), self.set())
    }

    const fn has(self, ip: IpAddr) -> bool {
        matches!((self, ip), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

const NAME: &str = "adit-probes";
const TABLE: &str = "table inet adit-probes";
const OUTPUT: &str = "output";
const POSTROUTING: &str = "postrouting";
/// Marks are written last of all and read before any other rewrites the source: whatever order other agents put
/// their own rules in, a probe is decided here.
const CHAINS: [(&str, &str); 2] = [
    (OUTPUT, "type filter hook output priority 300; policy accept;"),
    (POSTROUTING, "type nat hook postrouting priority 90; policy accept;"),
];
/// A bit that none of kube-proxy, the usual network plugins and tunnels use; it does not leave the host.
const MARK: &str = "0x1000";
