//! The one writer: results to standard output, what happens meanwhile to standard error, as a terminal or a script wants them.

use std::error::Error;
use std::fmt;
use std::io::{BufRead, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

mod progress;
mod style;
mod table;

pub use progress::{Progress, Step};
pub use style::{Color, Style};
pub use table::Table;

/// How results are written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one document.
    Json,
    /// As a table, but of checks only what is wrong, a line each.
    Short,
}

/// How results are asked for: as a [`Format`], of which a document may be in YAML too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
    /// For programs and people: the same document in YAML.
    Yaml,
    /// As a table, but of checks only what is wrong, a line each.
    Short,
}

impl Wanted {
    const fn format(self) -> Format {
        match self {
            Self::Table => Format::Table,
            Self::Json | Self::Yaml => Format::Json,
            Self::Short => Format::Short,
        }
    }
}

/// What the process was started with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// A person reads standard output.
    pub out_is_terminal: bool,
    /// A person reads standard error.
    pub err_is_terminal: bool,
    /// A person can answer.
    pub in_is_terminal: bool,
    /// Colors are not wanted anywhere.
    pub no_color: bool,
}

/// The one writer. Clones write to the same place.
#[derive(Clone)]
pub struct Output {
    shared: Arc<Shared>,
}

struct Shared {
    format: Format,
    yaml: bool,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    answers: Option<Mutex<Box<dyn BufRead + Send>>>,
    color_out: bool,
    color_err: bool,
    live: bool,
}

/// What a person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// Do not.
    No,
    /// There is nobody to ask.
    Nobody,
}

impl Output {
    /// The process's own streams.
    #[must_use]
    pub fn process(wanted: Wanted, color: Color, around: &Surroundings) -> Self {
        let answers: Option<Box<dyn BufRead + Send>> = if around.in_is_terminal && around.err_is_terminal {
            Some(Box::new(std::io::BufReader::new(std::io::stdin())))
        } else {
            None
        };
        Self::new(Shared {
            format: wanted.format(),
            yaml: wanted == Wanted::Yaml,
            out: Mutex::new(Box::new(std::io::stdout())),
            err: Mutex::new(Box::new(std::io::stderr())),
            answers: answers.map(Mutex::new),
            color_out: color.on(around.out_is_terminal, around.no_color),
            color_err: color.on(around.err_is_terminal, around.no_color),
            live: around.err_is_terminal,
        })
    }

    /// Into the given writers, as a script would read it; `answers` is what a person types, if there is one.
    #[must_use]
    pub fn to(
        format: Format,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        answers: Option<Box<dyn BufRead + Send>>,
    ) -> Self {
        Self::new(Shared {
            format,
            yaml: false,
            out: Mutex::new(out),
            err: Mutex::new(err),
            answers: answers.map(Mutex::new),
            color_out: false,
            color_err: false,
            live: false,
        })
    }

    fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// How results are wanted.
    #[must_use]
    pub fn format(&self) -> Format {
        self.shared.format
    }

    /// The result of a command: the value as JSON, or the table for people.
    pub fn result<T: Serialize>(&self, value: &T, table: impl FnOnce() -> Table) {
        match self.shared.format {
            Format::Json => self.json(value),
            Format::Table | Format::Short => self.table(&table()),
        }
    }

    /// A value as one document on standard output: JSON, or YAML where that is wanted.
    pub fn json<T: Serialize>(&self, value: &T) {
        // Only a map with keys that are no strings fails, and no result has one.
        let text = if self.shared.yaml {
            serde_saphyr::to_string(value).unwrap_or_default()
        } else {
            serde_json::to_string_pretty(value).unwrap_or_default()
        };
        self.line(format_args!("{}", text.trim_end()));
    }

    /// A table on standard output.
    pub fn table(&self, table: &Table) {
        self.line(format_args!("{}", table.render(self.shared.color_out).trim_end()));
    }

    /// A line of the result, on standard output.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        // Whoever closes the pipe has read enough.
        let _ = writeln!(self.shared.out.lock(), "{text}");
    }

    /// A line of what happens meanwhile, on standard error.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        let _ = writeln!(self.shared.err.lock(), "{text}");
    }

    /// A warning, on standard error.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        self.note(format_args!("{} {text}", self.paint_err(Style::Warning, "warning:")));
    }

    /// An error that is no [`Error`] any more, on standard error.
    pub fn complain(&self, text: fmt::Arguments<'_>) {
        self.note(format_args!("{} {text}", self.paint_err(Style::Bad, "error:")));
    }

    /// An error with its causes, and what to do about it.
    pub fn error(&self, error: &dyn Error, hint: Option<&str>) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            let said = source.to_string();
            // Some libraries repeat their cause in their own words.
            if !text.ends_with(&said) {
                text = format!("{text}: {said}");
            }
            cause = source.source();
        }
        self.complain(format_args!("{text}"));
        if let Some(hint) = hint {
            self.note(format_args!("{} {hint}", self.paint_err(Style::Good, "next:")));
        }
    }

    /// Asks a person.
    #[must_use]
    pub fn confirm(&self, question: fmt::Arguments<'_>) -> Answer {
        let Some(answers) = &self.shared.answers else {
            return Answer::Nobody;
        };
        {
            let mut err = self.shared.err.lock();
            let _ = write!(err, "{question} [y/N] ");
            let _ = err.flush();
        }
        let mut line = String::new();
        let read = answers.lock().read_line(&mut line);
        match (read, line.trim().to_ascii_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Answer::Yes,
            _ => Answer::No,
        }
    }

    /// Text in the style, where standard output has colors.
    #[must_use]
    pub fn paint(&self, style: Style, text: &str) -> String {
        style.paint(text, self.shared.color_out)
    }

    /// Text in the style, where standard error has colors.
    #[must_use]
    pub fn paint_err(&self, style: Style, text: &str) -> String {
        style.paint(text, self.shared.color_err)
    }

    /// Something that people wait for.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::new(self.clone(), self.shared.live)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("format", &self.shared.format).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
