//! `adit-cni`: environment and stdin in, one JSON document and an exit status out.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cni_plugin_plugin::args::Environment;
use cni_plugin_plugin::{CniError, Reply, run};

fn main() -> ExitCode {
    let environment = Environment::read(|name| std::env::var_os(name)?.into_string().ok());
    let work = AssertUnwindSafe(|| run(&environment, io::stdin().lock(), &mut io::stderr()));
    // A runtime must get an error document whatever happens here.
    let reply = catch_unwind(work).unwrap_or_else(|_| Reply::failed(&CniError::Panicked));
    let written = match reply.document {
        Some(text) => writeln!(io::stdout(), "{text}"),
        None => Ok(()),
    };
    if reply.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
