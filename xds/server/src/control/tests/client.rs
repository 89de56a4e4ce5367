//! A client of the control plane whose every message the test writes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use xds_proto::envoy::config::core::v3::Node;
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::Served;
use crate::translate::ResourceType;

/// One xDS stream whose every message the test writes.
pub(super) struct Client {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Client {
    pub(super) async fn open(served: &Served, first: DeltaDiscoveryRequest) -> Self {
        Self::try_open(served, first, None).await.unwrap()
    }

    pub(super) async fn try_open(
        served: &Served,
        first: DeltaDiscoveryRequest,
        token: Option<&str>,
    ) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(16);
        requests.send(first).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let mut client = AggregatedDiscoveryServiceClient::new(plaintext(served).await);
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(Self { requests, responses })
    }

    pub(super) async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub(super) async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.send(answer(&response.type_url, &response.nonce)).await;
    }

    /// The next response.
    pub(super) async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.end().await.unwrap().expect("the stream ended")
    }

    /// The next response, or how the stream ended.
    pub(super) async fn end(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        tokio::time::timeout(DEADLINE, self.responses.message()).await.expect("no response in time")
    }
}

pub(super) fn subscribe(kind: ResourceType) -> DeltaDiscoveryRequest {
    let node = Node { id: "ztunnel~10.0.0.9~z.istio-system~x".into(), ..Node::default() };
    DeltaDiscoveryRequest {
        node: Some(node),
        type_url: kind.url().into(),
        ..DeltaDiscoveryRequest::default()
    }
}

pub(super) fn answer(type_url: &str, nonce: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.into(),
        response_nonce: nonce.into(),
        ..DeltaDiscoveryRequest::default()
    }
}

pub(super) fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

/// Small windows, so that a client that does not read is soon a full one.
pub(super) async fn plaintext(served: &Served) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    endpoint.connect().await.unwrap()
}

/// TLS that trusts the control plane's own root.
pub(super) async fn encrypted(served: &Served, name: &str) -> Result<Channel, tonic::transport::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(served.control.ca().root_pem().as_bytes()).unwrap()).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = Connector { tls: TlsConnector::from(Arc::new(config)), name, address: served.address };
    Endpoint::from_static("http://control").connect_with_connector(connector).await
}

/// Waits for something that happens in other tasks.
pub(super) async fn eventually<T: std::fmt::Debug>(
    mut look: impl FnMut() -> T,
    done: impl Fn(&T) -> bool,
) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let seen = look();
        if done(&seen) {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "last seen: {seen:?}");
        tokio::task::yield_now().await;
    }
}

struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
    address: std::net::SocketAddr,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (tls, name, address) = (self.tls.clone(), self.name.clone(), self.address);
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

const DEADLINE: Duration = Duration::from_secs(20);
