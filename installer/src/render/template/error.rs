//! Where a template failed, why, and through which templates it was reached.

use std::fmt;

/// A line of a template's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as `chart/templates/name`.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A failed execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it failed.
    pub place: Place,
    /// What was wrong.
    pub message: String,
    /// The templates on the way there, innermost first.
    pub calls: Vec<String>,
    /// Whether the chart itself refused its values, by `fail` or `required`.
    pub meant: bool,
}

impl Failure {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), calls: Vec::new(), meant: false }
    }

    pub(super) fn meant(mut self) -> Self {
        self.meant = true;
        self
    }

    pub(super) fn called_from(mut self, file: &str, line: usize, name: &str) -> Self {
        self.calls.push(format!("{name} at {file}:{line}"));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        for call in &self.calls {
            write!(f, "\n  in {call}")?;
        }
        Ok(())
    }
}
