//! What peers say to each other in the headers of a tunnel: read without trust, written so that nothing can be smuggled.

pub mod baggage;
pub mod forwarded;
pub mod hbone;
pub mod proxy_header;
pub mod socks5;
pub mod traceparent;
