//! Lines on stderr, which runtimes keep, and the same lines kept for the agent's log; stdout belongs to the answer.
//!
//! There is no file of the plugin's own: what the agent does not hear, because it is away, is in the runtime's log.

use std::fmt;
use std::io::Write;

use cni_plugin_wire::event::{self, Line};
use serde::Deserialize;

/// From what weight on a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(from = "String")]
pub(crate) enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    None,
}

impl From<String> for Level {
    /// A level nobody knows must not keep pods from starting.
    fn from(name: String) -> Self {
        match name.as_str() {
            "debug" | "trace" => Self::Debug,
            "warn" => Self::Warn,
            "error" | "fatal" => Self::Error,
            "none" => Self::None,
            _ => Self::Info,
        }
    }
}

/// Where lines go.
pub(crate) struct Log<'a> {
    level: Level,
    out: &'a mut dyn Write,
    kept: Vec<Line>,
}

impl<'a> Log<'a> {
    pub(crate) fn new(level: Level, out: &'a mut dyn Write) -> Self {
        Self { level, out, kept: Vec::new() }
    }

    /// The lines so far.
    pub(crate) fn into_lines(self) -> Vec<Line> {
        self.kept
    }

    pub(crate) fn debug(&mut self, line: fmt::Arguments<'_>) {
        self.write(Level::Debug, ("debug", event::Level::Debug), line);
    }

    pub(crate) fn warn(&mut self, line: fmt::Arguments<'_>) {
        self.write(Level::Warn, ("warn", event::Level::Warn), line);
    }

    pub(crate) fn error(&mut self, line: fmt::Arguments<'_>) {
        self.write(Level::Error, ("error", event::Level::Error), line);
    }

    fn write(&mut self, level: Level, (name, kept): (&str, event::Level), line: fmt::Arguments<'_>) {
        if level < self.level {
            return;
        }
        // A runtime that closed stderr wants no lines.
        let _ = writeln!(self.out, "adit-cni {name} {line}");
        self.kept.push(Line { level: kept, message: line.to_string() });
    }
}
