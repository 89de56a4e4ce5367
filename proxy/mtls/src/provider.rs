//! The one crypto provider: which suites, key exchanges and protocol versions this process speaks.

use std::sync::Arc;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};

/// What an operator may change about TLS. The default is TLS 1.3 with classical and hybrid key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsPolicy {
    /// Also speak TLS 1.2, with ECDHE and AES-GCM only.
    pub tls12: bool,
    /// Accept nothing but the hybrid post-quantum key exchange X25519MLKEM768.
    pub pqc: bool,
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsLimits {
    /// One whole handshake, on either side.
    pub handshake: Duration,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10) }
    }
}

impl TlsPolicy {
    /// The crypto provider of this policy.
    #[must_use]
    pub fn provider(self) -> Arc<CryptoProvider> {
        // AES-256 first and no ChaCha20: the order and set that other node proxies and gateways expect.
        let mut cipher_suites =
            vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256];
        if self.tls12 {
            cipher_suites.extend([
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ]);
        }
        let kx_groups: Vec<&'static dyn SupportedKxGroup> = if self.pqc {
            vec![kx_group::X25519MLKEM768]
        } else {
            // The hybrid comes last: its key share would double every ClientHello.
            vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1, kx_group::X25519MLKEM768]
        };
        Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
    }

    /// The protocol versions of this policy, for a rustls config builder.
    #[must_use]
    pub const fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        if self.tls12 { TLS13_AND_12 } else { TLS13_ONLY }
    }
}

/// Makes the policy's provider the default of this process, for the TLS of others (the control plane's channels).
/// The first call decides: answers whether this one was it.
pub fn install_provider(policy: TlsPolicy) -> bool {
    CryptoProvider::install_default(Arc::unwrap_or_clone(policy.provider())).is_ok()
}

const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&TLS13];
const TLS13_AND_12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

#[cfg(test)]
mod tests;
