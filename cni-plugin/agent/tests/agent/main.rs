//! The whole agent between a scripted proxy and a scripted plugin, in real network namespaces. Needs root: without
//! it these tests fail, they do not pass by doing nothing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod api;
mod canary;
mod enroll;
mod facts;
mod istio;
mod kubernetes;
mod plugin;
mod redirect;
mod refuse;
mod rig;
