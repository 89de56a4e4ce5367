//! Who the peer is: chain to our roots, then SPIFFE identities. DNS names and common names are never looked at.

use std::sync::Arc;

use proxy_core::Str;
use proxy_core::model::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use webpki::EndEntityCert;

use crate::error::{IdentityMismatch, TlsError};
use crate::trust::{Direction, Presented, Trust};

/// Judges servers: one of the expected identities, exactly.
#[derive(Debug)]
pub(crate) struct ExpectedServer {
    pub(crate) trust: Arc<Trust>,
    pub(crate) expected: Arc<[Identity]>,
}

/// Judges clients: anybody of our trust domain.
#[derive(Debug)]
pub(crate) struct MeshClient {
    pub(crate) trust: Arc<Trust>,
    pub(crate) trust_domain: Str,
}

/// The peer of a finished handshake: h2, and the first SPIFFE identity of its certificate.
pub(crate) fn peer(connection: &CommonState) -> Result<Identity, TlsError> {
    let alpn = connection.alpn_protocol();
    if alpn != Some(ALPN_H2) {
        return Err(TlsError::Alpn { got: alpn.map(<[u8]>::to_vec) });
    }
    connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(|leaf| EndEntityCert::try_from(leaf).ok().and_then(|leaf| identities(&leaf).next()))
        .ok_or(TlsError::Protocol { source: rustls::Error::NoCertificatesPresented })
}

/// The SPIFFE identities of a certificate, in its order. Other URIs are none of our business.
pub(crate) fn identities<'a>(leaf: &'a EndEntityCert<'_>) -> impl Iterator<Item = Identity> + 'a {
    leaf.valid_uri_names().filter_map(|uri| uri.parse().ok())
}

impl ServerCertVerifier for ExpectedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf =
            self.trust.check(Presented { leaf: end_entity, intermediates }, Direction::Outbound, now)?;
        if identities(&leaf).any(|identity| self.expected.contains(&identity)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(mismatch(IdentityMismatch::Expected {
            expected: Arc::clone(&self.expected),
            got: identities(&leaf).take(REPORTED).collect(),
        }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, self.trust.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, self.trust.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for MeshClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Everybody in the mesh has exactly one certificate: a hint would only cost bytes.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let leaf =
            self.trust.check(Presented { leaf: end_entity, intermediates }, Direction::Inbound, now)?;
        if identities(&leaf).any(|identity| identity.trust_domain == self.trust_domain) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(mismatch(IdentityMismatch::TrustDomain {
            ours: Str::clone(&self.trust_domain),
            got: identities(&leaf).take(REPORTED).collect(),
        }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, self.trust.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, self.trust.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms().supported_schemes()
    }
}

fn mismatch(mismatch: IdentityMismatch) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(mismatch))).into()
}

/// The only protocol of a mesh connection.
pub(crate) const ALPN_H2: &[u8] = b"h2";

/// How many identities of a refused peer are worth repeating: it chose them.
const REPORTED: usize = 8;

#[cfg(test)]
mod tests;
