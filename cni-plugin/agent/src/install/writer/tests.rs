use std::collections::BTreeSet;

use super::super::decide::{Content, File};
use super::*;

fn seen(files: &[(&str, &str)], others: &[&str]) -> Seen {
    let file = |kind: &str| File {
        content: Content::Text(format!(
            r#"{{"name":"n","plugins":[{{"type":"{kind}"}},{{"type":"portmap"}}]}}"#
        )),
        mode: 0o600,
        owner: Some((0, 0)),
    };
    Seen {
        files: files.iter().map(|(name, kind)| ((*name).to_owned(), file(kind))).collect(),
        others: others.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(),
    }
}

#[track_caller]
fn check(fault: Fault, seen: &Seen, want: &str, advice: &str) {
    let writer = writer(&Standing::Wrong(fault), seen).unwrap();
    assert_eq!(writer.to_string(), want);
    assert!(writer.advice().contains(advice), "{}", writer.advice());
}

#[test]
fn who_wrote_is_told_by_the_plugins_in_the_file() {
    let fault = |file: &str| Fault::NotInChain { file: file.to_owned() };
    check(
        fault("05-x.conflist"),
        &seen(&[("05-x.conflist", "cilium-cni")], &[]),
        "Cilium (05-x.conflist with plugins cilium-cni, portmap, owner 0:0)",
        "cni.exclusive=false",
    );
    check(
        fault("10-kindnet.conflist"),
        &seen(&[("10-kindnet.conflist", "ptp")], &[]),
        "kindnetd (10-kindnet.conflist with plugins ptp, portmap, owner 0:0)",
        "istioOwnedCNIConfig",
    );
    check(
        fault("10-own.conflist"),
        &seen(&[("10-own.conflist", "bridge")], &[]),
        "a program that left no name (10-own.conflist with plugins bridge, portmap, owner 0:0)",
        "istioOwnedCNIConfig",
    );
}

#[test]
fn who_moved_a_file_away_is_told_by_the_name_it_has_now() {
    let fault = Fault::CopyDiffers { file: "02-a.conflist".to_owned(), primary: "05-c.conflist".to_owned() };
    let seen = seen(&[("05-c.conflist", "bridge")], &["02-a.conflist.cilium_bak"]);
    check(fault, &seen, "Cilium (02-a.conflist moved to 02-a.conflist.cilium_bak)", "cni.exclusive=false");
}

#[test]
fn where_nothing_is_wrong_nobody_is_named() {
    assert_eq!(writer(&Standing::InOrder, &Seen::default()), None);
}
