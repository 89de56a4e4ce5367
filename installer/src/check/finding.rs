//! What checks find, and how bad it is.

use serde::Serialize;

use super::facts::Unread;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, or may; worth a look. Also whatever could not be read.
    Warning,
    /// Does not work, or would not.
    Error,
}

/// What one check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is said when there is no problem.
    pub(super) fine: String,
    /// Each problem.
    pub(super) problems: Vec<Problem>,
}

/// What a check returns: nothing that it needed may be missing.
pub(super) type Judged = Result<Verdict, Unread>;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// How bad it is.
    pub(super) severity: Severity,
    /// What it is about, as in `node worker-1`.
    pub(super) subject: String,
    /// What is wrong.
    pub(super) message: String,
    /// What to do, where that is not the check's own hint.
    pub(super) hint: Option<String>,
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Of the check; it does not change.
    pub id: &'static str,
    /// The area of the check.
    pub area: &'static str,
    /// What is checked.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about; empty for the cluster as a whole.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do; none where nothing has to be done.
    pub hint: Option<String>,
    /// Where more is said.
    pub docs: String,
}

impl Verdict {
    /// No problem so far; `fine` is what to say if it stays so.
    pub(super) fn fine(fine: impl Into<String>) -> Self {
        Self { fine: fine.into(), problems: Vec::new() }
    }

    /// One problem.
    pub(super) fn error(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let mut verdict = Self::default();
        verdict.add(Problem::error(subject, message));
        verdict
    }

    /// One problem of the lesser kind.
    pub(super) fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let mut verdict = Self::default();
        verdict.add(Problem::warning(subject, message));
        verdict
    }

    /// One more problem.
    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

impl Problem {
    /// Something that does not work.
    pub(super) fn error(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, subject: subject.into(), message: message.into(), hint: None }
    }

    /// Something worth a look.
    pub(super) fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(subject, message) }
    }

    /// With a hint of its own.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
