//! What a person may see of the store: certificates and states, never keys.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy_core::model::Identity;

use crate::credentials::Certificate;

/// One identity of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertDump {
    /// Whose certificate.
    pub identity: Identity,
    /// `Available`, `Initializing` or `Unavailable: <error>`.
    pub state: String,
    /// The chain we present, leaf first; empty while there is none.
    pub chain: Vec<CertInfo>,
    /// The roots we check peers against; empty while there is no chain.
    pub roots: Vec<CertInfo>,
}

/// One X.509 certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// PEM text (`-----BEGIN CERTIFICATE-----` and so on), not encoded any further.
    pub pem: String,
    /// Serial number, decimal.
    pub serial: String,
    /// Start of validity, seconds since the Unix epoch.
    pub not_before: u64,
    /// End of validity, seconds since the Unix epoch.
    pub not_after: u64,
}

/// How many identities are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// With a certificate that serves.
    pub available: u64,
    /// With one that serves, and should have been renewed for long.
    pub overdue: u64,
    /// With one that has ended.
    pub expired: u64,
    /// Before their first certificate.
    pub initializing: u64,
    /// Without a certificate, after an attempt that failed.
    pub unavailable: u64,
    /// When the first of the certificates ends, since the Unix epoch.
    pub first_end: Option<Duration>,
    /// Attempts that brought no certificate, since the start.
    pub failures: u64,
}

impl From<&Certificate> for CertInfo {
    fn from(certificate: &Certificate) -> Self {
        Self {
            pem: pem(&certificate.der),
            serial: certificate.serial.clone(),
            not_before: certificate.validity.not_before.as_secs(),
            not_after: certificate.validity.not_after.as_secs(),
        }
    }
}

/// RFC 7468 text of a DER certificate: 64 characters a line, so 48 bytes.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
