use super::*;

const ENTRY: &str = r#"{"type":"adit-cni","agent_socket":"/s"}"#;
const ALONE: &str = "{\"cniVersion\":\"0.3.1\",\"name\":\"istio-cni\",\"type\":\"adit-cni\"}";
const KINDNET: &str =
    r#"{"cniVersion":"0.3.1","name":"kindnet","plugins":[{"type":"ptp"},{"type":"portmap"}]}"#;
const WITH_US: &str = r#"{"cniVersion":"0.3.1","name":"kindnet","plugins":[{"type":"ptp"},{"type":"portmap"},{"type":"adit-cni","agent_socket":"/s"}]}"#;
const WITH_THEM: &str = r#"{"cniVersion":"0.3.1","name":"kindnet","plugins":[{"type":"ptp"},{"type":"istio-cni","a":1},{"type":"portmap"}]}"#;

fn chained() -> Settings {
    Settings {
        mode: Mode::Chained,
        conf_name: None,
        owned_name: "02-istio-cni.conflist".to_owned(),
        file_mode: 0o600,
        entry: ENTRY.to_owned(),
        alone: ALONE.to_owned(),
    }
}

fn owned() -> Settings {
    Settings { mode: Mode::Owned, ..chained() }
}

fn named(name: &str) -> Settings {
    Settings { conf_name: Some(name.to_owned()), ..chained() }
}

fn seen(files: &[(&str, &str)]) -> Seen {
    let file = |text: &str| File { content: Content::of(text.into()), mode: 0o644, owner: Some((7, 8)) };
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect();
    Seen { files, others: BTreeSet::new() }
}

/// The directory after the plan, and what the plan says of it.
#[track_caller]
fn after(files: &[(&str, &str)], settings: &Settings) -> (Vec<(String, String)>, Plan) {
    let mut seen = seen(files);
    let plan = decide(&seen, settings, None);
    for change in plan.changes.clone() {
        match change.to {
            Some(file) => drop(seen.files.insert(change.name, file)),
            None => drop(seen.files.remove(&change.name)),
        }
    }
    let again = decide(&seen, settings, plan.primary.as_deref());
    assert_eq!(again.changes, [], "a second look finds more to do");
    let text = |file: File| String::from_utf8(file.content.bytes().to_vec()).unwrap();
    (seen.files.into_iter().map(|(name, file)| (name, text(file))).collect(), plan)
}

#[track_caller]
fn check(settings: &Settings, files: &[(&str, &str)], want: &[(&str, &str)]) {
    let want: Vec<_> = want.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assert_eq!(after(files, settings).0, want);
}

