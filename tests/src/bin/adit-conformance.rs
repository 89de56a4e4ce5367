//! Writes the conformance table of a run of the tests.

use std::process::ExitCode;

use clap::Parser;
use tests::conformance::{self, Args};

fn main() -> ExitCode {
    conformance::run(&Args::parse())
}
