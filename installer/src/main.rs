//! The process of `adit`: reads what was typed, runs it, and ends with a code that a script can go by.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use installer::cli::Cli;
use installer::output::{Output, Surroundings};
use installer::{Context, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.globals.verbose);
    let surroundings = Surroundings {
        out_is_terminal: std::io::stdout().is_terminal(),
        err_is_terminal: std::io::stderr().is_terminal(),
        in_is_terminal: std::io::stdin().is_terminal(),
        // https://no-color.org: present and not empty.
        no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
    };
    let output = Output::process(cli.globals.format, cli.globals.color, &surroundings);
    let exit = match run(cli, &output) {
        Ok(exit) => exit,
        Err(error) => {
            output.complain(format_args!("{error:#}"));
            Exit::Failed
        }
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli, output: &Output) -> anyhow::Result<Exit> {
    // Fails only where one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let context = Context::new(cli.globals, output.clone());
    Ok(runtime.block_on(async {
        match cli.command.run(&context).await {
            Ok(exit) => exit,
            Err(error) => {
                context.output.error(&error, error.hint().as_deref());
                error.exit()
            }
        }
    }))
}

/// What the libraries have to say, for those who ask with `-v`.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .init();
}
