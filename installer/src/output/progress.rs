//! What people wait for: a line that moves for each step on a terminal, a line for each change elsewhere.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Output, Style};

/// Steps that are waited for at once.
#[derive(Debug)]
pub struct Progress {
    output: Output,
    lines: Option<MultiProgress>,
}

/// One of them. Left without an ending, its line goes away.
#[derive(Debug)]
pub struct Step {
    output: Output,
    lines: Option<MultiProgress>,
    bar: ProgressBar,
    name: String,
    said: String,
}

impl Progress {
    pub(super) fn new(output: Output, live: bool) -> Self {
        let lines = live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { output, lines }
    }

    /// A step of `total` parts; nought where nobody knows how many.
    #[must_use]
    pub fn step(&self, name: &str, total: u64) -> Step {
        let bar = match &self.lines {
            Some(lines) => lines.add(ProgressBar::new(total)),
            None => ProgressBar::hidden(),
        };
        let template = if total == 0 {
            "{spinner} {prefix}  {msg}"
        } else {
            "{spinner} {prefix} {bar:20} {pos}/{len}  {msg}"
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_prefix(name.to_owned());
        if self.lines.is_some() {
            bar.enable_steady_tick(TICK);
        }
        Step {
            output: self.output.clone(),
            lines: self.lines.clone(),
            bar,
            name: name.to_owned(),
            said: String::new(),
        }
    }
}

impl Step {
    /// How far it is, and why no further.
    pub fn at(&mut self, done: u64, total: u64, why: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(why.to_owned());
        let now = if total == 0 { why.to_owned() } else { format!("{done}/{total} {why}") };
        if self.lines.is_none() && now != self.said {
            self.output.note(format_args!("{}: {}", self.name, now.trim_end()));
        }
        self.said = now;
    }

    /// Why it is no further.
    pub fn note(&mut self, why: &str) {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        self.at(done, total, why);
    }

    /// It is as it should be.
    pub fn done(self, text: &str) {
        let mark = self.output.paint_err(Style::Good, "✔");
        self.end(&mark, text);
    }

    /// It is not, and will not be waited for.
    pub fn failed(self, text: &str) {
        let mark = self.output.paint_err(Style::Bad, "✘");
        self.end(&mark, text);
    }

    fn end(self, mark: &str, text: &str) {
        self.bar.finish_and_clear();
        let line = format!("{mark} {}  {text}", self.name);
        match &self.lines {
            // Other steps may still be moving below.
            Some(lines) => lines.suspend(|| self.output.note(format_args!("{}", line.trim_end()))),
            None => self.output.note(format_args!("{}", line.trim_end())),
        }
    }
}

const TICK: Duration = Duration::from_millis(100);
