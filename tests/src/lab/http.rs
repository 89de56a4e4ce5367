//! HTTP from inside a namespace: the real curl for what a person would see, a small client for what tools read.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::netns::Netns;
use super::process::Program;

/// How a run of curl ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curl {
    /// The exit code: 0, 7 for refused, 28 for too late, 52 for an empty answer, 56 for a reset.
    pub exit: i32,
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The body.
    pub body: String,
    /// What curl complained of.
    pub stderr: String,
}

/// Runs curl in `netns`, with ten seconds at most and no proxies of the caller's environment.
#[track_caller]
pub fn curl(netns: &Netns, args: &[&str]) -> Curl {
    let program = Program::new("curl")
        .args(["-sS", "--noproxy", "*", "--max-time", "10", "-w", "\n%{http_code}"])
        .args(args.iter().copied());
    let output = netns.run(|| {
        let mut command = program.command();
        command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start curl (is it installed?): {e}"))
    });
    let text = String::from_utf8_lossy(&output.stdout);
    let (body, status) = text.rsplit_once('\n').unwrap_or((&text, "0"));
    Curl {
        exit: output.status.code().unwrap_or(-1),
        status: status.trim().parse().unwrap_or(0),
        body: body.to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    }
}

/// Asks for a path from inside `netns`; the status and the body, or why there is none.
pub fn get(netns: &Netns, server: SocketAddr, path: &str) -> Result<(u16, String), String> {
    request(netns, server, "GET", path)
}

/// As [`get`], of a server on a Unix socket.
pub fn get_unix(socket: &Path, path: &str) -> Result<(u16, String), String> {
    let name = socket.display();
    let mut stream = UnixStream::connect(socket).map_err(|e| format!("connect to {name}: {e}"))?;
    stream.set_read_timeout(Some(LIMIT)).map_err(|e| format!("set a limit for {name}: {e}"))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .map_err(|e| format!("ask {name}: {e}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| format!("read {name}: {e}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{name} answers {answer:?}"))?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(|| format!("{name} answers {head:?}"))?, body.to_owned()))
}

/// As [`get`], with another method.
pub fn request(netns: &Netns, server: SocketAddr, method: &str, path: &str) -> Result<(u16, String), String> {
    let exchange = || async move {
        let stream = TcpStream::connect(server).await.map_err(|e| format!("connect to {server}: {e}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("speak HTTP with {server}: {e}"))?;
        tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", server.to_string())
            .body(Empty::<Bytes>::new())
            .map_err(|e| format!("a request for {path}: {e}"))?;
        let answer = sender.send_request(request).await.map_err(|e| format!("ask {server}{path}: {e}"))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|e| format!("read {server}{path}: {e}"))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    netns.block_on(|| async move {
        tokio::time::timeout(LIMIT, exchange())
            .await
            .unwrap_or_else(|_| Err(format!("{server}{path}: no answer in {LIMIT:?}")))
    })
}

const LIMIT: Duration = Duration::from_secs(10);
