//! Records as cargo, libtest and libtest-mimic write them, and the tables that follow.

use std::collections::BTreeSet;

use super::page;
use super::record::{Record, RecordError, Verdict};
use super::rows::{self, Area, Row};

const WHOLE: &str = "\
   Compiling proxy-core v0.1.0 (/home/me/adit/proxy/core)
     Running unittests src/lib.rs (target/debug/deps/proxy_core-0f3c9a)

running 3 tests
test decide::tests::a_denied_client_is_refused ... ok
test decide::tests::an_old_one ... ignored, too slow
test decide::tests::an_index_out_of_bounds_panics - should panic ... ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running tests/scenarios/main.rs (target/debug/deps/scenarios-17ab)

running 2 tests
test capture::a_pair_talks       ... ok
test policy::a_client_is_refused ... FAILED

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.1s

     Running decide.rs (target/debug/deps/decide-0f61)
Testing authorize/deny
Success

   Doc-tests proxy_core

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[track_caller]
fn record(printed: &str) -> Record {
    Record::read(printed).expect("a whole run")
}

/// A run of one program, `it`, that counts so many passed tests.
fn section(lines: &str, passed: usize) -> String {
    format!(
        "     Running unittests src/lib.rs (target/debug/deps/it-1)\n\nrunning {passed} tests\n{lines}\ntest result: ok. {passed} passed; 0 failed; \
         0 ignored; 0 measured; 0 filtered out; finished in 1s\n"
    )
}

fn row(behavior: &str, held_by: &[&str]) -> Row {
    let held_by = held_by.iter().map(|&test| test.to_owned()).collect();
    Row { behavior: behavior.to_owned(), held_by, held_by_e2e: Vec::new(), not_ours: None, differs: None }
}

fn area(rows: Vec<Row>) -> Vec<Area> {
    vec![Area { title: "Policy".to_owned(), rows }]
}

#[test]
fn verdicts_are_known_by_their_program_and_their_name() {
    let record = record(WHOLE);
    assert_eq!(record.of("proxy_core::decide::tests::a_denied_client_is_refused"), Some(Verdict::Passed));
    assert_eq!(record.of("proxy_core::decide::tests::an_index_out_of_bounds_panics"), Some(Verdict::Passed));
    assert_eq!(record.of("scenarios::capture::a_pair_talks"), Some(Verdict::Passed));
    assert_eq!(record.of("scenarios::policy::a_client_is_refused"), Some(Verdict::Failed));
    assert_eq!(record.of("scenarios::capture::another"), None);
}

#[test]
fn an_ignored_test_did_not_run() {
    assert_eq!(record(WHOLE).of("proxy_core::decide::tests::an_old_one"), None);
}

#[test]
fn output_of_others_hides_no_verdict() {
    for lines in [
        "warning without an endtest a::b ... ok",
        "test a::b ... a child speaks\nok",
        "test a::b ... a child speaks\nand again, ok",
        "\x1b[32mtest a::b ... ok\x1b[0m",
        "test a::b has been running for over 60 seconds\ntest a::b ... ok",
    ] {
        assert_eq!(record(&section(lines, 1)).of("it::a::b"), Some(Verdict::Passed), "{lines:?}");
    }
}

#[test]
fn a_verdict_that_cannot_be_read_is_missed() {
    let unread = RecordError::Unread { target: "it".to_owned(), ran: 2, seen: 1 };
    assert_eq!(Record::read(&section("test a::b ... ok\ntest a::c .", 2)), Err(unread));
}

#[test]
fn a_program_that_did_not_end_is_no_record() {
    let unended = RecordError::Unended { target: "scenarios".to_owned() };
    let (cut, _) = WHOLE.split_once("test result: FAILED").expect("a second program");
    assert_eq!(Record::read(cut), Err(unended));
    let crashed = cut.to_owned() + &section("test a::b ... ok", 1);
    assert_eq!(Record::read(&crashed), Err(RecordError::Unended { target: "scenarios".to_owned() }));
    assert_eq!(Record::read("error: could not compile"), Err(RecordError::Empty));
}

#[test]
fn of_two_tests_of_one_name_the_worse_counts() {
    let twice = section("test a::b ... FAILED", 1) + &section("test a::b ... ok", 1);
    assert_eq!(record(&twice).of("it::a::b"), Some(Verdict::Failed));
}

