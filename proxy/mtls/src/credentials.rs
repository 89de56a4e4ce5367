//! One certificate, checked and made ready for any number of handshakes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::model::Identity;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use thiserror::Error;
use tracing::warn;
use webpki::EndEntityCert;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::revoke::Standing;
use crate::schedule::Validity;
use crate::trust::{Bundle, Direction, Roots, TlsContext, Trust};
use crate::verify::{ALPN_H2, ExpectedServer, MeshClient, identities};

/// What a certificate authority hands out, all DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The leaf first, then intermediates; no root.
    pub chain: Vec<Vec<u8>>,
    /// The roots to check peers against. Unreadable ones are skipped.
    pub roots: Vec<Vec<u8>>,
    /// PKCS#8 key of the leaf.
    pub key: Vec<u8>,
}

/// A certificate in use. The TLS configurations are built once and shared by every handshake under it.
pub struct Credentials {
    identity: Identity,
    validity: Validity,
    chain: Vec<Certificate>,
    trust: Arc<Trust>,
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

/// Why fetched material cannot be served.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// There is no leaf.
    #[error("the certificate chain is empty")]
    NoChain,
    /// A certificate of the chain is not X.509.
    #[error("certificate {position} of the chain is unreadable")]
    Certificate {
        /// 0 is the leaf.
        position: usize,
        /// What the parser says.
        #[source]
        source: X509Error,
    },
    /// The leaf cannot be used for TLS.
    #[error("the leaf certificate is unusable")]
    Leaf {
        /// What the verifier says.
        #[source]
        source: webpki::Error,
    },
    /// The leaf is somebody else's.
    #[error("the certificate is for {}, not for {wanted}", named(.got.as_ref()))]
    WrongIdentity {
        /// Who was asked for.
        wanted: Identity,
        /// The leaf's first SPIFFE identity.
        got: Option<Identity>,
    },
    /// No peer could ever be verified.
    #[error("no usable root certificate came with the chain")]
    NoRoots,
    /// The key is unreadable, or not the leaf's.
    #[error("the private key does not fit the certificate")]
    Key {
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The TLS policy of this process leaves nothing to negotiate.
    #[error("the TLS policy is unusable")]
    Policy {
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
}

/// One parsed certificate.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// Decimal.
    pub(crate) serial: String,
    pub(crate) validity: Validity,
}

impl Credentials {
    /// Checks `material` and builds the TLS configurations. It must be for `identity`.
    ///
    /// # Errors
    ///
    /// When a part is missing, unreadable, for somebody else, or does not fit the others.
    pub fn new(identity: Identity, material: Material, context: &TlsContext) -> Result<Self, MaterialError> {
        let policy = context.policy;
        let chain = material
            .chain
            .into_iter()
            .enumerate()
            .map(|(position, der)| {
                Certificate::parse(der).map_err(|source| MaterialError::Certificate { position, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let leaf = chain.first().ok_or(MaterialError::NoChain)?;
        leaf.require(&identity)?;
        let validity = leaf.validity;

        let provider = policy.provider();
        let bundle = bundle(&identity, material.roots)?;
        let algorithms = provider.signature_verification_algorithms;
        let trust = Arc::new(Trust::new(bundle, &identity.trust_domain, context, algorithms));

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(material.key));
        let presented = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let certified = provider
            .key_provider
            .load_private_key(key)
            .map(|key| CertifiedKey::new(presented, key))
            .and_then(|certified| certified.keys_match().map(|()| certified))
            .map_err(|source| MaterialError::Key { source })?;
        let resolver = Arc::new(SingleCertAndKey::from(certified));

        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(policy.versions())
            .map_err(|source| MaterialError::Policy { source })?
            .with_client_cert_verifier(Arc::new(MeshClient {
                trust: Arc::clone(&trust),
                trust_domain: identity.trust_domain.clone(),
            }))
            .with_cert_resolver(Arc::clone(&resolver) as _);
        server.alpn_protocols = vec![ALPN_H2.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(policy.versions())
            .map_err(|source| MaterialError::Policy { source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ExpectedServer {
                trust: Arc::clone(&trust),
                expected: Arc::from([]),
            }))
            .with_client_cert_resolver(resolver);
        client.alpn_protocols = vec![ALPN_H2.to_vec()];
        client.enable_sni = false;
        // A clone shares its sessions, and a resumed one would skip the verifier.
        client.resumption = Resumption::disabled();

        Ok(Self { identity, validity, chain, trust, server: Arc::new(server), client })
    }

    /// Whose certificate this is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Start of the leaf's validity, since the Unix epoch.
    #[must_use]
    pub const fn not_before(&self) -> Duration {
        self.validity.not_before
    }

    /// End of the leaf's validity, since the Unix epoch.
    #[must_use]
    pub const fn not_after(&self) -> Duration {
        self.validity.not_after
    }

    pub(crate) const fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// What peers are checked against now.
    pub(crate) fn roots(&self) -> Roots {
        self.trust.roots()
    }

    /// Makes the roots that came with this certificate those of its whole trust domain; `request` orders them.
    pub(crate) fn publish_roots(&self, request: u64) {
        self.trust.publish(request);
    }

    /// Watches over a connection to a peer that has just proved itself with `chain`.
    pub(crate) fn watch(&self, chain: Option<&[CertificateDer<'_>]>, direction: Direction) -> Standing {
        self.trust.watch(chain, direction)
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The shared client configuration, with a verifier that insists on `expected`.
    pub(crate) fn client_config(&self, expected: &[Identity]) -> ClientConfig {
        let mut config = self.client.clone();
        config.dangerous().set_certificate_verifier(Arc::new(ExpectedServer {
            trust: Arc::clone(&self.trust),
            expected: Arc::from(expected),
        }));
        config
    }
}

impl Certificate {
    fn parse(der: Vec<u8>) -> Result<Self, X509Error> {
        let (_rest, parsed) = X509Certificate::from_der(&der).map_err(|error| match error {
            x509_parser::nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
        })?;
        let validity = Validity {
            not_before: since_epoch(parsed.validity().not_before.timestamp()),
            not_after: since_epoch(parsed.validity().not_after.timestamp()),
        };
        let serial = parsed.serial.to_string();
        Ok(Self { der: CertificateDer::from(der), serial, validity })
    }

    /// The certificate must be usable by TLS and belong to `wanted`.
    fn require(&self, wanted: &Identity) -> Result<(), MaterialError> {
        let leaf = EndEntityCert::try_from(&self.der).map_err(|source| MaterialError::Leaf { source })?;
        let got = identities(&leaf).next();
        if got.as_ref() == Some(wanted) {
            return Ok(());
        }
        Err(MaterialError::WrongIdentity { wanted: wanted.clone(), got })
    }
}

/// The readable ones among `roots`: a bundle with one bad certificate must not cut off a whole identity.
fn bundle(identity: &Identity, roots: Vec<Vec<u8>>) -> Result<Bundle, MaterialError> {
    let mut anchors = Vec::with_capacity(roots.len());
    let mut certificates = Vec::with_capacity(roots.len());
    for (position, der) in roots.into_iter().enumerate() {
        let Ok(certificate) = Certificate::parse(der) else {
            warn!(%identity, position, "skipping an unreadable root certificate");
            continue;
        };
        match webpki::anchor_from_trusted_cert(&certificate.der) {
            Ok(anchor) => anchors.push(anchor.to_owned()),
            Err(error) => {
                warn!(%identity, position, %error, "skipping a root certificate that cannot be an anchor");
                continue;
            }
        }
        certificates.push(certificate);
    }
    if anchors.is_empty() { Err(MaterialError::NoRoots) } else { Ok(Bundle { anchors, certificates }) }
}

/// Dates before 1970 are as good as 1970: the certificate is long over, or long begun.
fn since_epoch(timestamp: i64) -> Duration {
    Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

fn named(identity: Option<&Identity>) -> String {
    identity.map_or_else(|| "no SPIFFE identity".to_owned(), ToString::to_string)
}

// A key belongs in no log.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("chain", &self.chain.len())
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
