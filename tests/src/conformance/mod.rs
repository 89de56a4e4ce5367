//! The conformance table: what ztunnel and istio-cni do, row by row, and the tests that hold each, as a run of the suite found them.

mod page;
mod record;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::{Parser, Subcommand};

use record::{Record, RecordError};
use rows::{Area, RowsError};

/// Writes what a run of the tests showed into a table of behaviors.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What the tests printed.
    #[arg(long, value_name = "FILE")]
    record: PathBuf,
    /// The folder of the rows.
    #[arg(long, value_name = "DIR", default_value = "tests/conformance")]
    rows: PathBuf,
    /// Where the table goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(subcommand)]
    of: Of,
}

/// Whose table.
#[derive(Debug, Subcommand)]
enum Of {
    /// Ours: written only when every test that a row names has passed.
    Ours {
        /// What the end-to-end suite printed when it was asked to list its trials.
        #[arg(long, value_name = "FILE")]
        e2e: PathBuf,
    },
    /// That of another binary: what of the scenarios it passes.
    Other {
        /// What to call it.
        #[arg(long)]
        name: String,
        /// The nodes whose proxy it was: a, b or both.
        #[arg(long)]
        node: String,
    },
}

/// Why no table was written.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error("the record {} is not that of a whole run", path.display())]
    Record { path: PathBuf, source: RecordError },
    #[error("{} was not written:\n  {}", out.display(), complaints.join("\n  "))]
    Unheld { out: PathBuf, complaints: Vec<String> },
}

/// Reads rows and record, judges and writes.
pub fn run(args: &Args) -> ExitCode {
    match write(args) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{:#}", anyhow::Error::from(fault));
            ExitCode::FAILURE
        }
    }
}

fn write(args: &Args) -> Result<String, Fault> {
    let areas = Area::all(&args.rows)?;
    let text = read(&args.record)?;
    let record = Record::read(&text).map_err(|source| Fault::Record { path: args.record.clone(), source })?;
    let (page, said) = match &args.of {
        Of::Ours { e2e } => {
            let mut complaints = rows::complaints(&areas, &record, &rows::listed(&read(e2e)?));
            complaints.extend(rows::empty(&areas).map(|row| format!("{row}: no test holds it")));
            if !complaints.is_empty() {
                return Err(Fault::Unheld { out: args.out.clone(), complaints });
            }
            (page::ours(&areas), rows::count(&areas))
        }
        Of::Other { name, node } => page::other(&areas, &record, name, node),
    };
    fs::write(&args.out, page).map_err(|source| Fault::Write { path: args.out.clone(), source })?;
    Ok(format!("{}: {said}", args.out.display()))
}

fn read(path: &Path) -> Result<String, Fault> {
    // Programs under test may print what is no text.
    let bytes = fs::read(path).map_err(|source| Fault::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
