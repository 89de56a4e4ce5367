//! One HTTP/2 connection to a control-plane service, made by hand so that every way it can fail has its own error.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::Scheme;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::error::{ChannelError, Report};
use crate::tls;

/// A connection that gRPC calls can be made on; closes when it is dropped and its calls have ended.
pub(crate) struct Transport {
    send: http2::SendRequest<tonic::body::Body>,
    open: Arc<watch::Sender<()>>,
}

/// Connects, with roots as they are at this moment.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Transport, ChannelError> {
    let uri = &endpoint.uri;
    let bad = || ChannelError::Uri { uri: uri.to_string() };
    let host = uri.host().ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;
            let config = tls::config(endpoint).await?;
            let tcp = dial(uri, host, uri.port_u16().unwrap_or(443)).await?;
            let tls = Box::pin(handshake(endpoint, config, name, tcp)).await?;
            Box::pin(begin(endpoint, tls)).await
        }
        Some(scheme) if *scheme == Scheme::HTTP => {
            let tcp = dial(uri, host, uri.port_u16().unwrap_or(80)).await?;
            Box::pin(begin(endpoint, tcp)).await
        }
        _ => Err(bad()),
    }
}

/// Tries the host's addresses in turn; each gets its share of the time that is left.
async fn dial(uri: &http::Uri, host: &str, port: u16) -> Result<TcpStream, ChannelError> {
    let late = |step, after| ChannelError::Timeout { step, uri: uri.to_string(), after };
    let deadline = Instant::now() + CONNECT;
    let found = timeout(CONNECT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| late("resolve", CONNECT))?
        .map_err(|source| ChannelError::Resolve { host: host.to_owned(), source })?;
    let mut addresses: Vec<SocketAddr> = found.take(ADDRESSES).collect();
    addresses.reverse();
    let mut last = ChannelError::NoAddress { host: host.to_owned() };
    while let Some(address) = addresses.pop() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
        let connected = match timeout(share, TcpStream::connect(address)).await {
            Ok(connected) => connected.and_then(|tcp| tune(&tcp).map(|()| tcp)),
            Err(_) => {
                last = late("connect to", share);
                continue;
            }
        };
        match connected {
            Ok(tcp) => return Ok(tcp),
            Err(source) => last = ChannelError::Connect { host: host.to_owned(), address, source },
        }
    }
    Err(last)
}

fn tune(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(300))
        .with_interval(Duration::from_secs(75))
        .with_retries(9);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

async fn handshake(
    endpoint: &Endpoint,
    config: rustls::ClientConfig,
    name: ServerName<'static>,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ChannelError> {
    let uri = || endpoint.uri.to_string();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let stream = match timeout(HANDSHAKE, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(refused(endpoint, source)),
        Err(_) => {
            return Err(ChannelError::Timeout { step: "TLS handshake with", uri: uri(), after: HANDSHAKE });
        }
    };
    if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
        return Err(ChannelError::NotHttp2 { uri: uri() });
    }
    Ok(stream)
}

fn refused(endpoint: &Endpoint, source: std::io::Error) -> ChannelError {
    let uri = endpoint.uri.to_string();
    match source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            ChannelError::Untrusted { uri, roots: endpoint.trust_text(), source: error.clone() }
        }
        Some(rustls::Error::NoApplicationProtocol) => ChannelError::NotHttp2 { uri },
        _ => ChannelError::Handshake { uri, source },
    }
}

async fn begin<T>(endpoint: &Endpoint, stream: T) -> Result<Transport, ChannelError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (open, used) = watch::channel(());
    let executor = WhileUsed { used };
    let (send, connection) = http2::Builder::new(executor.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ChannelError::Http2 { uri: endpoint.uri.to_string(), source })?;
    executor.execute(async move {
        if let Err(error) = connection.await {
            tracing::debug!("control plane connection ended: {}", Report(&error));
        }
    });
    Ok(Transport { send, open: Arc::new(open) })
}

/// Runs a connection's tasks, and ends them soon after the last of its users is gone: a peer that has gone silent must
/// not keep the socket until TCP gives up.
#[derive(Clone)]
struct WhileUsed {
    used: watch::Receiver<()>,
}

impl<F> Executor<F> for WhileUsed
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut used = self.used.clone();
        let unused = async move {
            // Nothing is ever sent: the channel only closes.
            used.changed().await.ok();
            sleep(GOODBYE).await;
        };
        tokio::spawn(async move {
            tokio::select! {
                () = task => (),
                () = unused => (),
            }
        });
    }
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Transport {
    type Response = http::Response<ResponseBody>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Broken>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.send.poll_ready(cx).map_err(Broken)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let response = self.send.send_request(request);
        let open = Arc::clone(&self.open);
        Box::pin(
            async move { Ok(response.await.map_err(Broken)?.map(|body| ResponseBody { body, _open: open })) },
        )
    }
}

/// A response's body, whose errors say that the connection broke, not that the peer answered so.
pub(crate) struct ResponseBody {
    body: Incoming,
    _open: Arc<watch::Sender<()>>,
}

impl Body for ResponseBody {
    type Data = hyper::body::Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The connection failed under a call. It hides its cause, so that tonic keeps it as a cause of its own statuses instead
/// of guessing a gRPC code from HTTP/2's.
#[derive(Debug)]
pub(crate) struct Broken(hyper::Error);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Report(&self.0).fmt(f)
    }
}

impl Error for Broken {}

/// For name and address together.
const CONNECT: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the last frames of a connection that is no longer used.
const GOODBYE: Duration = Duration::from_secs(5);
/// Addresses of one host that are tried.
const ADDRESSES: usize = 16;
