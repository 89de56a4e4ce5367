use super::*;
use crate::plan::{DnsListeners, PodOverrides, Settings, plan};

#[test]
fn a_table_is_one_transaction_with_its_chains_declared() {
    let text = rules(&bare(), Family::V4);
    let nat = text.split("*nat\n").nth(1).unwrap();
    assert!(
        nat.starts_with(":ISTIO_PRERT - [0:0]\n:ISTIO_OUTPUT - [0:0]\n-I PREROUTING -j ISTIO_PRERT\n"),
        "{nat}"
    );
    assert!(nat.ends_with("COMMIT\n"));
    assert_eq!(text.matches("COMMIT").count(), 2);
}

#[test]
fn jumps_that_exist_are_removed_before_ours_are_made() {
    let observed = Observed::parse(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:DOCKER - [0:0]\n\
         -A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -m comment --comment \"a b\" -j DOCKER\n\
         -A DOCKER -s 10.0.0.0/8 -g ISTIO_PRERT\n-A ISTIO_OUTPUT -j ISTIO_PRERT\nCOMMIT\n",
    );
    let text = iptables_restore(&bare(), Family::V4, &observed);
    let deleted: Vec<&str> = text.lines().filter(|line| line.starts_with("-D")).collect();
    assert_eq!(
        deleted,
        ["-D DOCKER -s 10.0.0.0/8 -g ISTIO_PRERT", "-D OUTPUT -j ISTIO_OUTPUT", "-D OUTPUT -j ISTIO_OUTPUT"]
    );
    assert_eq!(text.matches("-I OUTPUT -j ISTIO_OUTPUT").count(), 2, "one for each table");
    assert!(text.rfind("-D ").unwrap() < text.rfind("-I OUTPUT").unwrap());
}

#[test]
fn a_table_the_plan_no_longer_wants_is_cleared() {
    let observed = Observed::parse(
        "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_PRERT - [0:0]\n\
         -A PREROUTING -j ISTIO_PRERT\n-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ACCEPT\nCOMMIT\n",
    );
    let text = iptables_restore(&bare(), Family::V4, &observed);
    let want = "*raw\n-D OUTPUT -j ISTIO_OUTPUT\n-D PREROUTING -j ISTIO_PRERT\n-F ISTIO_PRERT\n-F ISTIO_OUTPUT\n\
                -X ISTIO_PRERT\n-X ISTIO_OUTPUT\nCOMMIT\n*mangle\n";
    assert!(text.starts_with(want), "{text}");
}

#[test]
fn removal_touches_only_tables_that_hold_something_of_ours() {
    let observed = Observed::parse(
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n\
         *nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_PRERT - [0:0]\n-A PREROUTING -j ISTIO_PRERT\nCOMMIT\n\
         *mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n",
    );
    let want = "*nat\n-D PREROUTING -j ISTIO_PRERT\n-F ISTIO_PRERT\n-X ISTIO_PRERT\nCOMMIT\n";
    assert_eq!(iptables_remove(&observed).as_deref(), Some(want));
}

#[test]
fn where_nothing_of_ours_is_nothing_is_removed() {
    assert_eq!(iptables_remove(&Observed::default()), None);
    assert_eq!(
        iptables_remove(&Observed::parse("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n")),
        None
    );
}

fn bare() -> Plan {
    plan(&Settings { ipv6: false, ..Settings::default() }, &PodOverrides::default(), DnsListeners::ALL)
}
