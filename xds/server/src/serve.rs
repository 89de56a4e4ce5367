//! The gRPC address: accepts, hands each connection to HTTP/2, and each call to the service it names.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryServiceServer, SERVICE_NAME as ADS,
};
use xds_proto::istio::v1::auth::istio_certificate_service_server::{
    IstioCertificateServiceServer, SERVICE_NAME as CA,
};

use crate::ads::Ads;
use crate::control::Inner;
use crate::sign::Sign;
use crate::tls::ServerTls;

/// Tells streams that the server is about to stop. The default never does.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    pub(crate) async fn begun(&mut self) {
        if self.0.wait_for(|closing| *closing).await.is_err() {
            std::future::pending::<()>().await; // whoever could have said so is gone
        }
    }
}

impl Default for Closing {
    fn default() -> Self {
        Self(watch::channel(false).1)
    }
}

/// Serves until `stop`, then lets calls finish. Dropping the future cuts every connection.
pub(crate) async fn until(
    inner: &Arc<Inner>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    stop: impl Future<Output = ()> + Send,
) {
    let (close, closing) = watch::channel(false);
    let server = Server {
        ads: AggregatedDiscoveryServiceServer::new(Ads { inner: Arc::clone(inner) })
            .max_decoding_message_size(REQUEST),
        ca: IstioCertificateServiceServer::new(Sign { inner: Arc::clone(inner) }),
        closing: Closing(closing),
        handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        tls,
    };
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => drop(connections.spawn(server.clone().connection(stream, peer))),
                Err(error) => {
                    // Out of descriptors, usually: wait for connections to go rather than spin.
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let _ = close.send(true); // no connection may be left to hear it
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        tracing::info!("connections cut after {} s", GRACE.as_secs());
    }
}

#[derive(Clone)]
struct Server {
    ads: AggregatedDiscoveryServiceServer<Ads>,
    ca: IstioCertificateServiceServer<Sign>,
    closing: Closing,
    handshakes: Arc<Semaphore>,
    tls: Option<ServerTls>,
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "set TCP_NODELAY");
        }
        let Some(tls) = self.tls.clone() else {
            return self.http(stream, peer).await;
        };
        let Ok(permit) = Arc::clone(&self.handshakes).acquire_owned().await else {
            return;
        };
        let handshake = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await;
        drop(permit);
        match handshake {
            Ok(Ok(stream)) => self.http(stream, peer).await,
            Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake"),
            Err(_) => tracing::warn!(%peer, "TLS handshake not done in {} s", HANDSHAKE.as_secs()),
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr) {
        let mut closing = self.closing.clone();
        let service = hyper::service::service_fn(move |request| self.call(request));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = Box::pin(connection); // large, and one per connection
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = closing.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        request.extensions_mut().insert(self.closing.clone());
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        if service == ADS {
            self.ads.clone().call(request)
        } else if service == CA {
            self.ca.clone().call(request)
        } else {
            Box::pin(std::future::ready(Ok(Status::unimplemented("no such service").into_http())))
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A client that comes back names everything it holds: room for some 500,000 resources.
const REQUEST: usize = 64 << 20;
/// TLS handshakes under way at once; the next wait.
const HANDSHAKES: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
