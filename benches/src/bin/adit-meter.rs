//! Measures what the mesh costs beside direct TCP, and beside another ztunnel-compatible proxy when given one.

use std::process::ExitCode;

use anyhow::Context as _;
use benches::meter::{self, Args, site};
use clap::Parser as _;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.site {
        return Ok(tests::lab::isolated(|_| site::serve()));
    }
    meter::run(&args).context("measure")?;
    Ok(ExitCode::SUCCESS)
}
