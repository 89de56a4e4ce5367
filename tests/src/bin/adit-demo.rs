//! Tells the story of the mesh on two nodes of this machine, and fails when a step of it does not hold.

use std::process::ExitCode;

use clap::Parser;
use tests::demo::{self, Options};

/// Two nodes, their pods and the mesh, as network namespaces of this machine; nothing is installed.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Leave the lab up and say how to enter it.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tests::lab::isolated(|pid| demo::run(pid, Options { keep: args.keep }))
}
