//! The host's rules with iptables and its sets with ipset, where there is no nft.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use super::plan::{Change, Found, Rule, Wanted};
use super::{HostError, Target};
use crate::error::Trial;
use crate::iptables::Variant;
use crate::netns::in_new_netns;
use crate::program::{find, run};
use crate::rule::Family;

/// The programs that work on this node.
#[derive(Debug)]
pub(super) struct Ipset {
    program: PathBuf,
    variant: Variant,
    families: Vec<Iptables>,
}

/// The iptables programs of one family.
#[derive(Debug)]
struct Iptables {
    family: Family,
    save: PathBuf,
    restore: PathBuf,
}

impl Iptables {
    fn find(variant: Variant, family: Family) -> Result<Self, Trial> {
        let stem = if family == Family::V4 { "iptables" } else { "ip6tables" };
        let program = |job: &str| {
            let name = format!("{stem}{}-{job}", variant.infix());
            find(&name).ok_or_else(|| Trial { program: name, why: "not installed".to_owned() })
        };
        Ok(Self { family, save: program("save")?, restore: program("restore")? })
    }

    fn save(&self) -> Result<String, HostError> {
        Ok(run(&self.save, &["-t", "nat"], None)?)
    }

    /// The table is taken whole or not at all.
    fn restore(&self, payload: &str) -> Result<(), HostError> {
        run(&self.restore, &["--noflush", "--wait", LOCK_WAIT_SECONDS], Some(payload))?;
        Ok(())
    }
}

impl Ipset {
    pub(super) fn try_out(variant: Variant, wanted: &Wanted) -> Result<Self, Trial> {
        let failed = |why: String| Trial { program: "ipset".to_owned(), why };
        let program = find("ipset").ok_or_else(|| failed("not installed".to_owned()))?;
        let wants = |family: &&Family| **family == Family::V4 || wanted.probe_v6.is_some();
        let families = Family::ALL.iter().filter(wants).map(|family| Iptables::find(variant, *family));
        let ipset = Self { program, variant, families: families.collect::<Result<_, _>>()? };
        let loaded = in_new_netns(|| {
            ipset.write(wanted, &Change { rules: true, ..Change::default() })?;
            let found = ipset.observe()?;
            // A set that a rule refers to would live on with the namespace's own slow end.
            ipset.remove()?;
            Ok::<_, HostError>(found)
        });
        let found =
            loaded.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        match wanted.change(&found, &rules(wanted)) {
            None => Ok(ipset),
            Some(_) => Err(failed("its listing does not show what was loaded".to_owned())),
        }
    }

    pub(super) const fn variant(&self) -> Variant {
        self.variant
    }

    pub(super) fn observe(&self) -> Result<Found, HostError> {
        let names = self.run(&["list", "-n"], None)?;
        let mut found = Found { sets: true, hooked: true, ..Found::default() };
        for iptables in &self.families {
            let set = set(iptables.family);
            if names.lines().any(|name| name == set) {
                found.targets.extend(elements(&self.run(&["save", set], None)?)?);
            } else {
                found.sets = false;
            }
            let rules = read_rules(&iptables.save()?);
            found.hooked &= rules.first && rules.jumps == 1;
            found.jumps.push((iptables.family, rules.jumps));
            found.rules.extend(rules.comments);
        }
        Ok(found)
    }

    pub(super) fn write(&self, wanted: &Wanted, change: &Change) -> Result<(), HostError> {
        // What rules refer to must be there before them.
        self.run(
            &["restore"],
            Some(&additions(self.families.iter().map(|iptables| iptables.family), change)),
        )?;
        if change.rules {
            for iptables in &self.families {
                let family = iptables.family;
                iptables.restore(&payload(wanted, family, change.jumps_of(family)))?;
            }
        }
        self.run(&["restore"], Some(&deletions(change))).map(drop)
    }