#[test]
fn a_row_holds_when_each_of_its_tests_passed() {
    let passed = "scenarios::capture::a_pair_talks";
    let failed = "scenarios::policy::a_client_is_refused";
    let complaints = |row: Row| rows::complaints(&area(vec![row]), &record(WHOLE), &BTreeSet::new());
    assert_eq!(complaints(row("It talks", &[passed])), [""; 0]);
    assert_eq!(
        complaints(row("It talks", &[passed, failed, "it::a"])),
        [format!("Policy: It talks: {failed} failed"), "Policy: It talks: it::a did not run".to_owned()]
    );
    let empty: Vec<_> = rows::empty(&area(vec![row("It talks", &[])])).collect();
    assert_eq!(empty, ["Policy: It talks"]);
    let not_ours = Row { not_ours: Some("Windows".to_owned()), ..row("It runs there", &[]) };
    assert_eq!(complaints(not_ours.clone()), [""; 0]);
    let both = Row { held_by: vec![passed.to_owned()], ..not_ours };
    assert_eq!(complaints(both), ["Policy: It runs there: it is not ours, and has tests"]);
}

#[test]
fn a_row_may_be_held_by_trials_that_the_end_to_end_suite_lists() {
    let listed = rows::listed("takeover::it_is_ours: test\n\n1 tests, 0 benchmarks\n");
    let held = |trial: &str| Row { held_by_e2e: vec![trial.to_owned()], ..row("It is taken over", &[]) };
    let complaints = |row: Row| rows::complaints(&area(vec![row]), &record(WHOLE), &listed);
    assert_eq!(complaints(held("e2e::takeover::it_is_ours")), [""; 0]);
    assert_eq!(
        complaints(held("e2e::takeover::it_was")),
        ["Policy: It is taken over: the end-to-end suite has no e2e::takeover::it_was"]
    );
    assert_eq!(rows::empty(&area(vec![held("e2e::takeover::it_is_ours")])).count(), 0);
    let both = Row { held_by: vec!["it::a".to_owned()], ..held("e2e::takeover::it_is_ours") };
    let page = page::ours(&area(vec![both, held("e2e::b")]));
    let told = "| It is taken over | `it::a`; by `make e2e`: `e2e::takeover::it_is_ours` |\n\
                | It is taken over | by `make e2e`: `e2e::b` |\n";
    assert!(page.ends_with(told), "{page}");
    assert!(page.contains("\n2 behaviors: 2 held by tests, 0 not ours.\n"), "{page}");
}

#[test]
fn our_table_names_the_tests_and_the_reasons() {
    let areas = area(vec![
        row("It talks", &["it::a", "it::b"]),
        Row { not_ours: Some("no such\n  platform".to_owned()), ..row("A | B", &[]) },
        Row { differs: Some("reset".to_owned()), ..row("It ends", &["it::c"]) },
    ]);
    let page = page::ours(&areas);
    assert!(page.contains("\n3 behaviors: 2 held by tests, 1 not ours.\n"), "{page}");
    let table = "\n## Policy\n\n| behavior | held by |\n|---|---|\n\
                 | It talks | `it::a`, `it::b` |\n\
                 | A \\| B | not ours: no such platform |\n\
                 | It ends (differs: reset) | `it::c` |\n";
    assert!(page.ends_with(table), "{page}");
}

#[test]
fn another_binary_is_asked_by_scenarios_only() {
    let (talks, refused) = ("scenarios::capture::a_pair_talks", "scenarios::policy::a_client_is_refused");
    let areas = area(vec![
        row("One", &[talks, "it::a"]),
        row("Two", &[talks, refused]),
        Row { differs: Some("reset".to_owned()), ..row("Three", &[refused]) },
        row("Four", &["scenarios::dns::a_name_is_answered"]),
        row("Five", &["it::a"]),
        Row { not_ours: Some("Windows".to_owned()), ..row("Six", &[]) },
    ]);
    let (page, said) = page::other(&areas, &record(WHOLE), "ztunnel", "both");
    assert!(page.starts_with("# Conformance of ztunnel on both nodes\n"), "{page}");
    assert!(
        said.starts_with(
            "1 rows pass, 1 fail, 1 fail where we differ on purpose, 1 have scenarios that did not run, 2 "
        ),
        "{said}"
    );
    for line in [
        format!("| One | passes: `{talks}` |"),
        format!("| Two | **fails**: `{refused}` |"),
        format!("| Three (differs: reset) | fails as expected: `{refused}` |"),
        "| Four | did not run |".to_owned(),
        "| Five | not applicable: held inside Adit only |".to_owned(),
        "| Six | not applicable: not ours |".to_owned(),
    ] {
        assert!(page.contains(&line), "{line} is not in {page}");
    }
}

#[test]
fn the_rows_can_be_read_and_name_no_test_twice_in_a_row() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");
    for area in Area::all(folder.as_ref()).expect("rows") {
        for row in &area.rows {
            let mut names = row.held_by.clone();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), row.held_by.len(), "{}: {}", area.title, row.behavior);
        }
    }
}
