//! What the kernel holds after each step.

use std::fs::{self, File};
use std::os::fd::AsFd;

use cni_plugin_redirect::drift::Place;
use cni_plugin_redirect::rule::{Chain, Family, Table};
use cni_plugin_redirect::{
    DnsListeners, Drift, Finding, Iptables, Plan, PodOverrides, RedirectError, Settings, Variant, apply, plan,
};

use crate::lab::Namespace;

/// A name and what it promises.
type Row = (&'static str, fn(&Iptables));

pub(crate) const TESTS: &[Row] = &[
    ("an_applied_plan_shows_no_drift", an_applied_plan_shows_no_drift),
    ("applying_again_changes_nothing", applying_again_changes_nothing),
    ("every_tampering_is_seen_and_repaired", every_tampering_is_seen_and_repaired),
    ("removal_leaves_nothing_and_may_be_repeated", removal_leaves_nothing_and_may_be_repeated),
    ("foreign_rules_live_through_it_all", foreign_rules_live_through_it_all),
    ("rules_of_istio_cni_are_taken_over", rules_of_istio_cni_are_taken_over),
    ("dns_rules_go_when_dns_is_no_longer_captured", dns_rules_go_when_dns_is_no_longer_captured),
    ("a_pod_without_ipv6_on_loopback_gets_no_ipv6_route", a_pod_without_ipv6_on_loopback_gets_no_ipv6_route),
    ("our_own_namespace_is_refused", our_own_namespace_is_refused),
    ("what_is_no_namespace_is_refused", what_is_no_namespace_is_refused),
];

pub(crate) fn the_best_iptables_is_found() {
    let found = Iptables::detect(None).unwrap();
    assert!(found.ipv6());
    assert_eq!(found.variant(), Variant::Nft);
}

fn an_applied_plan_shows_no_drift(iptables: &Iptables) {
    for dns in [false, true] {
        let (pod, plan) = (Namespace::new(), planned(dns));
        assert_ne!(inspect(iptables, &pod, &plan), Drift::default());
        apply::apply(iptables, pod.as_fd(), &plan).unwrap();
        assert_eq!(inspect(iptables, &pod, &plan), Drift::default());
        assert_ne!(inspect(iptables, &pod, &planned(!dns)), Drift::default());
        for (family, all) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
            let rules = pod.run(&format!("ip {family} rule"));
            assert_eq!(rules.matches("32764:\tfrom all fwmark 0x111/0xfff lookup 100").count(), 1, "{rules}");
            let routes = pod.run(&format!("ip {family} -N route show table 100"));
            assert!(
                routes.contains("dev lo") && (routes.contains(all) || routes.contains("default")),
                "{routes}"
            );
        }
    }
}

fn applying_again_changes_nothing(iptables: &Iptables) {
    let (pod, plan) = (Namespace::new(), planned(true));
    apply::apply(iptables, pod.as_fd(), &plan).unwrap();
    let before = state(iptables, &pod);
    apply::apply(iptables, pod.as_fd(), &plan).unwrap();
    assert_eq!(state(iptables, &pod), before);
}

fn every_tampering_is_seen_and_repaired(iptables: &Iptables) {
    let (pod, plan) = (Namespace::new(), planned(false));
    apply::apply(iptables, pod.as_fd(), &plan).unwrap();
    for (command, want) in tamperings() {
        pod.run(&spelled(iptables, command));
        let drift = inspect(iptables, &pod, &plan);
        assert!(drift.findings.contains(&want), "{command}: {drift}");
        apply::apply(iptables, pod.as_fd(), &plan).unwrap();
        assert_eq!(inspect(iptables, &pod, &plan), Drift::default(), "after {command}");
    }
}

