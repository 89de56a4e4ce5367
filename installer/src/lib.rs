//! `adit`, the command-line tool of the mesh's node data plane: it installs, upgrades, removes, checks and explains.

pub mod check;
pub mod cli;
pub mod cluster;
mod context;
pub mod desired;
pub mod docs;
pub mod duration;
mod error;
mod exit;
pub mod inspect;
pub mod install;
pub mod kind;
pub mod mesh;
pub mod object;
pub mod output;
pub mod plan;
pub mod platform;
pub mod release;
pub mod render;
pub mod status;
pub mod template;
pub mod uninstall;
pub mod upgrade;
pub mod version;
pub mod wait;
pub mod why;

pub use context::Context;
pub use error::Error;
pub use exit::Exit;
