//! An authority of a scenario's own: its root, and the revocation lists that it issues.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::HOME;

/// A root certificate with its key.
pub struct Authority {
    name: String,
    serial: u64,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a root of this name.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("a root").pem();
        Self { name: name.to_owned(), serial, pem, issuer: Issuer::new(params, key) }
    }

    /// The serial number of its root certificate, decimal.
    pub fn serial(&self) -> String {
        self.serial.to_string()
    }

    fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes what `adit-control` needs to sign in its name while peers trust it and `others` too: the bundle, whose
    /// first certificate signs, and the key.
    #[track_caller]
    pub fn files(&self, others: &[&Self]) -> (PathBuf, PathBuf) {
        let file = |kind: &str, text: &str| {
            let path = Path::new(HOME).join(format!("authority-{}.{kind}.pem", self.name));
            fs::write(&path, text).expect("a file of the authority");
            path
        };
        let bundle: Vec<_> = [self].into_iter().chain(others.iter().copied()).map(Self::pem).collect();
        (file("bundle", &bundle.concat()), file("key", &self.issuer.key().serialize_pem()))
    }

    /// A list that revokes certificates by their serial numbers, decimal as dumps have them.
    #[track_caller]
    pub fn revoke(&self, serials: &[String]) -> String {
        let revoked = |serial: &String| RevokedCertParams {
            serial_number: SerialNumber::from(bytes(serial)),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("a list as PEM")
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1000);

/// A decimal number, big-endian.
#[track_caller]
fn bytes(decimal: &str) -> Vec<u8> {
    let mut bytes = vec![0_u8];
    for digit in decimal.chars() {
        let mut carry = digit.to_digit(10).unwrap_or_else(|| panic!("{decimal:?} is not decimal"));
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = (value % 256) as u8;
            carry = value / 256;
        }
        if carry > 0 {
            bytes.insert(0, u8::try_from(carry).expect("a digit of base 256"));
        }
    }
    bytes
}
