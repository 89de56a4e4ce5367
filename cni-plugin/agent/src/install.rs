//! What the agent does to its node: the plugin's binary and its place in the network configuration, kept and given back.

pub mod decide;
pub mod document;
pub mod leave;
