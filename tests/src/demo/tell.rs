//! How the demo speaks: numbered steps, what was done, what was seen.

use std::fmt::Display;

/// Prints the story.
#[derive(Debug, Default)]
pub(super) struct Teller {
    step: u32,
}

impl Teller {
    /// Begins a step.
    pub(super) fn step(&mut self, title: impl Display) {
        self.step += 1;
        println!("\n{}. {title}", self.step);
    }

    /// Something that was done.
    pub(super) fn did(&self, what: impl Display) {
        println!("   did  {what}");
    }

    /// Something that was seen.
    pub(super) fn saw(&self, what: impl Display) {
        println!("   saw  {what}");
    }

    /// Something that must hold; the demo ends when it does not.
    #[track_caller]
    pub(super) fn check(&self, holds: bool, what: impl Display, evidence: impl Display) {
        assert!(holds, "step {}: it does not hold that {what}; seen: {evidence}", self.step);
        println!("   ok   {what}");
    }

    /// Text of several lines, set in.
    pub(super) fn show(&self, text: &str) {
        text.lines().for_each(|line| println!("        {line}"));
    }
}
