//! The node process: sockets, ZDS, listeners, telemetry, admin.
//!
//! Read `outbound` for what happens to a captured connection, `inbound` for what happens at its other end. What is decided
//! is decided in `proxy-core`; this crate acts.

mod accept;
mod admin;
mod app;
pub mod canary;
mod captured;
mod certs;
pub mod config;
mod conn;
mod descriptors;
mod dns;
mod error;
mod handshakes;
mod http_server;
mod inbound;
mod ingest;
mod limits;
mod live;
mod metrics;
mod net;
mod node;
mod outbound;
mod passthrough;
mod pod;
mod policy;
mod ready;
mod snapshot;
mod socks5;
mod telemetry;
mod workloads;

pub use app::{StartError, run};
pub use http_server::BindError;
pub use net::listen::ListenError;
pub use telemetry::{LogControl, LogError, LogGuard, init as init_log};
