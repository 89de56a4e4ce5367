//! `adit-cni`: environment and stdin in, one JSON document and an exit status out.

use std::io::{self, Write};
use std::process::ExitCode;

use cni_plugin_plugin::args::Environment;
use cni_plugin_plugin::run;

fn main() -> ExitCode {
    let environment = Environment::read(|name| std::env::var_os(name)?.into_string().ok());
    let reply = run(&environment, io::stdin().lock(), &mut io::stderr());
    let written = match reply.document {
        Some(text) => writeln!(io::stdout(), "{text}"),
        None => Ok(()),
    };
    if reply.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
