//! Our own ports are not a destination: said once.

/// Where captured outbound connections arrive.
pub const OUTBOUND: u16 = 15001;
/// Where captured plaintext inbound connections arrive.
pub const PASSTHROUGH: u16 = 15006;
/// Where tunnels arrive.
pub const HBONE: u16 = 15008;
/// Where applications ask for connections by SOCKS5, when that is switched on.
pub const SOCKS5: u16 = 15080;

/// The ports that this proxy listens on for connections to carry on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnPorts {
    /// Whether [`SOCKS5`] is one of them.
    pub socks5: bool,
}

impl OwnPorts {
    /// Their numbers.
    pub fn numbers(self) -> impl Iterator<Item = u16> {
        [HBONE, PASSTHROUGH, OUTBOUND].into_iter().chain(self.socks5.then_some(SOCKS5))
    }

    /// Whether a connection to this port on a local address would come back to this proxy.
    #[must_use]
    pub fn contain(self, port: u16) -> bool {
        self.numbers().any(|own| own == port)
    }
}
