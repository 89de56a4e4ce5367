//! The client against a scripted control plane, over real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod ads;
mod ca;
mod demand;
mod istiod;
mod sink;
