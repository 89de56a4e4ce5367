//! The certificate authority's client: an identity in, a checked certificate chain out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::timeout;
use tonic::Request;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use xds_proto::istio::v1::auth::IstioCertificateRequest;
use xds_proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;

use crate::channel;
use crate::csr::Csr;
use crate::endpoint::Endpoint;
use crate::error::{CaError, clip};

/// Asks istiod, or another CA that speaks its protocol, for workload certificates.
///
/// Every call makes a connection of its own: roots and token are read anew, calls spread over the CA's replicas, and a
/// connection that died unseen cannot fail the next call. A node asks for each identity about twice a day.
#[derive(Debug, Clone)]
pub struct CaClient {
    endpoint: Endpoint,
    ttl: Duration,
    impersonate: bool,
    deadline: Duration,
}

/// A certificate chain with its key.
#[derive(Clone)]
pub struct Issued {
    /// DER, the leaf first, then intermediates; no root.
    pub chain: Vec<Vec<u8>>,
    /// DER; never empty.
    pub roots: Vec<Vec<u8>>,
    /// PKCS #8 in DER.
    pub key: Vec<u8>,
}

impl CaClient {
    /// A client that asks for certificates valid for `ttl`.
    ///
    /// With `impersonate` the node's token asks on behalf of the pods beside it, as a shared proxy must; without, the
    /// CA issues the token's own identity, whatever it is, and the name in the certificate is not compared.
    #[must_use]
    pub fn new(endpoint: Endpoint, ttl: Duration, impersonate: bool) -> Self {
        endpoint.warn_when_readable();
        Self { endpoint, ttl, impersonate, deadline: DEADLINE }
    }

    /// Replaces the 15 s that one call may take in all.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes a new key and has it certified for `identity`, a SPIFFE URI.
    ///
    /// # Errors
    /// When the CA cannot be reached or refuses, takes longer than the deadline, or answers with a chain that is not
    /// for this identity and key or has no root.
    pub async fn sign(&self, identity: &str) -> Result<Issued, CaError> {
        let late = |_| CaError::Deadline { identity: identity.to_owned(), after: self.deadline };
        timeout(self.deadline, Box::pin(self.exchange(identity))).await.map_err(late)?
    }

    async fn exchange(&self, identity: &str) -> Result<Issued, CaError> {
        let csr = Csr::new(identity)?;
        let mut request = Request::new(IstioCertificateRequest {
            csr: csr.pem.clone(),
            validity_duration: i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX),
            metadata: self.impersonate.then(|| impersonated(identity)),
        });
        *request.metadata_mut() = self.endpoint.metadata().await?;
        let transport = Box::pin(channel::connect(&self.endpoint)).await?;
        let mut client = IstioCertificateServiceClient::with_origin(transport, self.endpoint.uri.clone());
        let refused = |status| CaError::Refused { identity: identity.to_owned(), status };
        let answer = client.create_certificate(request).await.map_err(refused)?.into_inner();
        let wanted = self.impersonate.then_some(identity);
        let (chain, roots) = check_chain(&answer.cert_chain, identity, wanted, &csr.public_key())?;
        Ok(Issued { chain, roots, key: csr.into_key() })
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("chain", &self.chain.len())
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

/// On whose behalf we ask.
fn impersonated(identity: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(identity.to_owned())) };
    Struct { fields: BTreeMap::from([("ImpersonatedIdentity".to_owned(), value)]) }
}

type Ders = Vec<Vec<u8>>;

/// Splits the answer into chain and roots: every element but the last is one certificate, the last is a bundle.
fn check_chain(
    elements: &[String],
    identity: &str,
    wanted: Option<&str>,
    public_key: &[u8],
) -> Result<(Ders, Ders), CaError> {
    let Some((bundle, issued @ [_, ..])) = elements.split_last() else {
        return Err(CaError::ShortChain { elements: elements.len() });
    };
    let chain: Ders = issued
        .iter()
        .enumerate()
        .map(|(index, pem)| one_certificate(pem).map_err(|why| CaError::Element { index, why }))
        .collect::<Result<_, _>>()?;
    let element = |why| CaError::Element { index: 0, why };
    let leaf = chain.first().ok_or(CaError::ShortChain { elements: elements.len() })?;
    let leaf = parse(leaf).map_err(element)?;
    if let Some(wanted) = wanted {
        let got = first_uri(&leaf).map_err(element)?;
        if got != Some(wanted) {
            let got = got.map(|uri| clip(uri, SHOWN).to_owned());
            return Err(CaError::WrongIdentity { wanted: wanted.to_owned(), got });
        }
    }
    if leaf.public_key().raw != public_key {
        return Err(CaError::WrongKey { identity: identity.to_owned() });
    }
    let roots = usable_roots(bundle);
    if roots.is_empty() {
        return Err(CaError::NoRoots);
    }
    Ok((chain, roots))
}

fn one_certificate(pem: &str) -> Result<Vec<u8>, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
    parse(&der)?;
    Ok(der.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("bytes follow the certificate".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn first_uri<'a>(leaf: &'a X509Certificate<'_>) -> Result<Option<&'a str>, String> {
    let names = leaf.subject_alternative_name().map_err(|e| e.to_string())?;
    Ok(names.and_then(|names| {
        names
            .value
            .general_names
            .iter()
            .find_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
    }))
}

/// A root that cannot be read is left out: the others may still be the ones that peers need.
fn usable_roots(bundle: &str) -> Ders {
    let mut roots = Vec::new();
    for item in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let read = item.map_err(|e| e.to_string()).and_then(|der| parse(&der).map(|_| der.to_vec()));
        match read {
            Ok(der) => roots.push(der),
            Err(why) => {
                tracing::warn!("a root certificate from the CA cannot be read and is left out: {why}")
            }
        }
    }
    roots
}

const DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of a peer's text that we repeat.
const SHOWN: usize = 200;

#[cfg(test)]
mod tests;