fn tamperings() -> Vec<(&'static str, Finding)> {
    let nat = |chain| Place { family: Family::V4, table: Table::Nat, chain };
    vec![
        ("iptables -t nat -F ISTIO_PRERT", Finding::RulesDiffer(nat(Chain::Prerouting))),
        ("iptables -t nat -D ISTIO_OUTPUT 1", Finding::RulesDiffer(nat(Chain::Output))),
        ("iptables -t nat -I ISTIO_OUTPUT -j ACCEPT", Finding::RulesDiffer(nat(Chain::Output))),
        (
            "iptables -t nat -A ISTIO_OUTPUT -m comment --comment 'a b' -j ACCEPT",
            Finding::RulesDiffer(nat(Chain::Output)),
        ),
        ("iptables -t nat -D OUTPUT -j ISTIO_OUTPUT", Finding::JumpMissing(nat(Chain::Output))),
        ("iptables -t nat -A OUTPUT -j ISTIO_OUTPUT", Finding::JumpsStray(nat(Chain::Output))),
        ("iptables -t nat -I OUTPUT -d 10.0.0.0/8 -j ISTIO_OUTPUT", Finding::JumpsStray(nat(Chain::Output))),
        ("iptables -t nat -F", Finding::JumpMissing(nat(Chain::Output))),
        ("iptables -t nat -F; iptables -t nat -X", Finding::ChainMissing(nat(Chain::Output))),
        (
            "ip6tables -t mangle -F ISTIO_PRERT",
            Finding::RulesDiffer(Place {
                family: Family::V6,
                table: Table::Mangle,
                chain: Chain::Prerouting,
            }),
        ),
        (
            "iptables -t raw -N ISTIO_OUTPUT; iptables -t raw -A OUTPUT -j ISTIO_OUTPUT",
            Finding::ChainStray(Place { family: Family::V4, table: Table::Raw, chain: Chain::Output }),
        ),
        ("ip -4 rule del pref 32764", Finding::PolicyRuleMissing(Family::V4)),
        ("ip -6 rule del pref 32764", Finding::PolicyRuleMissing(Family::V6)),
        ("ip -4 route flush table 100", Finding::LocalRouteMissing(Family::V4)),
        ("ip -6 route flush table 100", Finding::LocalRouteMissing(Family::V6)),
    ]
}

fn removal_leaves_nothing_and_may_be_repeated(iptables: &Iptables) {
    let pod = Namespace::new();
    let untouched = pod.run(ROUTING);
    apply::remove(iptables, pod.as_fd()).unwrap();
    apply::apply(iptables, pod.as_fd(), &planned(true)).unwrap();
    pod.run(&spelled(iptables, "iptables -t nat -A OUTPUT -d 10.0.0.0/8 -j ISTIO_OUTPUT"));
    pod.run("ip -6 rule del pref 32764");
    for _ in 0..2 {
        apply::remove(iptables, pod.as_fd()).unwrap();
        let rules = pod.run(&spelled(iptables, "iptables-save; ip6tables-save"));
        assert!(!rules.contains("ISTIO") && !rules.contains("-A "), "{rules}");
        assert_eq!(pod.run(ROUTING), untouched);
    }
}

fn foreign_rules_live_through_it_all(iptables: &Iptables) {
    let (pod, plan) = (Namespace::new(), planned(true));
    let foreign = [
        "-t nat -N DOCKER",
        "-t nat -A OUTPUT -m comment --comment 'mine -j ISTIO_OUTPUT' -d 10.0.0.0/8 -j DOCKER",
        "-t filter -A INPUT -p tcp -m tcp --dport 99 -j DROP",
        "-t raw -A PREROUTING -d 10.9.9.9/32 -j ACCEPT",
    ];
    for rule in foreign {
        pod.run(&spelled(iptables, &format!("iptables {rule}")));
    }
    pod.run("ip rule add pref 500 lookup 100; ip route add local 10.7.0.0/16 dev lo table 100");
    let before = state(iptables, &pod);
    for _ in 0..2 {
        apply::apply(iptables, pod.as_fd(), &plan).unwrap();
        assert_eq!(inspect(iptables, &pod, &plan), Drift::default());
    }
    apply::remove(iptables, pod.as_fd()).unwrap();
    let lines = |state: &str| {
        state.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect::<Vec<_>>()
    };
    let after = state(iptables, &pod);
    assert_eq!(lines(&after), lines(&before));
    assert!(pod.run(ROUTING).contains("500:\tfrom all lookup 100"));
    assert!(pod.run("ip route show table 100").contains("10.7.0.0/16"));
}

