//! A small HTTP/1.1 server, for admin, metrics and readiness: bounded connections, bounded headers, a stop signal.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

mod packing;
#[cfg(test)]
mod tests;

pub(crate) use packing::Packing;

/// Connections served at once; further ones wait to be accepted.
const CONNECTIONS: usize = 128;
/// No connection takes longer: readers that never read would use up all there are. The longest profile takes five minutes.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);
pub(crate) const LONGEST_OF_ADMIN: Duration = Duration::from_secs(330);

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Listens on each address.
///
/// # Errors
/// One of them cannot be bound; the message names it.
pub(crate) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener =
            TcpListener::bind(address).await.map_err(|source| BindError { address: *address, source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A server of the process itself cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// Serves until `stop`, and no connection for longer than `longest`; a request in progress is finished.
pub(crate) async fn serve<H, F>(listener: TcpListener, stop: CancellationToken, longest: Duration, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Ok((stream, slot)) = accepted else {
            // Out of descriptors: wait for some to be closed instead of spinning.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (handler, stop) = (handler.clone(), stop.clone());
        tokio::spawn(async move {
            converse(TokioIo::new(stream), stop, longest, handler).await;
            drop(slot);
        });
    }
}

/// Serves one connection.
async fn converse<S, H, F>(stream: S, stop: CancellationToken, longest: Duration, handler: H)
where
    S: Read + Write + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(2))
        .max_buf_size(8 * 1024)
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = timeout(longest, async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    });
    match ended.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("HTTP connection ended: {error}"),
        Err(_) => tracing::debug!("HTTP connection cut after {longest:?}"),
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

/// Bodies that are large: built on a thread that may block, and only so many held at once.
#[derive(Debug, Clone)]
pub(crate) struct Large(Arc<Semaphore>);

impl Large {
    pub(crate) fn at_most(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// What `build` makes. It counts as held until its client has taken it or is cut off; whoever comes when all are held waits.
    /// `None` when the process is ending, or when `build` panicked.
    pub(crate) async fn build(
        &self,
        build: impl FnOnce() -> Option<Vec<u8>> + Send + 'static,
    ) -> Option<Bytes> {
        let slot = Arc::clone(&self.0).acquire_owned().await.ok()?;
        let bytes = tokio::task::spawn_blocking(build).await.ok()??;
        Some(Bytes::from_owner(Held { bytes, _slot: slot }))
    }
}

struct Held {
    bytes: Vec<u8>,
    _slot: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a client accepts by a header such as `Accept`, each with its weight (RFC 9110 12.4.2).
pub(crate) fn accepted<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = (&'h str, f32)> + use<'h> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let what = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (what, weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0))
    })
}

/// A text answer.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, "text/plain; charset=utf-8", body)
}

/// An answer of the given content type.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}
