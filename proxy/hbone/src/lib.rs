//! The tunnel: HTTP/2 CONNECT over an authenticated stream (RFC 9113, section 8.5), as client and as server.
//!
//! A tunnel can be opened inside a tunnel, with a peer that the next hop leads to and cannot impersonate.
//!
//! What comes out of here is never a byte stream. A [`Tunnel`] or [`ServerTunnel`] takes the application's socket and
//! relays it until it ends, so that nothing above depends on how streams share a connection.

mod client;
mod error;
mod keepalive;
mod meter;
mod nested;
mod piece;
mod pool;
mod relay;
mod server;
mod settings;
#[cfg(test)]
mod tests;

pub use client::{ConnectHead, Tunnel};
pub use error::{DialError, TunnelError};
pub use meter::{Meter, Observer};
pub use nested::Inside;
pub use pool::{Dialed, Pool, PoolKey};
pub use relay::{Ended, RelayError, Side, relay_tcp};
pub use server::{Incoming, ServerTunnel, serve};
pub use settings::{Limits, RelayLimits, Settings};
