//! The node agent: enrolls pods and serves them to the proxies.

pub mod app;
pub mod canary;
mod compat;
pub mod config;
pub mod debug;
pub mod eligible;
pub mod enroll;
pub mod facts;
pub mod health;
mod http_server;
pub mod install;
pub mod kubernetes;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod netns;
pub mod probes;
pub mod records;
pub mod redirect;
pub mod report;
pub mod selector;
pub mod socket;
pub mod sockets;
pub mod status;
pub mod watch;
pub mod zds;
