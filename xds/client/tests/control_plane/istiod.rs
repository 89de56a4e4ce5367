//! A control plane that does what a test tells it, one discovery stream or signing request at a time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;
use xds_client::{Credential, Endpoint, TrustAnchor};
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use xds_proto::istio::v1::auth::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use xds_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

/// A discovery stream as the server sees it.
pub(crate) struct Stream {
    pub(crate) metadata: MetadataMap,
    pub(crate) requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

impl Stream {
    pub(crate) async fn request(&mut self) -> DeltaDiscoveryRequest {
        soon("a discovery request", self.requests.message()).await.unwrap().unwrap()
    }

    pub(crate) async fn push(&self, response: DeltaDiscoveryResponse) {
        self.responses.send(Ok(response)).await.unwrap();
    }

    pub(crate) async fn fail(&self, status: Status) {
        self.responses.send(Err(status)).await.unwrap();
    }
}

/// A signing request as the server sees it.
pub(crate) struct Signing {
    pub(crate) metadata: MetadataMap,
    pub(crate) request: IstioCertificateRequest,
    answer: oneshot::Sender<Result<Vec<String>, Status>>,
}

impl Signing {
    pub(crate) fn answer(self, answer: Result<Vec<String>, Status>) {
        self.answer.send(answer).unwrap();
    }
}

pub(crate) struct Istiod {
    address: SocketAddr,
    cut: Arc<Notify>,
    streams: mpsc::Receiver<Stream>,
    signings: mpsc::Receiver<Signing>,
}

impl Istiod {
    /// Listens with this TLS configuration, or in plaintext.
    pub(crate) async fn start(tls: Option<rustls::ServerConfig>) -> Self {
        let (stream_sender, streams) = mpsc::channel(8);
        let (signing_sender, signings) = mpsc::channel(8);
        let ads = AggregatedDiscoveryServiceServer::new(Ads { streams: stream_sender });
        let ca = IstioCertificateServiceServer::new(Ca { signings: signing_sender });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let cut = Arc::new(Notify::new());
        let cutting = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, ads, ca, cut) =
                    (acceptor.clone(), ads.clone(), ca.clone(), Arc::clone(&cutting));
                tokio::spawn(async move {
                    tokio::select! {
                        () = cut.notified() => (),
                        () = shake_and_serve(tcp, acceptor, ads, ca) => (),
                    }
                });
            }
        });
        Self { address, cut, streams, signings }
    }

    pub(crate) async fn stream(&mut self) -> Stream {
        soon("a discovery stream", self.streams.recv()).await.unwrap()
    }

    /// Closes every connection under its streams.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }

    pub(crate) async fn signing(&mut self) -> Signing {
        soon("a signing request", self.signings.recv()).await.unwrap()
    }

    pub(crate) fn plaintext_endpoint(&self) -> Endpoint {
        Endpoint {
            uri: format!("http://{}", self.address).parse().unwrap(),
            trust: TrustAnchor::System,
            alt_hostname: None,
            credential: Credential::None,
            cluster_id: "Kubernetes".to_owned(),
            headers: Vec::new(),
            tls12: false,
            pqc: false,
        }
    }

    pub(crate) fn tls_endpoint(&self, trust: TrustAnchor) -> Endpoint {
        let uri = format!("https://localhost:{}", self.address.port()).parse().unwrap();
        Endpoint { uri, trust, ..self.plaintext_endpoint() }
    }
}

struct Ads {
    streams: mpsc::Sender<Stream>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (responses, queue) = mpsc::channel(8);
        let (metadata, _, requests) = request.into_parts();
        let stream = Stream { metadata, requests, responses };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}

struct Ca {
    signings: mpsc::Sender<Signing>,
}

#[tonic::async_trait]
impl IstioCertificateService for Ca {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let (answer, answered) = oneshot::channel();
        let (metadata, _, request) = request.into_parts();
        let over = || Status::unavailable("the test is over");
        self.signings.send(Signing { metadata, request, answer }).await.map_err(|_| over())?;
        let cert_chain = answered.await.map_err(|_| over())??;
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

async fn shake_and_serve(
    tcp: TcpStream,
    acceptor: Option<TlsAcceptor>,
    ads: AggregatedDiscoveryServiceServer<Ads>,
    ca: IstioCertificateServiceServer<Ca>,
) {
    match acceptor {
        None => serve(tcp, ads, ca).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(tcp).await {
                Box::pin(serve(stream, ads, ca)).await;
            }
        }
    }
}

async fn serve<T>(
    stream: T,
    ads: AggregatedDiscoveryServiceServer<Ads>,
    ca: IstioCertificateServiceServer<Ca>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (mut ads, mut ca) = (ads.clone(), ca.clone());
        async move {
            let answer = if request.uri().path().starts_with("/istio.v1.auth.") {
                Service::call(&mut ca, request).await
            } else {
                Service::call(&mut ads, request).await
            };
            answer.map_err(|never: Infallible| never)
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    connection.serve_connection(TokioIo::new(stream), service).await.ok();
}

/// A certificate authority made for one test.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A TLS server whose certificate names these hosts.
    pub(crate) fn server(
        &self,
        names: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        self.server_with(aws_lc_rs::default_provider(), names, versions)
    }

    pub(crate) fn server_with(
        &self,
        provider: rustls::crypto::CryptoProvider,
        names: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// A leaf for the request's key, named as given whatever the request says.
    pub(crate) fn sign(&self, csr: &str, identity: &str) -> String {
        let mut request = rcgen::CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

pub(crate) const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
pub(crate) const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// A file of this test's own, gone with it.
pub(crate) struct TestFile(PathBuf);

impl TestFile {
    /// A path where nothing is yet.
    pub(crate) fn absent() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("xds-client-{}-{count}", std::process::id())))
    }

    pub(crate) fn holding(text: &str) -> Self {
        let file = Self::absent();
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// A response with named resources, each of version 1 and with its name as body.
pub(crate) fn response(type_url: &str, nonce: &str, names: &[&str]) -> DeltaDiscoveryResponse {
    let resource = |name: &&str| Resource {
        name: (*name).to_owned(),
        version: "1".to_owned(),
        resource: Some(prost_types::Any { type_url: type_url.to_owned(), value: name.as_bytes().to_vec() }),
        ..Default::default()
    };
    DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        resources: names.iter().map(resource).collect(),
        ..Default::default()
    }
}

/// The value, unless it takes so long that it will not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}
