use std::collections::BTreeSet;

use super::super::decide::{Mode, decide};
use super::*;

const KINDNET: &str = "{\n \"name\": \"kindnet\",\n \"plugins\": [\n  {\"type\": \"ptp\"}\n ]\n}\n";
const WITH_THEM: &str = "{\n \"name\": \"kindnet\",\n \"plugins\": [\n  {\"type\": \"ptp\"},\n  {\"type\": \"istio-cni\"}\n ]\n}\n";
const BRIDGE: &str = "{ \"name\": \"b\",   \"type\": \"bridge\" }";
const CHAIN: &str = "10-k.conflist";
const COPY: &str = "02-istio-cni.conflist";

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        conf_name: None,
        owned_name: COPY.to_owned(),
        file_mode: 0o600,
        entry: r#"{"type":"adit-cni","agent_socket":"/s"}"#.to_owned(),
        alone: r#"{"name":"istio-cni","type":"adit-cni"}"#.to_owned(),
    }
}

fn file(text: &str) -> File {
    File { content: Content::of(text.into()), mode: 0o644, owner: Some((0, 0)) }
}

fn node(files: &[(&str, &str)]) -> Seen {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect();
    Seen { files, others: BTreeSet::new() }
}

fn make(seen: &mut Seen, changes: Vec<Change>) {
    for Change { name, to } in changes {
        match to {
            Some(file) => drop(seen.files.insert(name, file)),
            None => drop(seen.files.remove(&name)),
        }
    }
}

fn install(seen: &mut Seen, mode: Mode, journal: &Journal) -> Journal {
    let plan = decide(seen, &settings(mode), None);
    let journal = journal.with(&plan, seen);
    make(seen, plan.changes);
    Journal::parse(journal.text().as_bytes()).unwrap()
}

#[track_caller]
fn check(heir: Heir, mode: Mode, before: &[(&str, &str)], want: &[(&str, &str)]) {
    let mut seen = node(before);
    let journal = install(&mut seen, mode, &Journal::default());
    let changes = leave(&seen, &settings(mode), &journal, heir);
    make(&mut seen, changes);
    assert_eq!(seen, node(want), "{mode:?}");
    let again = leave(&seen, &settings(mode), &journal, heir);
    make(&mut seen, again);
    assert_eq!(seen, node(want), "a second time");
}

#[test]
fn everything_is_again_as_it_was() {
    for mode in [Mode::Chained, Mode::Owned, Mode::Standalone] {
        for before in [
            &[(CHAIN, KINDNET)] as &[_],
            &[("10-b.conf", BRIDGE)],
            &[("10-b.json", BRIDGE), ("20-l.conflist", KINDNET)],
            &[("00-bad.conflist", "{"), (CHAIN, KINDNET)],
        ] {
            check(Heir::Nobody, mode, before, before);
        }
    }
}

#[test]
fn istio_cni_finds_its_entries_again_when_it_comes_back() {
    let before = [(CHAIN, WITH_THEM)];
    check(Heir::IstioCni, Mode::Chained, &before, &before);
    let before = [(COPY, WITH_THEM), (CHAIN, KINDNET)];
    check(Heir::IstioCni, Mode::Chained, &before, &before);
    check(Heir::IstioCni, Mode::Owned, &before, &before);
}

#[test]
fn istio_cni_that_does_not_come_back_leaves_no_entry_that_would_stop_pods() {
    check(Heir::Nobody, Mode::Chained, &[(CHAIN, WITH_THEM)], &[(CHAIN, KINDNET)]);
    check(Heir::Nobody, Mode::Owned, &[(COPY, WITH_THEM), (CHAIN, KINDNET)], &[(CHAIN, KINDNET)]);
    let alone = [("YYY-istio-cni.conf", r#"{"type":"istio-cni"}"#)];
    check(Heir::Nobody, Mode::Standalone, &alone, &[]);
}

#[test]
fn what_others_wrote_meanwhile_stays() {
    let mut seen = node(&[(CHAIN, WITH_THEM)]);
    let journal = install(&mut seen, Mode::Chained, &Journal::default());
    let edit = |seen: &mut Seen| {
        let text = String::from_utf8(seen.files[CHAIN].content.bytes().to_vec()).unwrap();
        seen.files.insert(CHAIN.to_owned(), file(&text.replace("ptp", "bridge")));
    };
    edit(&mut seen);
    let mut left = seen.clone();
    make(&mut left, leave(&seen, &settings(Mode::Chained), &journal, Heir::Nobody));
    assert_eq!(left, node(&[(CHAIN, &KINDNET.replace("ptp", "bridge"))]));
    let changes = leave(&seen, &settings(Mode::Chained), &journal, Heir::IstioCni);
    make(&mut seen, changes);
    let text: serde_json::Value = serde_json::from_slice(seen.files[CHAIN].content.bytes()).unwrap();
    assert_eq!(text["plugins"].to_string(), r#"[{"type":"bridge"},{"type":"istio-cni"}]"#);
}

#[test]
fn a_chain_written_anew_is_what_is_restored() {
    let mut seen = node(&[(CHAIN, WITH_THEM)]);
    let journal = install(&mut seen, Mode::Chained, &Journal::default());
    let newer = KINDNET.replace("ptp", "bridge");
    seen.files.insert(CHAIN.to_owned(), file(&newer));
    let journal = install(&mut seen, Mode::Chained, &journal);
    let changes = leave(&seen, &settings(Mode::Chained), &journal, Heir::Nobody);
    make(&mut seen, changes);
    assert_eq!(seen, node(&[(CHAIN, &newer)]));
}

#[test]
fn a_plugin_that_somebody_wrote_anew_beside_our_chain_of_it_is_left_alone() {
    let mut seen = node(&[("10-b.conf", BRIDGE)]);
    let journal = install(&mut seen, Mode::Chained, &Journal::default());
    let newer = BRIDGE.replace("bridge", "ptp");
    seen.files.insert("10-b.conf".to_owned(), file(&newer));
    let changes = leave(&seen, &settings(Mode::Chained), &journal, Heir::Nobody);
    make(&mut seen, changes);
    assert_eq!(seen, node(&[("10-b.conf", &newer)]));
}

#[test]
fn without_the_journal_our_entry_still_goes() {
    let mut seen = node(&[(CHAIN, KINDNET)]);
    install(&mut seen, Mode::Chained, &Journal::default());
    let changes = leave(&seen, &settings(Mode::Chained), &Journal::default(), Heir::Nobody);
    make(&mut seen, changes);
    assert_eq!(seen, node(&[(CHAIN, KINDNET)]));
    assert_eq!(Journal::parse(b"{"), None);
    assert_eq!(Journal::parse(br#"{"version":9,"originals":{},"istio_cni":null}"#), None);
}
