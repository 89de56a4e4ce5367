//! A peer that speaks HBONE by hand: what no proxy of ours would ask for, asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::control::Issued;
use super::netns::Netns;

/// A connection to a tunnel port.
pub struct Hbone {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    local: SocketAddr,
}

impl Hbone {
    /// Connects from inside `netns` under an identity, whoever answers.
    ///
    /// # Errors
    /// Why there is no tunnel connection.
    pub fn connect(netns: &Netns, to: SocketAddr, identity: &Issued) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for a peer");
        let stream = netns
            .run(|| std::net::TcpStream::connect_timeout(&to, LIMIT))
            .map_err(|e| format!("connect to {to}: {e}"))?;
        stream.set_nonblocking(true).expect("a socket that waits for nobody");
        let local = stream.local_addr().expect("a local address");
        let config = Arc::new(config(identity));
        let requests = runtime.block_on(async {
            let connecting = async {
                let stream = TcpStream::from_std(stream).expect("a socket of the runtime");
                let name = ServerName::IpAddress(to.ip().into());
                let stream = TlsConnector::from(config)
                    .connect(name, stream)
                    .await
                    .map_err(|e| format!("TLS with {to}: {e}"))?;
                let (requests, connection) =
                    h2::client::handshake(stream).await.map_err(|e| format!("HTTP/2 with {to}: {e}"))?;
                tokio::spawn(connection);
                requests.ready().await.map_err(|e| format!("HTTP/2 with {to}: {e}"))
            };
            timeout(LIMIT, connecting)
                .await
                .unwrap_or_else(|_| Err(format!("no tunnel to {to} in {LIMIT:?}")))
        })?;
        Ok(Self { runtime, requests, local })
    }

    /// The peer's own end.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Opens a stream to `authority`, says `text` on it and ends it: the status, and all that came back.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn ask(&self, authority: &str, text: &str) -> Result<(u16, Vec<u8>), String> {
        self.request(Method::CONNECT, authority, text)
    }

    /// As [`Hbone::ask`], by another method.
    ///
    /// # Errors
    /// Why there was no answer.
    pub fn request(&self, method: Method, authority: &str, text: &str) -> Result<(u16, Vec<u8>), String> {
        let connect = method == Method::CONNECT;
        let uri = if connect { authority.to_owned() } else { format!("https://{authority}/") };
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse::<Uri>().map_err(|e| format!("{uri}: {e}"))?;
        self.exchange(request, text).map(|(status, _, heard)| (status, heard))
    }

    /// As [`Hbone::ask`], with these header fields: what the answer's are, when it is 200.
    #[track_caller]
    pub fn tell(&self, authority: &str, headers: &[(&'static str, &'static str)], text: &str) -> HeaderMap {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = authority.parse().expect("an authority");
        for (name, value) in headers {
            let field = (HeaderName::from_static(name), HeaderValue::from_static(value));
            request.headers_mut().insert(field.0, field.1);
        }
        let (status, headers, heard) = self.exchange(request, text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((status, heard.as_slice()), (200, text.as_bytes()), "what an echo answers");
        headers
    }

    fn exchange(&self, request: Request<()>, text: &str) -> Result<(u16, HeaderMap, Vec<u8>), String> {
        let mut requests = self.requests.clone();
        let exchange = async {
            let (response, mut send) = requests.send_request(request, false).map_err(|e| e.to_string())?;
            let response = response.await.map_err(|e| format!("no answer: {e}"))?;
            let status = response.status().as_u16();
            let (head, mut body) = response.into_parts();
            if status == 200 {
                send.send_data(Bytes::copy_from_slice(text.as_bytes()), true).map_err(|e| e.to_string())?;
            }
            let mut heard = Vec::new();
            while let Some(data) = body.data().await {
                let data = data.map_err(|e| format!("status {status}, then {e}"))?;
                let _ = body.flow_control().release_capacity(data.len());
                heard.extend_from_slice(&data);
            }
            Ok((status, head.headers, heard))
        };
        let limited = async { timeout(LIMIT, exchange).await };
        self.runtime.block_on(limited).unwrap_or_else(|_| Err(format!("no answer in {LIMIT:?}")))
    }
}

fn config(identity: &Issued) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<_, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(chain, key)
        .expect("a key that fits its certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Takes whoever answers: it is the other side's judgment that is tried.
#[derive(Debug)]
pub struct Anybody(pub Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// No step of a peer takes longer.
const LIMIT: Duration = Duration::from_secs(15);
