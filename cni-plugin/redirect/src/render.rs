//! Rules to the text that iptables-restore reads: pure. One payload a family, each table of it one transaction.

pub mod nft;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::observe::{Observed, ObservedTable};
use crate::plan::Plan;
use crate::rule::{Chain, Family, Mark, Match, Rule, Table, Target};

/// The payload that brings a family to the plan from whatever is there now, for `iptables-restore --noflush`.
/// Foreign rules stay. Declaring a chain empties it, and jumps that exist are removed before ours are made.
#[must_use]
pub fn iptables_restore(plan: &Plan, family: Family, observed: &Observed) -> String {
    let tables = Table::ALL.into_iter().filter_map(|table| {
        let found = observed.table(table);
        match plan.table(family, table) {
            Some(rules) => {
                let mut body = String::new();
                for chain in Chain::ALL {
                    line(&mut body, format_args!(":{} - [0:0]", chain.name()));
                }
                body.push_str(&without_jumps(found));
                for chain in Chain::ALL {
                    // First, or a foreign rule that accepts could let traffic pass us by.
                    line(&mut body, format_args!("-I {} -j {}", chain.hook(), chain.name()));
                }
                for chain in Chain::ALL {
                    for rule in rules.of(chain) {
                        line(&mut body, format_args!("-A {} {}", chain.name(), text(rule)));
                    }
                }
                Some((table, body))
            }
            None => Some((table, without_us(found)?)),
        }
    });
    payload(tables)
}

/// The payload that leaves nothing of ours in a family; `None` when nothing of ours is there.
#[must_use]
pub fn iptables_remove(observed: &Observed) -> Option<String> {
    let text =
        payload(Table::ALL.into_iter().filter_map(|table| Some((table, without_us(observed.table(table))?))));
    (!text.is_empty()).then_some(text)
}

/// The plan itself, as it would be written where nothing is yet.
#[must_use]
pub fn rules(plan: &Plan, family: Family) -> String {
    iptables_restore(plan, family, &Observed::default())
}

fn payload(tables: impl Iterator<Item = (Table, String)>) -> String {
    let mut payload = String::new();
    for (table, body) in tables {
        line(&mut payload, format_args!("*{}", table.name()));
        payload.push_str(&body);
        line(&mut payload, format_args!("COMMIT"));
    }
    payload
}

/// Deletes every jump to a chain of ours, word for word as it was saved.
fn without_jumps(found: Option<&ObservedTable>) -> String {
    let mut body = String::new();
    for (chain, rule) in found.into_iter().flat_map(ObservedTable::jumps) {
        line(&mut body, format_args!("-D {chain} {}", rule.text));
    }
    body
}

fn without_us(found: Option<&ObservedTable>) -> Option<String> {
    let found = found?;
    let mut body = without_jumps(Some(found));
    let ours: Vec<Chain> = Chain::ALL.into_iter().filter(|chain| found.has(chain.name())).collect();
    for chain in &ours {
        line(&mut body, format_args!("-F {}", chain.name()));
    }
    for chain in &ours {
        line(&mut body, format_args!("-X {}", chain.name()));
    }
    (!body.is_empty()).then_some(body)
}

/// One rule, without the chain.
fn text(rule: &Rule) -> String {
    let mut text = String::new();
    for condition in &rule.matches {
        text.push_str(&condition_text(condition));
        text.push(' ');
    }
    text.push_str("-j ");
    text.push_str(&target_text(&rule.target));
    text
}

fn condition_text(condition: &Match) -> String {
    match condition {
        Match::Source { not, address } => format!("{}-s {address}", bang(*not)),
        Match::Destination { not, address } => format!("{}-d {address}", bang(*not)),
        Match::InInterface { not, name } => format!("{}-i {name}", bang(*not)),
        Match::OutInterface { not, name } => format!("{}-o {name}", bang(*not)),
        Match::Protocol(protocol) => format!("-p {0} -m {0}", protocol.name()),
        Match::SourcePort { not, port } => format!("{}--sport {port}", bang(*not)),
        Match::DestinationPort { not, port } => format!("{}--dport {port}", bang(*not)),
        Match::Begins => "--tcp-flags FIN,SYN,RST,ACK SYN".to_owned(),
        Match::Mark { not, mark } => format!("-m mark {}--mark {}", bang(*not), mark_text(*mark)),
        Match::ConnMark { not, mark } => format!("-m connmark {}--mark {}", bang(*not), mark_text(*mark)),
        Match::State { not, name } => format!("-m conntrack {}--ctstate {name}", bang(*not)),
        Match::Status { not, name } => format!("{}--ctstatus {name}", bang(*not)),
    }
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Accept => "ACCEPT".to_owned(),
        Target::Return => "RETURN".to_owned(),
        Target::Drop => "DROP".to_owned(),
        Target::Redirect(port) => format!("REDIRECT --to-ports {port}"),
        Target::SetConnMark(mark) => format!("CONNMARK --set-xmark {}", mark_text(*mark)),
        Target::RestoreMark => "CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned(),
        Target::Zone(zone) => format!("CT --zone {zone}"),
        Target::Jump(chain) => chain.name().to_owned(),
    }
}

fn bang(not: bool) -> &'static str {
    if not { "! " } else { "" }
}

fn mark_text(Mark { value, mask }: Mark) -> String {
    format!("{value:#x}/{mask:#x}")
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
