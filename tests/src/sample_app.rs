//! The sample application: a small HTTP/1.1 server that says its color.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Serves until `stop` resolves, then lets requests in flight end, for five seconds at most.
///
/// | path | answer |
/// |---|---|
/// | `/` | an HTML page that names the color |
/// | `/color` | the color, plain text |
/// | `/peer` | the client's address, as the server sees it |
/// | `/echo` | the request's body |
/// | `/big?bytes=N` | N bytes, streamed |
/// | `/healthz/live`, `/healthz/ready` | 200 |
pub async fn serve(listener: TcpListener, color: &str, stop: impl Future<Output = ()>) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let color: Bytes = color.to_owned().into();
    tokio::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut stop => break,
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let color = color.clone();
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                let color = color.clone();
                async move { Ok::<_, Infallible>(answer(request, peer, &color)) }
            }),
        );
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = watched.await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// The HTML page of a color; the demo looks for its text on the wire.
pub fn page(color: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>sample-app</title></head>\n\
         <body style=\"background: {color}\">\n<h1>sample-app is {color}</h1>\n</body>\n</html>\n"
    )
}

fn answer(request: Request<Incoming>, peer: SocketAddr, color: &Bytes) -> Answer {
    let method = request.method().clone();
    match (method, request.uri().path()) {
        (Method::POST | Method::PUT, "/echo") => {
            body(StatusCode::OK, BYTES, request.into_body().boxed_unsync())
        }
        (Method::GET | Method::HEAD, "/") => {
            full(StatusCode::OK, "text/html; charset=utf-8", page(&String::from_utf8_lossy(color)))
        }
        (Method::GET | Method::HEAD, "/color") => full(StatusCode::OK, TEXT, color.clone()),
        (Method::GET | Method::HEAD, "/peer") => full(StatusCode::OK, TEXT, peer.to_string()),
        (Method::GET | Method::HEAD, "/healthz/live" | "/healthz/ready") => {
            full(StatusCode::OK, TEXT, "ok\n")
        }
        (Method::GET, "/big") => match wanted(request.uri().query().unwrap_or_default()) {
            Some(bytes) => {
                let mut answer = body(StatusCode::OK, BYTES, Zeros { left: bytes }.boxed_unsync());
                answer.headers_mut().insert(CONTENT_LENGTH, bytes.into());
                answer
            }
            None => full(StatusCode::BAD_REQUEST, TEXT, "say how many: /big?bytes=1000\n"),
        },
        _ => full(StatusCode::NOT_FOUND, TEXT, "no such page\n"),
    }
}

fn wanted(query: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.strip_prefix("bytes="))?.parse().ok()
}

fn full(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    body(status, kind, Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}

fn body(status: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, hyper::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    answer
}

/// A body of so many zero digits, made while it is sent.
struct Zeros {
    left: u64,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        static CHUNK: [u8; 16384] = [b'0'; 16384];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let now = self.left.min(CHUNK.len() as u64);
        self.left -= now;
        let length = usize::try_from(now).expect("a chunk fits");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const GRACE: Duration = Duration::from_secs(5);
