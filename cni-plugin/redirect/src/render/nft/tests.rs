use super::*;
use crate::plan::{DnsListeners, PodOverrides, Settings, plan};

#[test]
fn every_table_that_may_be_ours_is_deleted_in_the_transaction_that_makes_the_new_ones() {
    let text = nft_transaction(&planned(false, true, &PodOverrides::default()));
    for table in Table::ALL {
        let name = table.nft_name();
        assert!(text.contains(&format!("add table inet {name}\ndelete table inet {name}\n")), "{text}");
    }
    assert!(text.contains("\ntable inet istio-ambient-nat {"));
    assert!(!text.contains("\ntable inet istio-ambient-raw {"), "nobody asked for DNS");
}

#[test]
fn chains_hook_in_where_those_of_istio_cni_do() {
    let text = nft_transaction(&planned(true, true, &PodOverrides::default()));
    for (hook, times) in [
        ("type nat hook prerouting priority -100;", 1),
        ("type nat hook output priority -100;", 1),
        ("type filter hook prerouting priority -150;", 1),
        ("type route hook output priority -150;", 1),
        ("type filter hook prerouting priority -300;", 1),
        ("type filter hook output priority -300;", 1),
    ] {
        assert_eq!(text.matches(hook).count(), times, "{hook} in {text}");
    }
}

#[test]
fn each_rule_is_written_for_its_family_in_the_order_of_the_plan() {
    let text = nft_transaction(&planned(false, false, &PodOverrides::default()));
    let nat = text.split("table inet istio-ambient-nat {\n").nth(1).unwrap();
    let rules = nat.split("chain istio-output {\n").nth(1).unwrap().split("\t}").next().unwrap();
    let begins = "tcp flags & (fin | syn | rst | ack) == syn";
    let want = [
        "ip daddr 169.254.7.127 meta l4proto tcp counter accept".to_owned(),
        "meta nfproto ipv4 meta l4proto tcp meta mark & 0xfff == 0x111 counter accept".to_owned(),
        "ip daddr != 127.0.0.1 oifname \"lo\" counter accept".to_owned(),
        format!(
            "ip daddr != 127.0.0.1 meta l4proto tcp {begins} meta mark & 0xfff != 0x539 counter redirect to :15001"
        ),
    ];
    assert_eq!(rules.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>(), want);
    assert!(!text.contains("ip6") && !text.contains("ipv6"), "{text}");
}

#[test]
fn a_pods_own_wishes_are_kept() {
    let interfaces = ["eth+", "+", "br-1"].map(|name| name.parse().unwrap()).to_vec();
    let pod = PodOverrides { ingress: true, dns: None, virtual_interfaces: interfaces };
    let text = nft_transaction(&planned(false, true, &pod));
    assert!(!text.contains(":15006"), "what comes in plain reaches the application");
    assert!(text.contains("ct mark set ct mark & 0xfffff000 | 0x111"), "tunnels still end at the proxy");
    for family in ["ipv4", "ipv6"] {
        assert!(
            text.contains(&format!("meta nfproto {family} iifname \"eth*\" meta l4proto tcp counter return"))
        );
        assert!(text.contains(&format!("meta nfproto {family} meta l4proto tcp counter return")));
        assert!(text.contains(&format!("meta nfproto {family} iifname \"br-1\" meta l4proto tcp")));
    }
}

#[test]
fn the_marker_changes_with_the_rules_and_only_with_them() {
    let marker = |plan: &Plan| {
        let text = nft_transaction(plan);
        text.split("comment \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let plain = planned(false, true, &PodOverrides::default());
    assert_eq!(marker(&plain), format!("adit {:016x}", plain.hash()));
    assert_ne!(marker(&plain), marker(&planned(true, true, &PodOverrides::default())));
}

fn planned(dns: bool, ipv6: bool, pod: &PodOverrides) -> Plan {
    plan(&Settings { dns, ipv6, ..Settings::default() }, pod, DnsListeners::ALL)
}
