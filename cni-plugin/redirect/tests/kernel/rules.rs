//! What the kernel holds after each step.

use std::fs::{self, File};
use std::os::fd::AsFd;

use cni_plugin_redirect::drift::Place;
use cni_plugin_redirect::rule::{Chain, Family, Table};
use cni_plugin_redirect::{Backend, Drift, Finding, Kind, Plan, RedirectError, Variant, apply};

use crate::lab::Namespace;
use crate::rig::planned;

/// A name and what it promises.
type Row = (&'static str, fn(&Backend));

pub(crate) const TESTS: &[Row] = &[
    ("an_applied_plan_shows_no_drift", an_applied_plan_shows_no_drift),
    ("applying_again_changes_nothing", applying_again_changes_nothing),
    ("every_tampering_is_seen_and_repaired", every_tampering_is_seen_and_repaired),
    ("removal_leaves_nothing_and_may_be_repeated", removal_leaves_nothing_and_may_be_repeated),
    ("foreign_rules_live_through_it_all", foreign_rules_live_through_it_all),
    ("many_pods_at_once_are_each_as_planned", many_pods_at_once_are_each_as_planned),
    ("dns_rules_go_when_dns_is_no_longer_captured", dns_rules_go_when_dns_is_no_longer_captured),
    ("a_pod_without_ipv6_on_loopback_gets_no_ipv6_route", a_pod_without_ipv6_on_loopback_gets_no_ipv6_route),
    ("our_own_namespace_is_refused", our_own_namespace_is_refused),
    ("what_is_no_namespace_is_refused", what_is_no_namespace_is_refused),
];

fn an_applied_plan_shows_no_drift(backend: &Backend) {
    for dns in [false, true] {
        let (pod, plan) = (Namespace::new(), planned(dns));
        assert_ne!(inspect(backend, &pod, &plan), Drift::default());
        apply::apply(backend, pod.as_fd(), &plan).unwrap();
        assert_eq!(inspect(backend, &pod, &plan), Drift::default());
        assert_ne!(inspect(backend, &pod, &planned(!dns)), Drift::default());
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

fn applying_again_changes_nothing(backend: &Backend) {
    let (pod, plan) = (Namespace::new(), planned(true));
    apply::apply(backend, pod.as_fd(), &plan).unwrap();
    let before = state(&pod);
    apply::apply(backend, pod.as_fd(), &plan).unwrap();
    assert_eq!(state(&pod), before);
}

fn every_tampering_is_seen_and_repaired(backend: &Backend) {
    let (pod, plan) = (Namespace::new(), planned(false));
    apply::apply(backend, pod.as_fd(), &plan).unwrap();
    for (command, want) in tamperings(backend) {
        pod.run(&spelled(backend, command));
        let drift = inspect(backend, &pod, &plan);
        assert!(drift.findings.contains(&want), "{command}: {drift}");
        apply::apply(backend, pod.as_fd(), &plan).unwrap();
        assert_eq!(inspect(backend, &pod, &plan), Drift::default(), "after {command}");
    }
}

fn tamperings(backend: &Backend) -> Vec<(&'static str, Finding)> {
    let mut all = match backend.kind() {
        Kind::Nftables => tamperings_with_nft(),
        Kind::Iptables(_) => tamperings_with_iptables(),
    };
    all.extend([
        ("ip -4 rule del pref 32764", Finding::PolicyRuleMissing(Family::V4)),
        ("ip -6 rule del pref 32764", Finding::PolicyRuleMissing(Family::V6)),
        ("ip -4 route flush table 100", Finding::LocalRouteMissing(Family::V4)),
        ("ip -6 route flush table 100", Finding::LocalRouteMissing(Family::V6)),
    ]);
    all
}

fn tamperings_with_nft() -> Vec<(&'static str, Finding)> {
    let (nat, mangle) = (Finding::TableDiffers(Table::Nat), Finding::TableDiffers(Table::Mangle));
    vec![
        ("nft flush chain inet istio-ambient-nat istio-prerouting", nat),
        ("nft flush chain inet istio-ambient-nat output", nat),
        ("nft insert rule inet istio-ambient-nat istio-output accept", nat),
        ("nft add rule inet istio-ambient-nat istio-output accept", nat),
        ("nft add chain inet istio-ambient-nat stray", nat),
        ("nft flush table inet istio-ambient-nat", nat),
        ("nft delete table inet istio-ambient-nat", Finding::TableMissing(Table::Nat)),
        ("nft flush chain inet istio-ambient-mangle istio-prerouting", mangle),
        ("nft insert rule inet istio-ambient-mangle istio-output meta mark set 7", mangle),
        ("nft add table inet istio-ambient-raw", Finding::TableStray(Table::Raw)),
        ("nft flush ruleset", Finding::TableMissing(Table::Mangle)),
    ]
}

fn tamperings_with_iptables() -> Vec<(&'static str, Finding)> {
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
        ("iptables -t nat -I OUTPUT -d 10.0.0.0/8 -j ACCEPT", Finding::JumpNotFirst(nat(Chain::Output))),
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
    ]
}

fn removal_leaves_nothing_and_may_be_repeated(backend: &Backend) {
    let pod = Namespace::new();
    let untouched = pod.run(ROUTING);
    apply::remove(backend, pod.as_fd()).unwrap();
    apply::apply(backend, pod.as_fd(), &planned(true)).unwrap();
    pod.run(&spelled(
        backend,
        match backend.kind() {
            Kind::Nftables => "nft add rule inet istio-ambient-nat output accept",
            Kind::Iptables(_) => "iptables -t nat -A OUTPUT -d 10.0.0.0/8 -j ISTIO_OUTPUT",
        },
    ));
    pod.run("ip -6 rule del pref 32764");
    for _ in 0..2 {
        apply::remove(backend, pod.as_fd()).unwrap();
        assert_eq!(leftovers(&pod), "");
        assert_eq!(pod.run(ROUTING), untouched);
    }
    apply::apply(backend, pod.as_fd(), &planned(true)).unwrap();
    apply::release(backend, pod.as_fd(), &planned(true)).unwrap();
    assert_ne!(leftovers(&pod), "");
    apply::remove(backend, pod.as_fd()).unwrap();
    assert_eq!(leftovers(&pod), "");
    assert_eq!(pod.run(ROUTING), untouched);
}

/// A thousand of them, by every program, and words of ours in a comment.
fn foreign_rules_live_through_it_all(backend: &Backend) {
    let (pod, plan) = (Namespace::new(), planned(true));
    pod.run(
        "{ echo '*nat'; echo ':DOCKER - [0:0]'
           for i in $(seq 1 250); do echo \"-A DOCKER -d 10.9.0.$i/32 -j RETURN\"; done
           echo '-A OUTPUT -m comment --comment \"mine -j ISTIO_OUTPUT\" -d 10.0.0.0/8 -j DOCKER'
           echo COMMIT; echo '*raw'; echo '-A PREROUTING -d 10.9.9.9/32 -j ACCEPT'; echo COMMIT; } > /run/foreign
         for restore in iptables-nft-restore iptables-legacy-restore; do $restore --noflush < /run/foreign; done
         { echo 'table inet firewalld { chain screen { type filter hook input priority 0;'
           for i in $(seq 1 500); do echo \"tcp dport $i accept\"; done; printf '}\\n}\\n'; } | nft -f -",
    );
    pod.run("ip rule add pref 500 lookup 100; ip route add local 10.7.0.0/16 dev lo table 100");
    let before = foreign(&pod);
    assert!(before.len() > 1000, "{}", before.len());
    for _ in 0..2 {
        apply::apply(backend, pod.as_fd(), &plan).unwrap();
        assert_eq!(inspect(backend, &pod, &plan), Drift::default());
        assert_eq!(foreign(&pod), before);
    }
    apply::remove(backend, pod.as_fd()).unwrap();
    assert_eq!(foreign(&pod), before);
    assert!(pod.run(ROUTING).contains("500:\tfrom all lookup 100"));
    assert!(pod.run("ip route show table 100").contains("10.7.0.0/16"));
}

/// And each by two at once.
fn many_pods_at_once_are_each_as_planned(backend: &Backend) {
    let (pods, plan) = (Vec::from_iter((0..8).map(|_| Namespace::new())), planned(true));
    std::thread::scope(|scope| {
        for pod in pods.iter().chain(&pods) {
            scope.spawn(|| apply::apply(backend, pod.as_fd(), &plan).unwrap());
        }
    });
    for pod in &pods {
        assert_eq!(inspect(backend, pod, &plan), Drift::default());
    }
}

fn dns_rules_go_when_dns_is_no_longer_captured(backend: &Backend) {
    let (pod, plan) = (Namespace::new(), planned(false));
    apply::apply(backend, pod.as_fd(), &planned(true)).unwrap();
    apply::apply(backend, pod.as_fd(), &plan).unwrap();
    assert_eq!(inspect(backend, &pod, &plan), Drift::default());
    let raw = pod.run("nft list ruleset; iptables-legacy-save -t raw");
    assert!(!raw.contains("dport 53"), "{raw}");
}

fn a_pod_without_ipv6_on_loopback_gets_no_ipv6_route(backend: &Backend) {
    let ((pod, _peer), plan) = (Namespace::pair(), planned(false));
    pod.inside(|| fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap());
    apply::apply(backend, pod.as_fd(), &plan).unwrap();
    assert_eq!(inspect(backend, &pod, &plan), Drift::default());
    assert_eq!(pod.run("ip -6 route show table 100 2>/dev/null || true"), "");
    assert!(pod.run(EVERYTHING).contains("fd16:9254:7127:1337:ffff:ffff:ffff:ffff"));
    apply::remove(backend, pod.as_fd()).unwrap();
}

fn our_own_namespace_is_refused(backend: &Backend) {
    let own = File::open("/proc/thread-self/ns/net").unwrap();
    let error = apply::apply(backend, own.as_fd(), &planned(false)).unwrap_err();
    assert!(matches!(error, RedirectError::OwnNamespace), "{error:?}");
    let errors = apply::remove(backend, own.as_fd()).unwrap_err();
    assert!(matches!(errors.as_slice(), [RedirectError::OwnNamespace]), "{errors:?}");
}

fn what_is_no_namespace_is_refused(backend: &Backend) {
    let file = File::open("/dev/null").unwrap();
    let error = apply::apply(backend, file.as_fd(), &planned(false)).unwrap_err();
    assert!(matches!(error, RedirectError::Enter(_)), "{error:?}");
}

fn inspect(backend: &Backend, pod: &Namespace, plan: &Plan) -> Drift {
    apply::inspect(backend, pod.as_fd(), plan).unwrap()
}

/// Everything the pod holds, with the kernel's numbers of rules but without counters.
fn state(pod: &Namespace) -> String {
    let rules = pod.run(EVERYTHING);
    let rules: Vec<&str> = rules
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(" [").next().unwrap())
        .collect();
    rules.join("\n") + &pod.run(ROUTING)
}

/// The foreign rules among those in the pod, with the kernel's numbers of them where it has numbers.
fn foreign(pod: &Namespace) -> Vec<String> {
    let rules = pod.run(EVERYTHING);
    let foreign =
        |line: &&str| line.contains("10.9.") || line.contains("10.0.0.0/8") || line.starts_with("tcp dport ");
    rules.lines().map(str::trim).filter(foreign).map(str::to_owned).collect()
}

/// What is left of ours, in any backend.
pub(crate) fn leftovers(pod: &Namespace) -> String {
    let all = pod.run(&format!("{EVERYTHING}; {ROUTING}"));
    let ours = ["ISTIO", "istio-", "ADIT", "adit", "0x111", "15001"];
    all.lines().filter(|line| ours.iter().any(|word| line.contains(word))).collect::<Vec<_>>().join("\n")
}

/// The command with the variant's own programs.
fn spelled(backend: &Backend, command: &str) -> String {
    let variant = if backend.kind() == Kind::Iptables(Variant::Legacy) { "legacy" } else { "nft" };
    command.replace("tables -", &format!("tables-{variant} -"))
}

const EVERYTHING: &str = "nft -s -a list ruleset; iptables-legacy-save; ip6tables-legacy-save";
const ROUTING: &str = "ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all";