#[test]
fn the_first_file_that_a_runtime_would_load_gets_our_plugin() {
    check(&chained(), &[("10-k.conflist", KINDNET)], &[("10-k.conflist", WITH_US)]);
    check(
        &chained(),
        &[("10-k.conflist", KINDNET), ("20-l.conflist", KINDNET)],
        &[("10-k.conflist", WITH_US), ("20-l.conflist", KINDNET)],
    );
    check(
        &chained(),
        &[
            ("00-bad.conflist", "{"),
            ("01-none.conflist", r#"{"name":"n","plugins":[]}"#),
            ("02-x.conf", "{}"),
            ("10-k.conflist", KINDNET),
        ],
        &[
            ("00-bad.conflist", "{"),
            ("01-none.conflist", r#"{"name":"n","plugins":[]}"#),
            ("02-x.conf", "{}"),
            ("10-k.conflist", WITH_US),
        ],
    );
}

#[test]
fn files_that_are_passed_over_are_told_with_their_reason() {
    let (_, plan) = after(&[("00-bad.conflist", "[]"), ("10-k.conflist", KINDNET)], &chained());
    assert_eq!(plan.skipped, [("00-bad.conflist".to_owned(), Unusable::NotAnObject)]);
}

#[test]
fn a_chain_keeps_its_mode_and_owner_and_our_files_have_ours() {
    let (_, plan) = after(&[("10-k.conflist", KINDNET)], &chained());
    let file = plan.changes[0].to.clone().unwrap();
    assert_eq!((file.mode, file.owner), (0o644, Some((7, 8))));
    let settings = Settings { file_mode: 0o640, ..owned() };
    let (_, plan) = after(&[("10-k.conflist", KINDNET)], &settings);
    let file = plan.changes[0].to.clone().unwrap();
    assert_eq!((file.mode, file.owner), (0o640, None));
}

#[test]
fn one_plugin_alone_becomes_a_chain_in_a_file_that_is_called_so() {
    for name in ["10-b.conf", "10-b.json"] {
        let (files, plan) =
            after(&[(name, r#"{"cniVersion":"0.4.0","name":"b","type":"bridge"}"#)], &chained());
        assert_eq!(plan.primary.as_deref(), Some("10-b.conflist"));
        let [(name, text)] = files.as_slice() else { panic!("{files:?}") };
        assert_eq!(name, "10-b.conflist");
        let text: Value = serde_json::from_str(text).unwrap();
        let want = format!(
            r#"{{"name":"b","cniVersion":"0.4.0","plugins":[{{"name":"b","type":"bridge"}},{ENTRY}]}}"#
        );
        assert_eq!(text.to_string(), want);
    }
}

#[test]
fn istio_cni_is_replaced_and_an_entry_of_ours_renewed() {
    check(&chained(), &[("10-k.conflist", WITH_THEM)], &[("10-k.conflist", WITH_US)]);
    let old = WITH_US.replace("/s", "/old");
    check(&chained(), &[("10-k.conflist", &old)], &[("10-k.conflist", WITH_US)]);
    let (_, plan) = after(&[("10-k.conflist", &old)], &chained());
    assert_eq!(plan.standing, Standing::Wrong(Fault::Outdated { file: "10-k.conflist".to_owned() }));
    check(&chained(), &[("10-k.conflist", WITH_US)], &[("10-k.conflist", WITH_US)]);
}

#[test]
fn a_file_that_comes_first_later_is_a_fault_and_gets_our_plugin() {
    let files = [("05-new.conflist", KINDNET), ("10-k.conflist", WITH_US)];
    let plan = decide(&seen(&files), &chained(), Some("10-k.conflist"));
    let (by, file) = ("05-new.conflist".to_owned(), "10-k.conflist".to_owned());
    assert_eq!(plan.standing, Standing::Wrong(Fault::Preempted { by, file }));
    check(&chained(), &files, &[("05-new.conflist", WITH_US), ("10-k.conflist", WITH_US)]);
}

#[test]
fn a_file_that_the_user_named_is_taken_whatever_comes_first() {
    let first = ("05-new.conflist", KINDNET);
    check(
        &named("10-k.conflist"),
        &[first, ("10-k.conflist", KINDNET)],
        &[first, ("10-k.conflist", WITH_US)],
    );
    check(&named("10-k.conf"), &[first, ("10-k.conflist", KINDNET)], &[first, ("10-k.conflist", WITH_US)]);
    let (files, plan) = after(&[first, ("10-b.conf", r#"{"type":"bridge"}"#)], &named("10-b.conflist"));
    assert_eq!(plan.primary.as_deref(), Some("10-b.conflist"));
    assert_eq!(
        files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["05-new.conflist", "10-b.conflist"]
    );
}

#[test]
fn nothing_is_written_while_the_file_to_be_chained_is_not_there() {
    let check = |settings: &Settings, files: &[(&str, &str)], want: Wait| {
        let plan = decide(&seen(files), settings, None);
        assert_eq!((plan.standing, plan.changes), (Standing::Waiting(want), Vec::new()));
    };
    check(&chained(), &[], Wait::Primary);
    check(&owned(), &[], Wait::Primary);
    check(&chained(), &[("10-k.conflist", "{}")], Wait::Primary);
    // Only plugins like us, which cannot make a network.
    check(&chained(), &[("YYY-istio-cni.conf", r#"{"name":"istio-cni","type":"istio-cni"}"#)], Wait::Primary);
    let want = Wait::Named { file: "20-x.conf".to_owned() };
    check(&named("20-x.conf"), &[("10-k.conflist", KINDNET)], want);
}

#[test]
fn a_chain_that_is_just_being_written_is_waited_for() {
    for settings in [chained(), owned()] {
        let files = seen(&[("10-k.conflist", "{"), ("99-l.conflist", KINDNET)]);
        let plan = decide(&files, &settings, Some("10-k.conflist"));
        assert!(matches!(plan.standing, Standing::Waiting(Wait::Unusable { .. })), "{plan:?}");
        assert_eq!(plan.changes, []);
    }
}

#[test]
fn the_copy_that_is_ours_comes_first_and_follows_the_chain_it_copies() {
    let (copy, chain) = ("02-istio-cni.conflist", ("10-k.conflist", KINDNET));
    check(&owned(), &[chain], &[(copy, WITH_US), chain]);
    let less = r#"{"name":"kindnet","plugins":[{"type":"ptp"}]}"#;
    let less_with_us =
        r#"{"name":"kindnet","plugins":[{"type":"ptp"},{"type":"adit-cni","agent_socket":"/s"}]}"#;
    check(&owned(), &[(copy, WITH_US), (chain.0, less)], &[(copy, less_with_us), (chain.0, less)]);
    let (_, plan) = after(&[(copy, WITH_US), (chain.0, less)], &owned());
    let (file, primary) = (copy.to_owned(), chain.0.to_owned());
    assert_eq!(plan.standing, Standing::Wrong(Fault::CopyDiffers { file, primary }));
}

#[test]
fn the_copy_stays_while_its_chain_is_away() {
    let copy = "02-istio-cni.conflist";
    check(&owned(), &[(copy, WITH_US)], &[(copy, WITH_US)]);
    assert_eq!(after(&[(copy, WITH_US)], &owned()).1.standing, Standing::InOrder);
    check(&owned(), &[(copy, &WITH_US.replace("/s", "/old"))], &[(copy, WITH_US)]);
}

#[test]
fn the_copy_takes_another_name_when_a_file_comes_before_it() {
    let first = ("00-k.conflist", KINDNET);
    check(&owned(), &[first], &[("0+02-istio-cni.conflist", WITH_US), first]);
    check(
        &owned(),
        &[first, ("02-istio-cni.conflist", WITH_US)],
        &[("0+02-istio-cni.conflist", WITH_US), first],
    );
    let plan = decide(&seen(&[("!k.conflist", KINDNET)]), &owned(), None);
    assert_eq!(plan.standing, Standing::Wrong(Fault::CannotComeFirst { by: "!k.conflist".to_owned() }));
}

#[test]
fn a_change_of_modes_leaves_nothing_of_the_other_mode() {
    let (copy, chain) = ("02-istio-cni.conflist", "10-k.conflist");
    check(&chained(), &[(copy, WITH_US), (chain, KINDNET)], &[(chain, WITH_US)]);
    check(&chained(), &[(copy, WITH_THEM), (chain, WITH_US)], &[(chain, WITH_US)]);
    check(&owned(), &[(chain, WITH_US)], &[(copy, WITH_US), (chain, KINDNET)]);
    // With nothing else to load, the copy is the chain.
    check(&chained(), &[(copy, WITH_THEM)], &[(copy, WITH_US)]);
}

#[test]
fn alone_the_plugin_has_a_file_of_its_own_and_touches_no_other() {
    let standalone = Settings { mode: Mode::Standalone, ..chained() };
    let chain = ("10-k.conflist", KINDNET);
    check(&standalone, &[chain], &[chain, ("YYY-istio-cni.conf", ALONE)]);
    check(&standalone, &[], &[("YYY-istio-cni.conf", ALONE)]);
    let own_name = Settings { conf_name: Some("istio-cni.conf".to_owned()), ..standalone };
    check(&own_name, &[("istio-cni.conf", r#"{"type":"istio-cni"}"#)], &[("istio-cni.conf", ALONE)]);
}
