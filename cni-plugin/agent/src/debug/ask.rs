//! The other end of the debug socket, for who has a shell in the agent's pod and no HTTP client.

use std::path::Path;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::SOCKET_NAME;

/// What to ask a running agent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Every pod of this node, and where its enrollment stands
    Pods,
    /// Which proxy serves which pods
    Zds,
    /// The plugin on this node
    Install,
}

impl Part {
    const fn path(self) -> &'static str {
        match self {
            Self::Pods => "/debug/pods",
            Self::Zds => "/debug/zds",
            Self::Install => "/debug/install",
        }
    }
}

/// Why a running agent did not tell.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent answers at {path}: is one running, with this run directory?")]
    Connect {
        /// The socket.
        path: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// What it answers is no HTTP.
    #[error("ask the agent")]
    Http(#[source] hyper::Error),
    /// The request cannot be written.
    #[error("ask the agent")]
    Request(#[source] http::Error),
    /// It refuses.
    #[error("the agent answers {status}: {text}")]
    Refused {
        /// With this status.
        status: StatusCode,
        /// And these words.
        text: String,
    },
    /// It does not answer in time.
    #[error("the agent does not answer within {} seconds", LONGEST.as_secs())]
    Late,
}

/// What the agent with this run directory says, as JSON.
///
/// # Errors
/// There is none, or it does not say.
pub async fn ask(run_dir: &Path, part: Part) -> Result<String, AskError> {
    timeout(LONGEST, exchange(run_dir, part)).await.map_err(|_| AskError::Late)?
}

async fn exchange(run_dir: &Path, part: Part) -> Result<String, AskError> {
    let path = run_dir.join(SOCKET_NAME);
    let stream = UnixStream::connect(&path)
        .await
        .map_err(|source| AskError::Connect { path: path.display().to_string(), source })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Http)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(part.path()).header(http::header::HOST, "localhost");
    let request = request.body(Empty::<Bytes>::new()).map_err(AskError::Request)?;
    let answer = sender.send_request(request).await.map_err(AskError::Http)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(AskError::Http)?.to_bytes();
    connection.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK { Ok(text) } else { Err(AskError::Refused { status, text }) }
}

const LONGEST: Duration = Duration::from_secs(20);
