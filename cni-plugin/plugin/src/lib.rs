//! The CNI plugin: understands a runtime's call, asks the agent, and answers as the CNI specification says.
//! Blocking, without a runtime, without credentials, without the Kubernetes API.

pub mod args;
pub mod config;
mod error;
mod log;
mod netns;
mod run;
mod version;

pub use error::CniError;
pub use run::{Reply, run};
