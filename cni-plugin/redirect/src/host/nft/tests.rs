use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::kubelet::Cgroup;
use super::*;

fn wanted(who: Who, ipv6: bool) -> Wanted {
    Wanted {
        probe_v4: Ipv4Addr::new(169, 254, 7, 127),
        probe_v6: ipv6
            .then_some(Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff)),
        who,
        targets: BTreeSet::new(),
    }
}

#[track_caller]
fn check(wanted: &Wanted, want: &[&str]) {
    let texts: Vec<String> =
        rules(wanted).iter().map(|rule| format!("{}: {}", rule.chain, rule.text)).collect();
    assert_eq!(texts, want);
}

#[test]
fn by_its_user_alone_the_kubelet_s_packets_are_told_when_they_leave() {
    check(
        &wanted(Who::Uid(0), true),
        &[
            "postrouting: meta skuid 0 ip daddr . tcp dport @probes-v4 counter snat ip to 169.254.7.127",
            "postrouting: meta skuid 0 ip6 daddr . tcp dport @probes-v6 counter snat ip6 to \
             fd16:9254:7127:1337:ffff:ffff:ffff:ffff",
        ],
    );
}

#[test]
fn without_ipv6_there_are_no_rules_of_it() {
    check(
        &wanted(Who::Uid(7), false),
        &["postrouting: meta skuid 7 ip daddr . tcp dport @probes-v4 counter snat ip to 169.254.7.127"],
    );
}

#[test]
fn by_its_cgroup_they_are_marked_when_they_are_sent() {
    let cgroup = Cgroup {
        path: "/system.slice/kubelet.service".to_owned(),
        level: 2,
        inode: 9,
        directory: "/host/proc/7/root/sys/fs/cgroup/system.slice/kubelet.service".into(),
    };
    let by_cgroup = wanted(Who::Cgroup { uid: 0, cgroup: cgroup.clone() }, false);
    check(
        &by_cgroup,
        &[
            "output: socket cgroupv2 level 2 \
             \"../../../host/proc/7/root/sys/fs/cgroup/system.slice/kubelet.service\" \
             ip daddr . tcp dport @probes-v4 meta mark set meta mark | 0x1000",
            "postrouting: meta skuid 0 meta mark & 0x1000 == 0x1000 ip daddr . tcp dport @probes-v4 counter snat ip to \
             169.254.7.127",
        ],
    );
    // The same path after a restart of the service.
    let restarted = wanted(Who::Cgroup { uid: 0, cgroup: Cgroup { inode: 10, ..cgroup } }, false);
    assert_ne!(rules(&by_cgroup)[0].comment, rules(&restarted)[0].comment);
}

#[test]
fn a_difference_is_one_transaction_of_elements() {
    let change = Change {
        add: elements_of("10.0.0.1 . 80, fd00::1 . 80").unwrap(),
        delete: elements_of("10.0.0.2 . 81").unwrap(),
        ..Change::default()
    };
    assert_eq!(
        script(&wanted(Who::Uid(0), true), &change),
        "add element inet adit-probes probes-v4 { 10.0.0.1 . 80 }\n\
         add element inet adit-probes probes-v6 { fd00::1 . 80 }\n\
         delete element inet adit-probes probes-v4 { 10.0.0.2 . 81 }\n"
    );
}

#[test]
fn a_listing_is_read_back() {
    let found = parse(
        "table inet adit-probes {
	set probes-v4 {
		type ipv4_addr . inet_service
		elements = { 10.0.0.1 . 80, 10.0.0.1 . 81,
			     10.0.0.2 . 80 }
	}

	set probes-v6 {
		type ipv6_addr . inet_service
	}

	chain output {
		type filter hook output priority 300; policy accept;
		accept
	}

	chain postrouting {
		type nat hook postrouting priority 90; policy accept;
		meta skuid 0 ip daddr . tcp dport @probes-v4 counter packets 0 bytes 0 snat ip to 1.2.3.4 comment \"adit-1\"
	}
}
",
    )
    .unwrap();
    let targets = elements_of("10.0.0.1 . 80, 10.0.0.1 . 81, 10.0.0.2 . 80").unwrap();
    let rules = vec!["accept".to_owned(), "adit-1".to_owned()];
    assert_eq!(found, Found { rules, hooked: true, sets: true, targets, jumps: Vec::new() });
}

#[test]
fn an_element_that_is_none_is_an_error_with_its_text() {
    let error = elements_of("10.0.0.1 . 80, 10.0.0.1").unwrap_err();
    assert!(matches!(&error, HostError::Unreadable { text, .. } if text == "10.0.0.1"), "{error:?}");
}
