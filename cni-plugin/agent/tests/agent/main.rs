//! The whole agent between a scripted proxy and a scripted plugin, in real network namespaces. Needs root: without
//! it these tests fail, they do not pass by doing nothing.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod enroll;
mod plugin;
mod rig;
