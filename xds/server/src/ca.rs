//! The certificate authority: one root, leaves for SPIFFE identities, and the control plane's own server certificate.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::tls::ServerTls;

/// Validity of what is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaOptions {
    /// When the request asks for none; 24 h.
    pub default_ttl: Duration,
    /// A request for more is refused; 90 days.
    pub max_ttl: Duration,
    /// Of a generated root; 10 years.
    pub root_ttl: Duration,
}

impl Default for CaOptions {
    fn default() -> Self {
        Self { default_ttl: DAY, max_ttl: DAY * 90, root_ttl: DAY * 3650 }
    }
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("the CA certificate cannot be used: {0}")]
    Root(&'static str),
    #[error("the CA's key cannot be used")]
    RootKey(#[source] rcgen::Error),
    #[error("the certificate signing request is not a PEM PKCS #10 request: {0}")]
    Csr(&'static str),
    #[error("the certificate signing request is not signed by its own key")]
    CsrSignature(#[source] x509_parser::error::X509Error),
    #[error("certificates are not issued for this kind of key")]
    CsrKey(#[source] rcgen::Error),
    #[error("requested TTL {requested} s is greater than the max allowed TTL {max} s")]
    Ttl { requested: i64, max: u64 },
    #[error("{0:?} cannot stand in a certificate")]
    Identity(String),
    #[error("{name:?} is neither an IP address nor a DNS name")]
    Name {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("encode or sign a certificate")]
    Issue(#[source] rcgen::Error),
    #[error("use the issued certificate for TLS")]
    Tls(#[source] rustls::Error),
}

/// A CA whose root signs leaves directly. Clones are the same one.
#[derive(Clone)]
pub struct Ca {
    inner: Arc<Authority>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    root_der: CertificateDer<'static>,
    not_after: OffsetDateTime,
    options: CaOptions,
}

impl Ca {
    /// Makes a new root.
    ///
    /// # Errors
    ///
    /// [`CaError::Issue`] when the machine cannot make keys.
    pub fn generate(trust_domain: &str, options: CaOptions) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(CaError::Issue)?;
        let (not_before, not_after) = validity(OffsetDateTime::now_utc(), options.root_ttl);
        let mut params = CertificateParams::default();
        params.not_before = not_before;
        params.not_after = not_after;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, trust_domain);
        params.distinguished_name.push(DnType::CommonName, "adit-control root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).map_err(CaError::Issue)?;
        let authority = Authority {
            root_pem: root.pem(),
            root_der: root.der().clone(),
            issuer: Issuer::new(params, key),
            not_after,
            options,
        };
        Ok(Self { inner: Arc::new(authority) })
    }

    /// Uses a root made elsewhere: its certificate and its private key, PEM.
    ///
    /// # Errors
    ///
    /// [`CaError::Root`] and [`CaError::RootKey`] for PEM that is not a CA certificate and its own key.
    pub fn from_pem(certificate: &str, key: &str, options: CaOptions) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key).map_err(CaError::RootKey)?;
        let root_der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| CaError::Root("it is not a PEM certificate"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&root_der).map_err(|_| CaError::Root("it is not X.509"))?;
        if !parsed.is_ca() {
            return Err(CaError::Root("it is not a CA certificate (basicConstraints)"));
        }
        if parsed.public_key().subject_public_key.data != key.der_bytes() {
            return Err(CaError::Root("the key is another certificate's"));
        }
        let not_after = parsed.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&root_der, key)
            .map_err(|_| CaError::Root("its subject or key usage cannot be read"))?;
        let authority = Authority { issuer, root_pem: certificate.to_owned(), root_der, not_after, options };
        Ok(Self { inner: Arc::new(authority) })
    }

    /// The root certificate, which clients trust.
    pub fn root_pem(&self) -> &str {
        &self.inner.root_pem
    }

    /// Signs the key of a PEM signing request for `identity`, whatever names the request asks for: PEM of the leaf,
    /// then of the root. `ttl` is in seconds; 0 or less means the default.
    ///
    /// # Errors
    ///
    /// The request is malformed, not signed by its own key, or for too long a time.
    pub fn sign(&self, csr: &str, identity: &str, ttl: i64) -> Result<Vec<String>, CaError> {
        let key = requested_key(csr)?;
        let uri = identity.try_into().map_err(|_| CaError::Identity(identity.to_owned()))?;
        let mut params = self.leaf(self.ttl(ttl)?);
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.inner.issuer).map_err(CaError::Issue)?;
        Ok(vec![leaf.pem(), self.inner.root_pem.clone()])
    }

    /// TLS for a server that goes by these DNS names and addresses, valid as long as the root.
    ///
    /// # Errors
    ///
    /// [`CaError::Name`] for something that is neither, otherwise what signing can run into.
    pub fn server_tls(&self, names: &[String]) -> Result<ServerTls, CaError> {
        let key = KeyPair::generate().map_err(CaError::Issue)?;
        let mut params = self.leaf(self.inner.options.root_ttl);
        params.subject_alt_names = names.iter().map(|name| subject(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.inner.issuer).map_err(CaError::Issue)?;
        let chain = vec![leaf.der().clone(), self.inner.root_der.clone()];
        ServerTls::new(chain, PrivateKeyDer::from(key)).map_err(CaError::Tls)
    }

    fn ttl(&self, requested: i64) -> Result<Duration, CaError> {
        let CaOptions { default_ttl, max_ttl, .. } = self.inner.options;
        match u64::try_from(requested) {
            Ok(0) | Err(_) => Ok(default_ttl),
            Ok(seconds) if seconds <= max_ttl.as_secs() => Ok(Duration::from_secs(seconds)),
            Ok(_) => Err(CaError::Ttl { requested, max: max_ttl.as_secs() }),
        }
    }

    /// A leaf without names. With no subject, the names are a critical extension (RFC 5280, 4.2.1.6).
    fn leaf(&self, ttl: Duration) -> CertificateParams {
        let (not_before, not_after) = validity(OffsetDateTime::now_utc(), ttl);
        let mut params = CertificateParams::default();
        params.not_before = not_before;
        params.not_after = not_after.min(self.inner.not_after);
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        params
    }
}

/// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpiffeId<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service_account: &'a str,
}

impl<'a> SpiffeId<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("spiffe://")?.split('/');
        let found = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [trust_domain, "ns", namespace, "sa", service_account] = found else {
            return None;
        };
        let whole = parts.next().is_none() && ![trust_domain, namespace, service_account].contains(&"");
        whole.then_some(Self { namespace, service_account })
    }
}

/// The public key of a signing request that proves it holds the private one.
fn requested_key(csr: &str) -> Result<SubjectPublicKeyInfo, CaError> {
    let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(csr.as_bytes())
        .map_err(|_| CaError::Csr("no PEM block CERTIFICATE REQUEST"))?;
    let (rest, request) = X509CertificationRequest::from_der(&der)
        .map_err(|_| CaError::Csr("the PEM block holds something else"))?;
    if !rest.is_empty() {
        return Err(CaError::Csr("bytes follow the request"));
    }
    request.verify_signature().map_err(CaError::CsrSignature)?;
    SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(CaError::CsrKey)
}

fn subject(name: &str) -> Result<SanType, CaError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let dns = name.try_into().map_err(|source| CaError::Name { name: name.to_owned(), source })?;
    Ok(SanType::DnsName(dns))
}

/// From a little before now, because the clocks of a cluster differ, until `ttl` from now.
fn validity(now: OffsetDateTime, ttl: Duration) -> (OffsetDateTime, OffsetDateTime) {
    (now - CLOCK_SKEW, now + ttl)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CLOCK_SKEW: Duration = Duration::from_secs(120);
