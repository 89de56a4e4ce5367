use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::plan::Who;
use super::*;

fn wanted() -> Wanted {
    Wanted {
        probe_v4: Ipv4Addr::new(169, 254, 7, 127),
        probe_v6: Some(Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0x1337, 0xffff, 0xffff, 0xffff, 0xffff)),
        who: Who::Uid(3),
        targets: BTreeSet::new(),
    }
}

#[test]
fn each_family_has_one_rule_for_the_kubelet_s_own_sockets() {
    let texts: Vec<String> = rules(&wanted()).into_iter().map(|rule| rule.text).collect();
    assert_eq!(
        texts,
        [
            "-p tcp -m set --match-set adit-probes-v4 dst,dst -m owner --socket-exists --uid-owner 3 \
             -j SNAT --to-source 169.254.7.127",
            "-p tcp -m set --match-set adit-probes-v6 dst,dst -m owner --socket-exists --uid-owner 3 \
             -j SNAT --to-source fd16:9254:7127:1337:ffff:ffff:ffff:ffff",
        ]
    );
}

#[test]
fn our_jump_becomes_the_first_and_only_one() {
    let payload = payload(&wanted(), Family::V4, 2);
    let lines: Vec<&str> = payload.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "*nat",
            ":ADIT_PROBES - [0:0]",
            "-D POSTROUTING -j ADIT_PROBES",
            "-D POSTROUTING -j ADIT_PROBES",
            "-I POSTROUTING 1 -j ADIT_PROBES"
        ]
    );
    assert_eq!(lines.len(), 7, "{payload}");
}

#[test]
fn elements_come_before_rules_and_leave_after_them() {
    let address = |text: &str| text.parse().unwrap();
    let change = Change {
        add: BTreeSet::from([(address("10.0.0.1"), 80), (address("fd00::1"), 81)]),
        delete: BTreeSet::from([(address("10.0.0.2"), 80)]),
        ..Change::default()
    };
    assert_eq!(
        additions(Family::ALL.into_iter(), &change),
        "create adit-probes-v4 hash:ip,port family inet -exist\ncreate adit-probes-v6 hash:ip,port family inet6 -exist\n\
         add adit-probes-v4 10.0.0.1,tcp:80 -exist\nadd adit-probes-v6 fd00::1,tcp:81 -exist\n"
    );
    assert_eq!(deletions(&change), "del adit-probes-v4 10.0.0.2,tcp:80 -exist\n");
}

#[test]
fn what_the_programs_print_is_read_back() {
    let saved = "create adit-probes-v4 hash:ip,port family inet hashsize 1024 maxelem 65536\n\
                 add adit-probes-v4 10.0.0.1,tcp:80\nadd adit-probes-v4 10.0.0.1,udp:53\n";
    assert_eq!(elements(saved).unwrap(), vec![("10.0.0.1".parse().unwrap(), 80)]);
    let rules = read_rules(
        "*filter\n-A POSTROUTING -j ADIT_PROBES\nCOMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n:ADIT_PROBES - [0:0]\n\
         -A POSTROUTING -j ADIT_PROBES\n-A POSTROUTING -j MASQUERADE\n\
         -A ADIT_PROBES -p tcp -m comment --comment adit-1 -j SNAT --to-source 1.2.3.4\n-A ADIT_PROBES -j ACCEPT\nCOMMIT\n",
    );
    let comments = vec!["adit-1".to_owned(), "-A ADIT_PROBES -j ACCEPT".to_owned()];
    assert_eq!(rules, Rules { first: true, jumps: 1, comments });
    let rules = read_rules("*nat\n-A POSTROUTING -j MASQUERADE\n-A POSTROUTING -j ADIT_PROBES\nCOMMIT\n");
    assert_eq!(rules, Rules { first: false, jumps: 1, comments: Vec::new() });
}

#[test]
fn an_element_that_is_none_is_an_error_with_its_text() {
    let error = elements("add adit-probes-v4 10.0.0,tcp:80\n").unwrap_err();
    assert!(matches!(&error, HostError::Unreadable { text, .. } if text == "10.0.0,tcp:80"), "{error:?}");
}
