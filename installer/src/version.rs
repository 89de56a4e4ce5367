//! `adit version`: which version this is.

use serde::Serialize;

use crate::output::Table;
use crate::{Context, Error, Exit};

/// No flags of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Says the version.
///
/// # Errors
/// None of its own.
#[expect(clippy::unused_async, reason = "every command is asked the same way")]
pub async fn run(_args: Args, context: &Context) -> Result<Exit, Error> {
    let version = Version { client: env!("CARGO_PKG_VERSION") };
    context.output.result(&version, || Table::new(["COMPONENT", "VERSION"]).row(["adit", version.client]));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Version {
    client: &'static str,
}
