//! A new key and the signing request for it, in the form that istiod wants.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType};

use crate::error::CaError;

/// A key that exists nowhere else yet, and the request to certify it.
pub(crate) struct Csr {
    /// PKCS #10 in PEM.
    pub(crate) pem: String,
    key: KeyPair,
}

impl Csr {
    /// P-256, empty subject, and one extension: a critical subject alternative name with the identity as its only URI.
    pub(crate) fn new(identity: &str) -> Result<Self, CaError> {
        let bad = || CaError::Identity { identity: identity.to_owned() };
        let failed = |source| CaError::Request { identity: identity.to_owned(), source };
        if identity.is_empty() {
            return Err(bad());
        }
        let uri = identity.try_into().map_err(|_| bad())?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri)];
        let request = params.serialize_request(&key).map_err(failed)?;
        Ok(Self { pem: request.pem().map_err(failed)?, key })
    }

    /// The public key as a certificate carries it: SubjectPublicKeyInfo in DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The private key: PKCS #8 in DER.
    pub(crate) fn into_key(self) -> Vec<u8> {
        self.key.serialize_der()
    }
}

#[cfg(test)]
mod tests;
