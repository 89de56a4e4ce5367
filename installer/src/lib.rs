//! `adit`, the command-line tool of the mesh's node data plane: it installs, upgrades, removes, checks and explains.

pub mod cli;
pub mod cluster;
mod context;
mod error;
mod exit;
pub mod output;
pub mod version;

pub use context::Context;
pub use error::Error;
pub use exit::Exit;
