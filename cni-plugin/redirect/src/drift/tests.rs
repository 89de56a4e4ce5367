use super::*;
use crate::plan::{DnsListeners, PodOverrides, Settings, plan};
use crate::render;

#[test]
fn a_pod_as_planned_shows_no_drift() {
    for dns in [false, true] {
        let plan = planned(dns);
        for family in Family::ALL {
            assert_eq!(drift(&plan, family, &saved(&plan, family)), Drift::default());
        }
    }
}

#[test]
fn foreign_tables_chains_and_rules_are_not_drift() {
    let plan = planned(false);
    let saved = format!(
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -j DROP\nCOMMIT\n{}",
        and(&saved(&plan, Family::V4), ":DOCKER - [0:0]\n-A OUTPUT -d 10.0.0.0/8 -j DOCKER")
    );
    assert_eq!(drift(&plan, Family::V4, &saved), Drift::default());
}

#[test]
fn an_empty_pod_lacks_every_chain() {
    check(
        |_| String::new(),
        &[
            Finding::ChainMissing(place(Table::Mangle, Chain::Prerouting)),
            Finding::ChainMissing(place(Table::Mangle, Chain::Output)),
            Finding::ChainMissing(place(Table::Nat, Chain::Prerouting)),
            Finding::ChainMissing(place(Table::Nat, Chain::Output)),
        ],
    );
}

#[test]
fn one_changed_port_is_drift() {
    let want = [Finding::RulesDiffer(place(Table::Nat, Chain::Prerouting))];
    check(|saved| saved.replace("15006", "15007"), &want);
}

#[test]
fn an_order_that_changed_is_drift() {
    let swap = |saved: &str| {
        let mut lines: Vec<&str> = saved.lines().collect();
        let last = lines.iter().rposition(|line| line.starts_with("-A ISTIO_OUTPUT")).unwrap();
        lines.swap(last, last - 1);
        lines.join("\n")
    };
    check(swap, &[Finding::RulesDiffer(place(Table::Nat, Chain::Output))]);
}

#[test]
fn an_extra_rule_in_our_chain_is_drift() {
    let add = |saved: &str| and(saved, "-A ISTIO_OUTPUT -j ACCEPT");
    check(add, &[Finding::RulesDiffer(place(Table::Nat, Chain::Output))]);
}

#[test]
fn a_missing_jump_is_drift() {
    let drop = |saved: &str| saved.replace("*nat\n", "*nat\n#").replace("-A PREROUTING -j ISTIO_PRERT\n", "");
    check(
        drop,
        &[
            Finding::JumpMissing(place(Table::Mangle, Chain::Prerouting)),
            Finding::JumpMissing(place(Table::Nat, Chain::Prerouting)),
        ],
    );
}

#[test]
fn a_second_jump_or_a_conditional_one_is_drift() {
    for extra in [
        "-A OUTPUT -j ISTIO_OUTPUT",
        "-A OUTPUT -d 10.0.0.1/32 -j ISTIO_OUTPUT",
        "-A PREROUTING -j ISTIO_OUTPUT",
    ] {
        let add = |saved: &str| and(saved, extra);
        check(add, &[Finding::JumpsStray(place(Table::Nat, Chain::Output))]);
    }
}

#[test]
fn a_conditional_jump_does_not_stand_in_for_the_plain_one() {
    let condition = |saved: &str| {
        let (mangle, nat) = saved.split_once("*nat").unwrap();
        format!("{mangle}*nat{}", nat.replace("-A OUTPUT -j", "-A OUTPUT -p tcp -j"))
    };
    let place = place(Table::Nat, Chain::Output);
    check(condition, &[Finding::JumpMissing(place), Finding::JumpsStray(place)]);
}

#[test]
fn a_rule_before_our_jump_is_drift() {
    let before = |saved: &str| saved.replace("*nat\n", "*nat\n-A OUTPUT -d 10.0.0.1/32 -j ACCEPT\n");
    check(before, &[Finding::JumpNotFirst(place(Table::Nat, Chain::Output))]);
}

#[test]
fn chains_of_a_wish_that_ended_are_drift() {
    let saved = saved(&planned(true), Family::V4);
    let drift = drift(&planned(false), Family::V4, &saved);
    assert!(drift.findings.contains(&Finding::ChainStray(place(Table::Raw, Chain::Output))), "{drift}");
    assert_eq!(drift.to_string().matches("is not planned").count(), 2);
}

#[track_caller]
fn check(change: impl Fn(&str) -> String, want: &[Finding]) {
    let plan = planned(false);
    let saved = change(&saved(&plan, Family::V4));
    assert_eq!(drift(&plan, Family::V4, &saved).findings, want, "{saved}");
}

/// As iptables-save prints a plan that was put in place: inserted rules are rules like others.
fn saved(plan: &Plan, family: Family) -> String {
    render::rules(plan, family).replace("-I ", "-A ")
}

/// With more at the end of table `nat`.
fn and(saved: &str, lines: &str) -> String {
    format!("{}{lines}\nCOMMIT\n", saved.strip_suffix("COMMIT\n").unwrap())
}

fn place(table: Table, chain: Chain) -> Place {
    Place { family: Family::V4, table, chain }
}

fn planned(dns: bool) -> Plan {
    plan(&Settings { dns, ..Settings::default() }, &PodOverrides::default(), DnsListeners::ALL)
}
