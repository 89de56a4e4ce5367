use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::catalog::{checks, judge};
use super::*;

mod healthy;
mod provoked;

use healthy::{after, before};
use provoked::CASES;

#[track_caller]
fn worst(facts: &facts::Facts, id: &str) -> (Severity, String) {
    let findings: Vec<_> = judge(facts).into_iter().filter(|one| one.id == id).collect();
    let worst = findings.iter().map(|one| one.severity).max();
    let worst = worst.unwrap_or_else(|| panic!("{id} was not asked"));
    let told = findings.iter().filter(|one| one.severity == worst);
    let told: Vec<_> = told.map(|one| format!("{}: {}", one.subject, one.message)).collect();
    (worst, told.join("\n"))
}

#[test]
fn nothing_is_wrong_with_a_healthy_cluster_before_and_after_an_installation() {
    for facts in [before(), after()] {
        let wrong: Vec<_> = judge(&facts).into_iter().filter(|one| one.severity != Severity::Ok).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn each_problem_is_found_by_its_check_and_told_in_its_words() {
    for case in CASES {
        let mut facts = if case.before { before() } else { after() };
        (case.spoil)(&mut facts);
        let (severity, told) = worst(&facts, case.id);
        assert_eq!(severity, case.severity, "{}: {told}", case.id);
        assert!(told.contains(case.told), "{}: {told:?} without {:?}", case.id, case.told);
    }
}

#[test]
fn every_check_is_provoked_at_least_once() {
    let provoked: BTreeSet<&str> = CASES.iter().map(|case| case.id).collect();
    let all: BTreeSet<&str> = checks().map(|check| check.id).collect();
    assert_eq!(provoked, all);
}

#[test]
fn ids_are_used_once_and_fit_an_anchor() {
    let ids: Vec<&str> = checks().map(|check| check.id).collect();
    let once: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(once.len(), ids.len());
    for id in ids {
        assert!(id.chars().all(|one| one.is_ascii_lowercase() || one == '-'), "{id}");
    }
}

#[test]
fn what_cannot_be_read_is_never_taken_for_good() {
    let unread = facts::Unread {
        attempt: "list nodes".to_owned(),
        why: "nodes is forbidden".to_owned(),
        forbidden: true,
    };
    let mut facts = before();
    facts.nodes = Err(unread);
    let (severity, told) = worst(&facts, "node-kernel");
    assert_eq!((severity, told.as_str()), (Severity::Warning, ": not known: list nodes: nodes is forbidden"));
    let findings = judge(&facts);
    let finding = findings.iter().find(|one| one.id == "node-kernel").unwrap();
    assert_eq!(finding.hint.as_deref(), Some("run this as somebody who may list nodes"));
}

#[test]
fn every_finding_that_is_not_good_says_what_to_do() {
    for case in CASES {
        let mut facts = if case.before { before() } else { after() };
        (case.spoil)(&mut facts);
        for finding in judge(&facts) {
            assert_eq!(finding.hint.is_none(), finding.severity == Severity::Ok, "{finding:#?}");
        }
    }
}

#[test]
fn the_page_of_checks_is_what_the_checks_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    if std::env::var_os("ADIT_REGENERATE").is_some() {
        fs::write(&path, page::page()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page::page(), "docs/checks.md is stale: run this test with ADIT_REGENERATE=1");
}

#[test]
fn a_probe_s_answer_is_found_behind_what_else_the_pod_says() {
    let facts = node_facts::NodeFacts::parse(&format!("a warning\n{}\n", healthy::NODE_FACTS)).unwrap();
    assert_eq!(facts.chosen.backend.as_deref(), Some("nftables"));
    assert!(node_facts::NodeFacts::parse("permission denied\n").unwrap_err().contains("permission denied"));
    let other = healthy::NODE_FACTS.replace("\"format\":1", "\"format\":2");
    assert!(node_facts::NodeFacts::parse(&other).unwrap_err().contains("format 2"));
}

#[test]
fn a_wait_is_a_number_with_its_unit() {
    assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    for bad in ["", "5", "m", "5d", "-1s", "1.5s"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}
