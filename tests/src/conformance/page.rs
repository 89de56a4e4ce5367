//! The tables as Markdown: the same record gives the same bytes, on every machine.

use std::fmt::Write as _;

use super::record::{Record, Verdict};
use super::rows::{self, Area, Row};

/// Our own table. Every test in it has passed.
pub(super) fn ours(areas: &[Area]) -> String {
    let mut page = format!(
        "# Conformance\n\nWhat ztunnel and istio-cni do, and the test that holds each of it here. Written by `make test` from \
         what the suite ran\nand passed; edit `tests/conformance/*.yaml` instead. A row that differs on purpose says how. \
         `scenarios::` are those of\n`tests/scenarios`, which `make conformance PROXY=<path>` runs against another binary. `e2e::` \
         are those of `tests/e2e`: `make\ne2e` runs them, and that they exist is all that is checked here.\n\n{}.\n",
        rows::count(areas)
    );
    for area in areas {
        heading(&mut page, &area.title, "held by");
        for row in &area.rows {
            let held_by = match &row.not_ours {
                Some(why) => format!("not ours: {why}"),
                None if row.held_by_e2e.is_empty() => tests(row.held_by.iter()),
                None => {
                    let here = tests(row.held_by.iter());
                    let comma = if here.is_empty() { "" } else { "; " };
                    format!("{here}{comma}by `make e2e`: {}", tests(row.held_by_e2e.iter()))
                }
            };
            line(&mut page, row, &held_by);
        }
    }
    page
}

/// What another binary passes of the scenarios, and how many rows of each kind there are.
pub(super) fn other(areas: &[Area], record: &Record, name: &str, node: &str) -> (String, String) {
    let mut counts = [0_usize; 5];
    let mut tables = String::new();
    for area in areas {
        heading(&mut tables, &area.title, "result");
        for row in &area.rows {
            let (standing, text) = stands(row, record);
            counts[standing as usize] += 1;
            line(&mut tables, row, &text);
        }
    }
    let [passes, fails, differs, not_run, silent] = counts;
    let said = format!(
        "{passes} rows pass, {fails} fail, {differs} fail where we differ on purpose, {not_run} have scenarios that did not run, \
         {silent} cannot be asked of another binary"
    );
    let nodes = if node == "both" { "both nodes".to_owned() } else { format!("node {node}") };
    (format!("# Conformance of {name} on {nodes}\n\n{said}.\n{tables}"), said)
}

/// What a record says of a row. The order is that of the summary.
#[derive(Clone, Copy)]
enum Standing {
    Passes,
    Fails,
    Differs,
    NotRun,
    Silent,
}

fn stands(row: &Row, record: &Record) -> (Standing, String) {
    let scenarios = || row.held_by.iter().filter(|test| test.starts_with(SCENARIOS));
    let failed = || scenarios().filter(|test| record.of(test) == Some(Verdict::Failed));
    if scenarios().next().is_none() {
        let why = if row.not_ours.is_some() { "not ours" } else { "held inside Adit only" };
        (Standing::Silent, format!("not applicable: {why}"))
    } else if failed().next().is_some() {
        match row.differs {
            Some(_) => (Standing::Differs, format!("fails as expected: {}", tests(failed()))),
            None => (Standing::Fails, format!("**fails**: {}", tests(failed()))),
        }
    } else if scenarios().any(|test| record.of(test).is_none()) {
        (Standing::NotRun, "did not run".to_owned())
    } else {
        (Standing::Passes, format!("passes: {}", tests(scenarios())))
    }
}

fn heading(page: &mut String, title: &str, column: &str) {
    let _ = write!(page, "\n## {title}\n\n| behavior | {column} |\n|---|---|\n");
}

fn line(page: &mut String, row: &Row, last: &str) {
    let differs = row.differs.as_ref().map_or_else(String::new, |how| format!(" (differs: {how})"));
    let behavior = format!("{}{differs}", row.behavior);
    let _ = writeln!(page, "| {} | {} |", cell(&behavior), cell(last));
}

fn tests<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A text that keeps within its cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The program whose tests run against any proxy.
const SCENARIOS: &str = "scenarios::";
