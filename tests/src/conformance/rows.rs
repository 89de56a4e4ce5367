//! The rows: behaviors in our words, each with the tests that hold it or why there is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use super::record::{Record, Verdict};

/// One file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Area {
    /// What the rows are about.
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
}

/// One behavior of ztunnel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// What it does, as one would ask for it.
    pub(super) behavior: String,
    /// The tests that fail when it is not so, as `<target>::<test>`.
    #[serde(default)]
    pub(super) held_by: Vec<String>,
    /// Trials of `make e2e`, as `e2e::<trial>`: it needs more than every machine has, so that only their names are checked.
    #[serde(default)]
    pub(super) held_by_e2e: Vec<String>,
    /// Why there is nothing to hold.
    #[serde(default)]
    pub(super) not_ours: Option<String>,
    /// How we differ on purpose: what the tests hold is ours, and another binary may fail them.
    #[serde(default)]
    pub(super) differs: Option<String>,
}

/// Why the rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    #[error("list the rows in {}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("read the rows of {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} holds no rows", folder.display())]
    None { folder: PathBuf },
    #[error("{} is not a file of rows", path.display())]
    Yaml { path: PathBuf, source: Box<serde_saphyr::Error> },
}

impl Row {
    /// Whether any test holds it.
    pub(super) const fn is_held(&self) -> bool {
        !self.held_by.is_empty() || !self.held_by_e2e.is_empty()
    }
}

impl Area {
    /// Every file of a folder, by name.
    ///
    /// # Errors
    /// When one cannot be read, or there is none.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>, RowsError> {
        let listed = |source| RowsError::Folder { folder: folder.to_owned(), source };
        let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(listed)?.collect();
        let mut paths: Vec<_> = entries.map_err(listed)?.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
        paths.sort();
        if paths.is_empty() {
            return Err(RowsError::None { folder: folder.to_owned() });
        }
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Result<Self, RowsError> {
        match fs::read_to_string(&path) {
            Ok(yaml) => serde_saphyr::from_str(&yaml)
                .map_err(|source| RowsError::Yaml { path, source: Box::new(source) }),
            Err(source) => Err(RowsError::File { path, source }),
        }
    }
}

/// What the end-to-end suite lists as its trials, as rows name them.
pub(super) fn listed(printed: &str) -> BTreeSet<String> {
    printed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(|trial| format!("e2e::{trial}"))
        .collect()
}

/// Every row that the record and the end-to-end suite's list do not bear out.
pub(super) fn complaints(areas: &[Area], record: &Record, e2e: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (area, row) in each(areas) {
        let mut complain =
            |what: String| complaints.push(format!("{}: {}: {what}", area.title, row.behavior));
        for trial in row.held_by_e2e.iter().filter(|trial| !e2e.contains(*trial)) {
            complain(format!("the end-to-end suite has no {trial}"));
        }
        if row.not_ours.is_some() && row.is_held() {
            complain("it is not ours, and has tests".to_owned());
        }
        for test in &row.held_by {
            match record.of(test) {
                Some(Verdict::Passed) => {}
                Some(Verdict::Failed) => complain(format!("{test} failed")),
                Some(Verdict::Ignored) | None => complain(format!("{test} did not run")),
            }
        }
    }
    complaints
}

/// Every row that nothing holds and that is ours.
pub(super) fn empty(areas: &[Area]) -> impl Iterator<Item = String> {
    each(areas)
        .filter(|(_, row)| !row.is_held() && row.not_ours.is_none())
        .map(|(area, row)| format!("{}: {}", area.title, row.behavior))
}

/// How many rows there are, of each kind.
pub(super) fn count(areas: &[Area]) -> String {
    let held = each(areas).filter(|(_, row)| row.is_held()).count();
    let not_ours = each(areas).filter(|(_, row)| row.not_ours.is_some()).count();
    format!("{} behaviors: {held} held by tests, {not_ours} not ours", each(areas).count())
}

fn each(areas: &[Area]) -> impl Iterator<Item = (&Area, &Row)> {
    areas.iter().flat_map(|area| area.rows.iter().map(move |row| (area, row)))
}
