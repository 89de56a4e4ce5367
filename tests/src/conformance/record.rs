//! What a run of `cargo test` printed, read for its verdicts: libtest and libtest-mimic write the same lines.

use std::collections::BTreeMap;

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Passed,
    Ignored,
    Failed,
}

/// The verdicts of a run, by `<target>::<test>`: a target is the crate of unit tests, or the name of an integration test.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record(BTreeMap<String, Verdict>);

/// Why what was printed is not the record of a whole run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("no test program ran")]
    Empty,
    #[error("{target} began and did not end")]
    Unended { target: String },
    #[error("{target} says it ran {ran} tests, and only {seen} of them can be read")]
    Unread { target: String, ran: usize, seen: usize },
}

impl Record {
    /// # Errors
    /// When a test program did not end, or ended with verdicts that are not there.
    pub(super) fn read(printed: &str) -> Result<Self, RecordError> {
        let mut record = Self::default();
        let mut current: Option<Section> = None;
        let mut any = false;
        let unended = |section: Option<Section>| match section {
            Some(Section { target, began: true, .. }) => Err(RecordError::Unended { target }),
            Some(_) | None => Ok(()),
        };
        for line in printed.lines() {
            let line = uncolored(line);
            if let Some(target) = begins(&line) {
                unended(current.replace(Section { target, began: false, seen: 0, open: None }))?;
            } else if counted(&line) {
                any = true;
                if let Some(section) = &mut current {
                    section.began = true;
                }
            } else if let Some(ran) = ends(&line) {
                // A summary outside a section is what a test printed.
                if let Some(Section { target, seen, .. }) = current.take()
                    && seen < ran
                {
                    return Err(RecordError::Unread { target, ran, seen });
                }
            } else if let Some(section) = &mut current
                && let Some((test, verdict)) = section.verdict(&line)
            {
                section.seen += 1;
                let name = format!("{}::{test}", section.target);
                let worst = record.0.entry(name).or_insert(verdict);
                *worst = verdict.max(*worst);
            }
        }
        unended(current)?;
        if any { Ok(record) } else { Err(RecordError::Empty) }
    }

    /// What came of a test; `None` when it did not run.
    pub(super) fn of(&self, test: &str) -> Option<Verdict> {
        self.0.get(test).copied().filter(|verdict| *verdict != Verdict::Ignored)
    }
}

/// One test program's part of what was printed.
struct Section {
    target: String,
    /// It said how many tests it has: benchmarks do not, and have no result either.
    began: bool,
    seen: usize,
    /// A test that began on an earlier line: a single thread tells the name before it runs the test.
    open: Option<String>,
}

impl Section {
    /// The verdict that a line tells; other programs' output may stand before it, or between a test's name and it.
    fn verdict(&mut self, line: &str) -> Option<(String, Verdict)> {
        let named = line.find("test ").and_then(|at| line[at + "test ".len()..].split_once(" ... "));
        if let Some((name, rest)) = named {
            let name = name.trim_end().trim_end_matches(" - should panic").to_owned();
            return match verdict(rest) {
                Some(verdict) => Some((name, verdict)),
                None => {
                    self.open = Some(name);
                    None
                }
            };
        }
        let verdict = line.split_whitespace().last().and_then(verdict)?;
        Some((self.open.take()?, verdict))
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/proxy_core-0f3c…)`: the program, without its hash.
fn begins(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(doctests) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{doctests} doc"));
    }
    let program = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?.1;
    let (name, _hash) = program.rsplit('/').next()?.rsplit_once('-')?;
    Some(name.to_owned())
}

/// `running 3 tests`.
fn counted(line: &str) -> bool {
    line.strip_prefix("running ").is_some_and(|rest| rest.ends_with(" tests") || rest == "1 test")
}

/// `test result: ok. 3 passed; 1 failed; 0 ignored; …`: how many verdicts there must be.
fn ends(line: &str) -> Option<usize> {
    let (_, counts) = line.split_once("test result: ")?.1.split_once(". ")?;
    let told =
        |what| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse::<usize>().ok());
    Some(told("passed")? + told("failed")? + told("ignored")?)
}

fn verdict(word: &str) -> Option<Verdict> {
    match word.trim() {
        "ok" => Some(Verdict::Passed),
        "FAILED" => Some(Verdict::Failed),
        ignored if ignored == "ignored" || ignored.starts_with("ignored, ") => Some(Verdict::Ignored),
        _ => None,
    }
}

/// Without the escapes of a terminal's colors.
fn uncolored(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}
