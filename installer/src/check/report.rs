//! What was found, for people and for programs.

use serde::Serialize;

use super::catalog::Area;
use super::finding::{Finding, Severity};
use crate::Exit;
use crate::output::{Format, Output, Style};

/// The document of `-o json`. Fields are added, not changed; docs/checks.md describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of this tool.
    pub version: String,
    /// `before` or `after` an installation.
    pub stage: &'static str,
    /// The worst finding.
    pub result: Severity,
    /// How many there are of each.
    pub counts: Counts,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As they should be.
    pub ok: usize,
    /// Worth a look.
    pub warning: usize,
    /// Wrong.
    pub error: usize,
}

impl Report {
    /// A report of these findings.
    #[must_use]
    pub fn new(version: &str, before: bool, findings: Vec<Finding>) -> Self {
        let count = |severity| findings.iter().filter(|one| one.severity == severity).count();
        Self {
            version: version.to_owned(),
            stage: if before { "before" } else { "after" },
            result: findings.iter().map(|one| one.severity).max().unwrap_or(Severity::Ok),
            counts: Counts {
                ok: count(Severity::Ok),
                warning: count(Severity::Warning),
                error: count(Severity::Error),
            },
            findings,
        }
    }

    /// Warnings are no failure.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self.result {
            Severity::Ok | Severity::Warning => Exit::Done,
            Severity::Error => Exit::Failed,
        }
    }

    /// Writes it as the user wants it.
    pub fn write(&self, output: &Output) {
        match output.format() {
            Format::Json => output.json(self),
            Format::Short => self.problems().for_each(|one| short(output, one)),
            Format::Table => self.table(output),
        }
    }

    fn problems(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|one| one.severity != Severity::Ok)
    }

    fn table(&self, output: &Output) {
        for area in Area::ALL {
            let mut last = "";
            for finding in self.findings.iter().filter(|one| one.area == area.name()) {
                if last.is_empty() {
                    output.line(format_args!("{}", output.paint(Style::Heading, area.name())));
                }
                line(output, finding, last == finding.id);
                last = finding.id;
            }
            if !last.is_empty() {
                output.line(format_args!(""));
            }
        }
        let Counts { ok, warning, error } = self.counts;
        let (_, style) = mark(self.result);
        let told = format!("{ok} ok, {}, {}", many(warning, "warning"), many(error, "error"));
        output.line(format_args!("{}", output.paint(style, &told)));
    }
}

/// A title stands once above what was found under it.
fn line(output: &Output, finding: &Finding, again: bool) {
    let (sign, style) = mark(finding.severity);
    let sign = output.paint(style, sign);
    if finding.severity == Severity::Ok {
        let id = output.paint(Style::Faint, finding.id);
        output.line(format_args!("{sign} {id}  {}: {}", finding.title, finding.message));
        return;
    }
    if !again {
        output.line(format_args!("{sign} {}  not so: {}", finding.id, finding.title));
    }
    output.line(format_args!("    {sign} {}", told(finding)));
    if let Some(hint) = &finding.hint {
        let more = output.paint(Style::Faint, &format!("({})", finding.docs));
        output.line(format_args!("      {} {hint} {more}", output.paint(Style::Good, "next:")));
    }
}

fn short(output: &Output, finding: &Finding) {
    let severity = match finding.severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let (_, style) = mark(finding.severity);
    output.line(format_args!("{} {} {}", output.paint(style, severity), finding.id, told(finding)));
}

fn told(finding: &Finding) -> String {
    if finding.subject.is_empty() {
        finding.message.clone()
    } else {
        format!("{}: {}", finding.subject, finding.message)
    }
}

const fn mark(severity: Severity) -> (&'static str, Style) {
    match severity {
        Severity::Ok => ("✔", Style::Good),
        Severity::Warning => ("!", Style::Warning),
        Severity::Error => ("✘", Style::Bad),
    }
}

fn many(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests;
