//! Peers driven by hand.

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::*;

/// A server that answers every request with 200 and leaves the rest to the test.
pub(super) struct RawServer {
    streams: mpsc::UnboundedReceiver<RawStream>,
    task: JoinHandle<()>,
}

pub(super) struct RawStream {
    pub(super) send: SendStream<Bytes>,
    pub(super) recv: RecvStream,
}

/// A relay whose other side is a [`RawServer`].
pub(super) struct RawTalk {
    pub(super) near: TcpStream,
    pub(super) relay: JoinHandle<Relayed>,
    /// Dropped, it takes the tunnel with it.
    _pool: Arc<Pool>,
}

impl RawServer {
    pub(super) fn start(stream: DuplexStream) -> Self {
        let (tell, streams) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let send = respond.send_response(http::Response::new(()), false).unwrap();
                drop(tell.send(RawStream { send, recv: request.into_body() }));
            }
        });
        Self { streams, task }
    }

    /// Opens a tunnel to a new server and relays a socket through it.
    pub(super) async fn talk() -> (Self, RawTalk) {
        Self::talk_within(RelayLimits::default()).await
    }

    pub(super) async fn talk_within(limits: RelayLimits) -> (Self, RawTalk) {
        let pool = Arc::new(Pool::new(Settings::default()));
        let (ours, theirs) = duplex(64 << 10);
        let server = Self::start(theirs);
        let tunnel = pool.open(&key("raw"), once(ours), &head()).await.unwrap();
        let (near, app) = sockets().await;
        let relay = tokio::spawn(async move { tunnel.relay(app, &Meter::new(), pending(), &limits).await });
        (server, RawTalk { near, relay, _pool: pool })
    }

    pub(super) async fn answer(&mut self) -> RawStream {
        self.streams.recv().await.unwrap()
    }

    pub(super) fn vanish(self) {
        self.task.abort();
    }
}

/// A dial that brings this stream, and fails when asked again.
pub(super) fn once(
    stream: DuplexStream,
) -> impl Fn() -> std::future::Ready<Result<Dialed<DuplexStream>, NoRoute>> {
    each(vec![stream])
}

/// Dials that bring these streams, one after the other.
pub(super) fn each(
    streams: Vec<DuplexStream>,
) -> impl Fn() -> std::future::Ready<Result<Dialed<DuplexStream>, NoRoute>> {
    let left = parking_lot::Mutex::new(streams.into_iter());
    move || {
        std::future::ready(
            left.lock().next().map(|stream| Dialed::new(stream, identity("server"))).ok_or(NoRoute(0)),
        )
    }
}

/// A frame of RFC 9113, section 4.1.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Reads frames until one of this kind.
pub(super) async fn read_until(stream: &mut DuplexStream, kind: u8) -> Vec<u8> {
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.unwrap();
        let size = usize::from(header[1]) << 8 | usize::from(header[2]);
        let mut payload = vec![0; size];
        stream.read_exact(&mut payload).await.unwrap();
        if header[3] == kind {
            return payload;
        }
    }
}

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
