//! One HTTP request over a connection that is there already.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::Error;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// Asks `whom` for a path.
pub(crate) async fn get<S>(stream: S, whom: &str, path: &str) -> Result<Answer, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let refused = |why: String| Error::Answer { whom: whom.to_owned(), path: path.to_owned(), why };
    let asked = timeout(LONGEST, exchange(stream, path)).await;
    asked.map_err(|_| refused(format!("no answer within {} seconds", LONGEST.as_secs())))?.map_err(refused)
}

async fn exchange<S>(stream: S, path: &str) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Ends with the sender.
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(http::header::HOST, "localhost")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|e| e.to_string())?;
    connection.abort();
    let body = String::from_utf8(body.to_bytes().into()).map_err(|e| e.to_string())?;
    Ok(Answer { status, body })
}

/// The dump of a large mesh takes a while to write.
const LONGEST: Duration = Duration::from_secs(30);
/// More than any mesh that one proxy can hold.
const LARGEST: usize = 1 << 30;
