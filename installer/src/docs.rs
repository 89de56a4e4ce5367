//! `adit completions` and `adit man`: what shells and manuals know of the command line, made from the command line itself.

mod error;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

pub use self::error::Error;
use crate::cli::Cli;
use crate::{Context, Exit};

/// Which shell.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that completes; put what is printed where it looks, such as ~/.local/share/bash-completion/completions/adit
    #[arg(value_enum)]
    shell: Shell,
}

/// Where manual pages go.
#[derive(Clone, Debug, clap::Args)]
pub struct ManArgs {
    /// The folder, such as ~/.local/share/man/man1; it is made where it is not there
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
}

/// Prints the script by which a shell completes.
#[must_use]
pub fn completions(args: &CompletionsArgs, context: &Context) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    context.output.line(format_args!("{}", String::from_utf8_lossy(&script).trim_end()));
    Exit::Done
}

/// Writes a manual page for the tool and one for each command.
///
/// # Errors
/// The folder cannot be written.
pub fn man(args: &ManArgs, context: &Context) -> Result<Exit, Error> {
    let write = || {
        fs::create_dir_all(&args.dir)?;
        clap_mangen::generate_to(Cli::command(), &args.dir)
    };
    write().map_err(|source| Error::Write { folder: args.dir.clone(), source })?;
    context.output.note(format_args!("manual pages are in {}", args.dir.display()));
    Ok(Exit::Done)
}

/// The program, as people type it.
const NAME: &str = "adit";
