//! Our own ports are not a destination: said once.

/// Where captured outbound connections arrive.
pub const OUTBOUND: u16 = 15001;
/// Where captured plaintext inbound connections arrive.
pub const PASSTHROUGH: u16 = 15006;
/// Where tunnels arrive.
pub const HBONE: u16 = 15008;

/// All of them.
pub const OURS: [u16; 3] = [HBONE, PASSTHROUGH, OUTBOUND];

/// Whether a connection to this port on a local address would come back to this proxy.
#[must_use]
pub const fn is_ours(port: u16) -> bool {
    matches!(port, OUTBOUND | PASSTHROUGH | HBONE)
}
