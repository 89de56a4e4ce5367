//! Lines on stderr, which runtimes keep; stdout belongs to the answer.

use std::fmt;
use std::io::Write;

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
    pub(crate) level: Level,
    pub(crate) out: &'a mut dyn Write,
}

impl Log<'_> {
    pub(crate) fn debug(&mut self, line: fmt::Arguments<'_>) {
        self.write(Level::Debug, "debug", line);
    }

    pub(crate) fn warn(&mut self, line: fmt::Arguments<'_>) {
        self.write(Level::Warn, "warn", line);
    }

    fn write(&mut self, level: Level, name: &str, line: fmt::Arguments<'_>) {
        if level >= self.level {
            // A runtime that closed stderr wants no lines.
            let _ = writeln!(self.out, "adit-cni {name} {line}");
        }
    }
}
