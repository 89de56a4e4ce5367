//! Sockets inside pods: namespaces, listeners, dials, and where a captured connection was going.

pub(crate) mod dial;
pub(crate) mod listen;
pub(crate) mod netns;
pub(crate) mod orig_dst;

pub(crate) use proxy_core::decide::canonical;
