//! HTTP/2 from a peer that holds a certificate of the mesh and sends what it likes.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy_core::Reason;
use proxy_core::model::Identity;
use proxy_core::wire::{baggage, forwarded, hbone, traceparent::Traceparent};
use proxy_hbone::{ConnectHead, DialError, Dialed, Incoming, Pool, PoolKey, Settings, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// A server ends with its client, runs no more handlers than it may, and answers no more than it is asked.
pub(super) fn server(bytes: &[u8]) {
    let handlers = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let settings = Settings { max_streams: 4, ..Settings::default() };
    let handler = {
        let (handlers, most) = (Arc::clone(&handlers), Arc::clone(&most));
        move |incoming: Incoming| {
            most.fetch_max(handlers.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let handlers = Arc::clone(&handlers);
            async move {
                judge(incoming);
                handlers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    };
    let answered = runtime().block_on(async {
        let (client, server) = duplex(64 << 10);
        let serving = timeout(LIMIT, serve(server, &settings, pending(), handler));
        let (ended, answered) = tokio::join!(serving, converse(client, &[PREFACE, EMPTY_SETTINGS], bytes));
        assert!(ended.is_ok(), "the server outlives its client");
        answered
    });
    assert!(most.load(Ordering::Relaxed) <= 8, "{most:?} handlers");
    assert_eq!(handlers.load(Ordering::Relaxed), 0, "handlers are left behind");
    assert!(answered <= 4_096 + 64 * bytes.len(), "{answered} bytes for {}", bytes.len());
}

/// What the proxy does with a request before it asks for policy.
fn judge(incoming: Incoming) {
    let authority = hbone::request(incoming.method(), incoming.authority());
    let header = |name| incoming.header(name);
    let _ = (header("baggage").map(baggage::parse), header("forwarded").map(forwarded::parse));
    let _ = header("traceparent").and_then(|h| str::from_utf8(h).ok()).map(str::parse::<Traceparent>);
    match authority {
        Err(error) => incoming.refuse(error.reason().status().expect("a status")),
        Ok(authority) if authority.port() % 2 == 0 => drop(incoming),
        Ok(_) => drop(incoming.accept(Some("service.name=far"))),
    }
}

/// A client ends with its server, whatever that answers.
pub(super) fn client(bytes: &[u8]) {
    let asked = runtime().block_on(async {
        let (server, ours) = duplex(64 << 10);
        let pool = Pool::new(Settings::default());
        let ours = parking_lot::Mutex::new(Some(Dialed::new(ours, identity("server"))));
        let dial = || std::future::ready(ours.lock().take().ok_or(Gone));
        let (key, head) = (key(), head());
        let opening = timeout(LIMIT, pool.open(&key, dial, &head));
        let (opened, asked) = tokio::join!(opening, converse(server, &[EMPTY_SETTINGS], bytes));
        let opened = opened.expect("the client outlives its server");
        if let Ok(tunnel) = &opened {
            assert_eq!(tunnel.peer(), &identity("server"));
        }
        asked
    });
    assert!(asked <= 4_096 + 64 * bytes.len(), "{asked} bytes for {}", bytes.len());
}

/// Says all, listens to the end, and answers how many bytes there were to hear. An odd first byte skips the beginnings.
async fn converse(stream: DuplexStream, beginnings: &[&[u8]], bytes: &[u8]) -> usize {
    let (mut hear, mut say) = tokio::io::split(stream);
    let saying = async {
        let (first, rest) = bytes.split_first().unwrap_or((&1, bytes));
        if first % 2 == 0 {
            for beginning in beginnings {
                say.write_all(beginning).await?;
            }
        }
        say.write_all(rest).await?;
        say.shutdown().await
    };
    let hearing = async {
        let mut heard = Vec::new();
        let _ = hear.read_to_end(&mut heard).await;
        heard.len()
    };
    // Its error says that the other side hung up first.
    let (_, heard) = tokio::join!(saying, hearing);
    heard
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

#[derive(Debug, thiserror::Error)]
#[error("there is only one connection")]
struct Gone;

impl DialError for Gone {
    fn reason(&self) -> Reason {
        Reason::ConnectFailed
    }
}

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "ns", name)
}

fn key() -> PoolKey {
    PoolKey {
        source: identity("client"),
        expected: vec![identity("server")],
        next_hop: "10.0.0.2:15008".parse().expect("an address"),
        source_ip: "10.0.0.1".parse().expect("an address"),
        workload_uid: None,
    }
}

fn head() -> ConnectHead {
    ConnectHead {
        authority: "10.0.0.2:80".parse().expect("an authority"),
        baggage: "service.name=near".to_owned(),
        forwarded: "for=\"10.0.0.1:4711\"".to_owned(),
        traceparent: Traceparent::new(1, 1).to_string(),
        network: None,
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Nothing here waits for anything but bytes that are there.
const LIMIT: Duration = Duration::from_secs(20);