fn rules_of_istio_cni_are_taken_over(iptables: &Iptables) {
    let (pod, plan) = (Namespace::new(), planned(false));
    pod.run(&spelled(
        iptables,
        "ip rule add fwmark 0x111/0xfff pref 32764 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100
         iptables-restore --noflush <<'END'
*mangle
-N ISTIO_OUTPUT
-N ISTIO_PRERT
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
-N ISTIO_OUTPUT
-N ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -s 169.254.7.127 -p tcp -m tcp -j ACCEPT
-A ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
END",
    ));
    apply::apply(iptables, pod.as_fd(), &plan).unwrap();
    assert_eq!(inspect(iptables, &pod, &plan), Drift::default());
}

fn dns_rules_go_when_dns_is_no_longer_captured(iptables: &Iptables) {
    let (pod, plan) = (Namespace::new(), planned(false));
    apply::apply(iptables, pod.as_fd(), &planned(true)).unwrap();
    apply::apply(iptables, pod.as_fd(), &plan).unwrap();
    assert_eq!(inspect(iptables, &pod, &plan), Drift::default());
    let raw = pod.run(&spelled(iptables, "iptables-save -t raw"));
    assert!(!raw.contains("ISTIO"), "{raw}");
}

fn a_pod_without_ipv6_on_loopback_gets_no_ipv6_route(iptables: &Iptables) {
    let (pod, plan) = (Namespace::new(), planned(false));
    pod.inside(|| fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap());
    apply::apply(iptables, pod.as_fd(), &plan).unwrap();
    assert_eq!(inspect(iptables, &pod, &plan), Drift::default());
    assert_eq!(pod.run("ip -6 route show table 100 2>/dev/null || true"), "");
    assert!(pod.run(&spelled(iptables, "ip6tables-save")).contains("ISTIO_PRERT"));
    apply::remove(iptables, pod.as_fd()).unwrap();
}

fn our_own_namespace_is_refused(iptables: &Iptables) {
    let own = File::open("/proc/thread-self/ns/net").unwrap();
    let error = apply::apply(iptables, own.as_fd(), &planned(false)).unwrap_err();
    assert!(matches!(error, RedirectError::OwnNamespace), "{error:?}");
    let errors = apply::remove(iptables, own.as_fd()).unwrap_err();
    assert!(matches!(errors.as_slice(), [RedirectError::OwnNamespace]), "{errors:?}");
}

fn what_is_no_namespace_is_refused(iptables: &Iptables) {
    let file = File::open("/dev/null").unwrap();
    let error = apply::apply(iptables, file.as_fd(), &planned(false)).unwrap_err();
    assert!(matches!(error, RedirectError::Enter(_)), "{error:?}");
}

fn inspect(iptables: &Iptables, pod: &Namespace, plan: &Plan) -> Drift {
    apply::inspect(iptables, pod.as_fd(), plan).unwrap()
}

fn planned(dns: bool) -> Plan {
    plan(&Settings { dns, ..Settings::default() }, &PodOverrides::default(), DnsListeners::ALL)
}

/// Everything the pod holds, without counters and dates.
fn state(iptables: &Iptables, pod: &Namespace) -> String {
    let rules = pod.run(&spelled(iptables, "iptables-save; ip6tables-save"));
    let rules: Vec<&str> = rules
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" [").next().unwrap())
        .collect();
    rules.join("\n") + &pod.run(ROUTING)
}

/// The command with the variant's own programs.
fn spelled(iptables: &Iptables, command: &str) -> String {
    let variant = if iptables.variant() == Variant::Legacy { "legacy" } else { "nft" };
    command
        .replace("tables -", &format!("tables-{variant} -"))
        .replace("tables-save", &format!("tables-{variant}-save"))
        .replace("tables-restore", &format!("tables-{variant}-restore"))
}

const ROUTING: &str = "ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all";
