//! Rules to the text that `nft -f` reads: pure. One transaction for everything, in tables of family `inet` with istio-cni's
//! names, so that each side's next transaction replaces the other's rules.
//!
//! Only words that nft 0.9.3 and kernel 5.4 know; no sets, no JSON.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::plan::Plan;
use crate::rule::{Chain, Family, Mark, Match, Protocol, Rule, Table, Target};

/// The transaction that brings a namespace to the plan from whatever is there. Every table that may be ours is deleted in it,
/// also one that the plan does not want; adding it first is how a table that need not be there is deleted.
#[must_use]
pub fn nft_transaction(plan: &Plan) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let name = table.nft_name();
        line(&mut text, format_args!("add table inet {name}"));
        line(&mut text, format_args!("delete table inet {name}"));
    }
    let marker = format!("adit {:016x}", plan.hash());
    for table in Table::ALL.into_iter().filter(|table| wanted(plan, *table)) {
        line(&mut text, format_args!("table inet {} {{", table.nft_name()));
        for chain in Chain::ALL {
            let (base, ours) = chain.nft_names();
            line(&mut text, format_args!("\tchain {base} {{\n\t\t{}", hook(table, chain)));
            line(&mut text, format_args!("\t\tjump {ours} comment \"{marker}\"\n\t}}"));
        }
        for chain in Chain::ALL {
            line(&mut text, format_args!("\tchain {} {{", chain.nft_names().1));
            for family in plan.families() {
                for rule in plan.table(family, table).into_iter().flat_map(|rules| rules.of(chain)) {
                    line(&mut text, format_args!("\t\t{}", rule_text(family, rule)));
                }
            }
            line(&mut text, format_args!("\t}}"));
        }
        line(&mut text, format_args!("}}"));
    }
    text
}

fn wanted(plan: &Plan, table: Table) -> bool {
    plan.families().any(|family| plan.table(family, table).is_some())
}

/// Numbers, since older programs do not know the names of all priorities in all families.
fn hook(table: Table, chain: Chain) -> String {
    let (kind, priority) = match (table, chain) {
        (Table::Raw, _) => ("filter", -300),
        (Table::Mangle, Chain::Prerouting) => ("filter", -150),
        // The restored mark decides on the route.
        (Table::Mangle, Chain::Output) => ("route", -150),
        (Table::Nat, _) => ("nat", -100),
    };
    let hook = chain.nft_names().0;
    format!("type {kind} hook {hook} priority {priority}; policy accept;")
}

/// One rule, for packets of its family only.
fn rule_text(family: Family, rule: &Rule) -> String {
    let mut words = Vec::new();
    // An address says the family by itself.
    if !rule.matches.iter().any(|part| matches!(part, Match::Source { .. } | Match::Destination { .. })) {
        words.push(match family {
            Family::V4 => "meta nfproto ipv4".to_owned(),
            Family::V6 => "meta nfproto ipv6".to_owned(),
        });
    }
    let protocols = [Protocol::Tcp, Protocol::Udp].into_iter();
    let protocol = protocols.map(|p| (p, Match::Protocol(p))).find(|(_, part)| rule.matches.contains(part));
    let protocol = protocol.map_or("th", |(protocol, _)| protocol.name());
    words.extend(rule.matches.iter().filter_map(|part| condition_text(part, protocol)));
    words.push("counter".to_owned());
    words.push(target_text(&rule.target));
    words.join(" ")
}

fn condition_text(condition: &Match, protocol: &str) -> Option<String> {
    Some(match condition {
        Match::Source { not, address } => {
            format!("{} saddr{} {address}", ip(address.is_ipv4()), differs(*not))
        }
        Match::Destination { not, address } => {
            format!("{} daddr{} {address}", ip(address.is_ipv4()), differs(*not))
        }
        Match::InInterface { not, name } => format!("iifname{} \"{}\"", differs(*not), interface(name)?),
        Match::OutInterface { not, name } => format!("oifname{} \"{}\"", differs(*not), interface(name)?),
        Match::Protocol(protocol) => format!("meta l4proto {}", protocol.name()),
        Match::SourcePort { not, port } => format!("{protocol} sport{} {port}", differs(*not)),
        Match::DestinationPort { not, port } => format!("{protocol} dport{} {port}", differs(*not)),
        Match::Begins => "tcp flags & (fin | syn | rst | ack) == syn".to_owned(),
        Match::Mark { not, mark } => mark_text("meta mark", *not, *mark),
        Match::ConnMark { not, mark } => mark_text("ct mark", *not, *mark),
        // Translation is a state to iptables and a status to nftables.
        Match::State { not, name } if name == "DNAT" => status_text(*not, name),
        Match::State { not, name } => format!("ct state{} {}", differs(*not), name.to_lowercase()),
        Match::Status { not, name } => status_text(*not, name),
    })
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Accept => "accept".to_owned(),
        Target::Return => "return".to_owned(),
        Target::Drop => "drop".to_owned(),
        Target::Redirect(port) => format!("redirect to :{port}"),
        Target::SetConnMark(Mark { value, mask }) => {
            format!("ct mark set ct mark & {:#x} | {value:#x}", !mask)
        }
        Target::RestoreMark => "meta mark set ct mark".to_owned(),
        Target::Zone(zone) => format!("ct zone set {zone}"),
        Target::Jump(chain) => format!("jump {}", chain.nft_names().1),
    }
}

fn ip(v4: bool) -> &'static str {
    if v4 { "ip" } else { "ip6" }
}

fn differs(not: bool) -> &'static str {
    if not { " !=" } else { "" }
}

fn mark_text(key: &str, not: bool, Mark { value, mask }: Mark) -> String {
    format!("{key} & {mask:#x} {} {value:#x}", if not { "!=" } else { "==" })
}

fn status_text(not: bool, name: &str) -> String {
    let name = name.to_lowercase();
    format!("ct status & {name} {} {name}", if not { "!=" } else { "==" })
}

/// The wildcard at the end of a name is another sign in nftables; alone it matches all interfaces and says nothing.
fn interface(name: &str) -> Option<String> {
    match name.strip_suffix('+') {
        Some("") => None,
        Some(stem) => Some(format!("{stem}*")),
        None => Some(name.to_owned()),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
