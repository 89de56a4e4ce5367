//! The client side of TLS towards the control plane: which roots, which name, which versions.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, version,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::endpoint::{Endpoint, TrustAnchor};
use crate::error::ChannelError;

/// The configuration for one connection; reads the roots again.
pub(crate) async fn config(endpoint: &Endpoint) -> Result<ClientConfig, ChannelError> {
    let roots = Arc::new(roots(endpoint).await?);
    let provider = Arc::new(provider(endpoint.tls12, endpoint.pqc));
    let failed = |error| ChannelError::Tls { uri: endpoint.uri.to_string(), source: error };
    let versions: &[_] =
        if endpoint.tls12 { &[&version::TLS13, &version::TLS12] } else { &[&version::TLS13] };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|e| failed(rustls::Error::General(e.to_string())))?;
    let verifier = NamedVerifier { verifier, alternate: alternate(endpoint)? };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would not look at the roots again.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// As ztunnel: AES-GCM only, classical key exchange before the hybrid one or none at all.
fn provider(tls12: bool, pqc: bool) -> CryptoProvider {
    use aws_lc_rs::{cipher_suite as suite, kx_group};
    let mut cipher_suites = vec![suite::TLS13_AES_256_GCM_SHA384, suite::TLS13_AES_128_GCM_SHA256];
    if tls12 {
        cipher_suites.extend([
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ]);
    }
    let kx_groups = if pqc {
        vec![kx_group::X25519MLKEM768]
    } else {
        vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1, kx_group::X25519MLKEM768]
    };
    CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() }
}

async fn roots(endpoint: &Endpoint) -> Result<RootCertStore, ChannelError> {
    let certificates = match &endpoint.trust {
        TrustAnchor::File(path) => {
            let pem = tokio::fs::read(path)
                .await
                .map_err(|source| ChannelError::ReadRoots { path: path.clone(), source })?;
            from_pem(&pem)
        }
        TrustAnchor::Pem(pem) => from_pem(pem.as_bytes()),
        TrustAnchor::System => tokio::task::spawn_blocking(|| rustls_native_certs::load_native_certs().certs)
            .await
            .unwrap_or_default(),
    };
    let mut store = RootCertStore::empty();
    let (usable, unusable) = store.add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(ChannelError::NoRoots { from: endpoint.trust_text() });
    }
    if unusable > 0 {
        tracing::warn!("{unusable} root certificates in {} cannot be used", endpoint.trust_text());
    }
    Ok(store)
}

fn from_pem(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

fn alternate(endpoint: &Endpoint) -> Result<Option<ServerName<'static>>, ChannelError> {
    let Some(name) = &endpoint.alt_hostname else {
        return Ok(None);
    };
    match ServerName::try_from(name.clone()) {
        Ok(server_name) => Ok(Some(server_name)),
        Err(_) => Err(ChannelError::AltHostname { name: name.clone() }),
    }
}

/// Accepts the host of the URI or, when the certificate is good but names someone else, the alternate name.
#[derive(Debug)]
struct NamedVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    alternate: Option<ServerName<'static>>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let check = |name: &ServerName<'_>| {
            self.verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        match (check(server_name), &self.alternate) {
            (Err(error), Some(alternate)) if is_about_the_name(&error) => check(alternate),
            (result, _) => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

const fn is_about_the_name(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

pub(crate) const ALPN: &[u8] = b"h2";
