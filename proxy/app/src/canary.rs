//! Tells, from inside a pod, whether its connections come to the node's proxy: an address that belongs to nobody answers
//! only where they do.

use std::fmt::{self, Write as _};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use cni_plugin_wire::canary;

/// One address for each family; the family that a pod lacks cannot be reached.
pub const TARGETS: [SocketAddr; 2] = [canary::V4, canary::V6];

/// No connection was taken; by address what became of each.
#[derive(Debug)]
pub struct NotCaptured(Vec<(SocketAddr, io::Error)>);

impl fmt::Display for NotCaptured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connections of this pod do not come to a node proxy: nobody took one to ")?;
        for (index, (target, error)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", nor to ")?;
            }
            write!(f, "{target} ({error})")?;
        }
        f.write_char('\n')?;
        f.write_str("is the pod labelled istio.io/dataplane-mode=ambient, or its namespace, and its node's agent ready?")
    }
}

impl std::error::Error for NotCaptured {}

/// Connects to `targets` until one connection is taken; answers which. Blocking, for ten seconds each at most: where packets
/// are dropped nothing else is heard.
///
/// # Errors
/// None was taken.
pub fn captured(targets: &[SocketAddr]) -> Result<SocketAddr, NotCaptured> {
    let mut missed = Vec::new();
    for target in targets {
        match TcpStream::connect_timeout(target, PATIENCE) {
            Ok(_) => return Ok(*target),
            Err(error) => missed.push((*target, error)),
        }
    }
    Err(NotCaptured(missed))
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