    pub(super) fn remove(&self) -> Result<(), HostError> {
        for iptables in &self.families {
            let saved = iptables.save()?;
            if saved.lines().any(|line| line.starts_with(&format!(":{CHAIN} "))) {
                iptables.restore(&removal(CHAIN, read_rules(&saved).jumps))?;
            }
        }
        let names = self.run(&["list", "-n"], None)?;
        for set in self
            .families
            .iter()
            .map(|iptables| set(iptables.family))
            .filter(|set| names.lines().any(|name| name == *set))
        {
            self.run(&["destroy", set], None)?;
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, HostError> {
        Ok(run(&self.program, arguments, input)?)
    }
}

/// The rules that `wanted` comes down to, one a family.
pub(super) fn rules(wanted: &Wanted) -> Vec<Rule> {
    let sides = [(Family::V4, Some(wanted.probe_v4.into())), (Family::V6, wanted.probe_v6.map(IpAddr::from))];
    let sides = sides.into_iter().filter_map(|(family, probe)| Some((family, probe?)));
    sides.map(|(family, probe)| rule(wanted, family, probe)).collect()
}

/// Forwarded packets have no socket here. iptables could match a cgroup by its path, but only one that lasts: a kubelet that
/// restarts would be somebody else.
fn rule(wanted: &Wanted, family: Family, probe: IpAddr) -> Rule {
    let (uid, set) = (wanted.who.uid(), set(family));
    let text = format!(
        "-p tcp -m set --match-set {set} dst,dst -m owner --socket-exists --uid-owner {uid} -j SNAT --to-source {probe}"
    );
    Rule::new(CHAIN, text, 0)
}

fn payload(wanted: &Wanted, family: Family, jumps: usize) -> String {
    // Declaring a chain also empties it. The table is taken whole, so no packet meets it half done.
    let mut text = format!("*nat\n:{CHAIN} - [0:0]\n");
    text.push_str(&format!("-D POSTROUTING -j {CHAIN}\n").repeat(jumps));
    let _ = writeln!(text, "-I POSTROUTING 1 -j {CHAIN}");
    let probe = match family {
        Family::V4 => Some(wanted.probe_v4.into()),
        Family::V6 => wanted.probe_v6.map(IpAddr::from),
    };
    if let Some(Rule { text: rule, comment, .. }) = probe.map(|probe| rule(wanted, family, probe)) {
        let _ = writeln!(text, "-A {CHAIN} -m comment --comment {comment} {rule}");
    }
    text.push_str("COMMIT\n");
    text
}

/// Takes a chain and the jumps to it out of the nat table.
pub(super) fn removal(chain: &str, jumps: usize) -> String {
    let jumps = format!("-D POSTROUTING -j {chain}\n").repeat(jumps);
    format!("*nat\n{jumps}-F {chain}\n-X {chain}\nCOMMIT\n")
}

fn additions(families: impl Iterator<Item = Family>, change: &Change) -> String {
    let mut text = String::new();
    for family in families {
        let name = match family {
            Family::V4 => "inet",
            Family::V6 => "inet6",
        };
        let _ = writeln!(text, "create {} hash:ip,port family {name} -exist", set(family));
    }
    for (ip, port) in &change.add {
        let _ = writeln!(text, "add {} {ip},tcp:{port} -exist", set(family_of(*ip)));
    }
    text
}

fn deletions(change: &Change) -> String {
    let mut text = String::new();
    for (ip, port) in &change.delete {
        let _ = writeln!(text, "del {} {ip},tcp:{port} -exist", set(family_of(*ip)));
    }
    text
}

/// Reads `add <set> <ip>,tcp:<port> ...` lines; elements of other protocols are nobody's probe.
fn elements(saved: &str) -> Result<Vec<Target>, HostError> {
    let lines = saved.lines().filter_map(|line| line.strip_prefix("add ")?.split_whitespace().nth(1));
    lines
        .filter_map(|element| element.split_once(",tcp:").map(|(ip, port)| (element, ip, port)))
        .map(|(element, ip, port)| {
            let target = ip.parse().ok().zip(port.parse().ok());
            target.ok_or_else(|| HostError::Unreadable { program: "ipset", text: element.to_owned() })
        })
        .collect()
}

/// What the nat table says of our chain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// The first rule of POSTROUTING is our jump.
    first: bool,
    jumps: usize,
    comments: Vec<String>,
}

fn read_rules(saved: &str) -> Rules {
    let mut rules = Rules::default();
    let nat = saved.lines().skip_while(|line| *line != "*nat").take_while(|line| *line != "COMMIT");
    let mut seen = false;
    for line in nat {
        if line.starts_with("-A POSTROUTING") {
            let ours = line == format!("-A POSTROUTING -j {CHAIN}");
            rules.first |= ours && !seen;
            rules.jumps += usize::from(ours);
            seen = true;
        } else if line.starts_with(&format!("-A {CHAIN} ")) {
            let mut words = line.split_whitespace().skip_while(|word| *word != "--comment").skip(1);
            let comment = words.next().map_or(line, |comment| comment.trim_matches('"'));
            rules.comments.push(comment.to_owned());
        }
    }
    rules
}

const fn set(family: Family) -> &'static str {
    match family {
        Family::V4 => "adit-probes-v4",
        Family::V6 => "adit-probes-v6",
    }
}

const fn family_of(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

const CHAIN: &str = "ADIT_PROBES";
const LOCK_WAIT_SECONDS: &str = "30";
