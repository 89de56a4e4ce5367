//! Bytes go through, in any order, at any speed, and are counted.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::{Observer, relay_tcp};

#[tokio::test]
async fn the_opener_speaks_first() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    say(&mut talk.near, b"hello").await;
    hear(&mut talk.far, b"hello").await;
    say(&mut talk.far, b"good day").await;
    hear(&mut talk.near, b"good day").await;
}

#[tokio::test]
async fn the_opened_speaks_first() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    say(&mut talk.far, b"220 ready").await;
    hear(&mut talk.near, b"220 ready").await;
    say(&mut talk.near, b"HELO").await;
    hear(&mut talk.far, b"HELO").await;
}

#[tokio::test]
async fn the_tunnel_knows_its_peer_and_what_it_said() {
    let mesh = Mesh::usual().await;
    let tunnel = mesh.open().await.unwrap();
    assert_eq!(tunnel.peer(), &identity("server"));
    assert_eq!(tunnel.baggage(), Some("service.name=far"));
}

#[tokio::test]
async fn each_direction_ends_on_its_own() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    say(&mut talk.near, b"question").await;
    talk.near.shutdown().await.unwrap();
    hear(&mut talk.far, b"question").await;
    hear_fin(&mut talk.far).await;
    say(&mut talk.far, b"answer").await;
    hear(&mut talk.near, b"answer").await;
    drop(talk.far);
    hear_fin(&mut talk.near).await;
    assert_copied(&talk.relay.await.unwrap());
    assert_copied(&mesh.served().await);
    assert_eq!((talk.meter.sent(), talk.meter.received()), (8, 6));
    assert_eq!((talk.server_meter.sent(), talk.server_meter.received()), (8, 6));
}

#[tokio::test]
async fn the_opened_may_finish_first() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    talk.far.shutdown().await.unwrap();
    hear_fin(&mut talk.near).await;
    say(&mut talk.near, b"still here").await;
    hear(&mut talk.far, b"still here").await;
    drop(talk.near);
    hear_fin(&mut talk.far).await;
    assert_copied(&talk.relay.await.unwrap());
    assert_copied(&mesh.served().await);
}

#[tokio::test]
async fn plain_sockets_keep_half_closes_too() {
    let ((mut near, down), (up, mut far)) = (sockets().await, sockets().await);
    let meter = Arc::new(Meter::new());
    let relay = {
        let meter = Arc::clone(&meter);
        tokio::spawn(
            async move { relay_tcp::<()>(down, up, &meter, pending(), &RelayLimits::default()).await },
        )
    };
    say(&mut near, b"question").await;
    near.shutdown().await.unwrap();
    hear(&mut far, b"question").await;
    hear_fin(&mut far).await;
    say(&mut far, b"answer").await;
    drop(far);
    hear(&mut near, b"answer").await;
    hear_fin(&mut near).await;
    assert_copied(&relay.await.unwrap());
    assert_eq!((meter.sent(), meter.received()), (8, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_arrives_whole_in_both_directions() {
    let mut mesh = Mesh::usual().await;
    let talk = mesh.talk().await;
    exchange(talk.near, talk.far, 24 << 20).await;
    assert_copied(&talk.relay.await.unwrap());
    assert_eq!((talk.meter.sent(), talk.meter.received()), (24 << 20, 24 << 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_between_plain_sockets_arrives_whole() {
    let ((near, down), (up, far)) = (sockets().await, sockets().await);
    let relay = tokio::spawn(async move {
        relay_tcp::<()>(down, up, &Meter::new(), pending(), &RelayLimits::default()).await
    });
    exchange(near, far, 24 << 20).await;
    assert_copied(&relay.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_share_a_connection_without_mixing() {
    let mut mesh = Mesh::usual().await;
    let mut exchanges = Vec::new();
    for at in 0..40 {
        let talk = mesh.talk().await;
        exchanges.push(tokio::spawn(exchange(talk.near, talk.far, 100_000 + at)));
    }
    for exchange in exchanges {
        exchange.await.unwrap();
    }
    assert_eq!(mesh.dials(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_stops_the_writer_within_the_window() {
    const WINDOW: u32 = 256 << 10;
    const SIZE: usize = 32 << 20;
    let settings = Settings { stream_window: WINDOW, ..Settings::default() };
    let mut mesh = Mesh::new(settings, RelayLimits::default()).await;
    let Talk { mut near, mut far, meter, server_meter, relay: _relay } = mesh.talk().await;
    let writer = tokio::spawn(async move {
        near.write_all(&bytes(SIZE)).await.unwrap();
        near.shutdown().await.unwrap();
        near
    });
    // It stands still when neither side of the tunnel moves any more.
    let mut before = (0, 0);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = (meter.sent(), server_meter.sent());
        if now == before && now.0 > 0 {
            break;
        }
        before = now;
    }
    assert!(meter.sent() < SIZE as u64, "the writer was not held back");
    assert!(meter.sent() - server_meter.sent() <= u64::from(WINDOW));
    // A neighbor on the same connection is not held up.
    let mut neighbor = mesh.talk().await;
    say(&mut neighbor.near, b"hello").await;
    hear(&mut neighbor.far, b"hello").await;
    assert_eq!(mesh.dials(), 1);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert!(heard == bytes(SIZE), "the bytes changed on their way");
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn an_observer_hears_of_bytes_while_they_flow() {
    #[derive(Default)]
    struct Counts(AtomicU64, AtomicU64);
    impl Observer for Counts {
        fn sent(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::SeqCst);
        }
        fn received(&self, bytes: u64) {
            self.1.fetch_add(bytes, Ordering::SeqCst);
        }
    }
    let counts = Arc::new(Counts::default());
    let meter = Meter::observed(Arc::clone(&counts) as Arc<dyn Observer>);
    let ((mut near, down), (up, mut far)) = (sockets().await, sockets().await);
    let relay =
        tokio::spawn(
            async move { relay_tcp::<()>(down, up, &meter, pending(), &RelayLimits::default()).await },
        );
    say(&mut near, b"12345").await;
    hear(&mut far, b"12345").await;
    say(&mut far, b"123").await;
    hear(&mut near, b"123").await;
    eventually("both directions counted", || {
        (counts.0.load(Ordering::SeqCst), counts.1.load(Ordering::SeqCst)) == (5, 3)
    })
    .await;
    relay.abort();
}

#[tokio::test]
async fn futures_are_small() {
    let mut mesh = Mesh::usual().await;
    let tunnel = mesh.open().await.unwrap();
    let ((_near, app), (down, up)) = (sockets().await, sockets().await);
    let (meter, limits, settings) = (Meter::new(), RelayLimits::default(), Settings::default());
    let relay = tunnel.relay(app, &meter, pending::<()>(), &limits);
    let plain = relay_tcp(down, up, &meter, pending::<()>(), &limits);
    let (key, head) = (key("uid"), head());
    let open = mesh.pool.open(&key, || mesh.dial(), &head);
    let serve = serve(duplex(1).0, &settings, pending(), |_: Incoming| pending());
    let sizes = [size_of_val(&relay), size_of_val(&plain), size_of_val(&open), size_of_val(&serve)];
    assert!(sizes.iter().zip([768, 768, 1_536, 4_096]).all(|(size, most)| *size <= most), "{sizes:?}");
    drop((relay, open));
    drop(mesh.served().await);
}

/// Both ends say `size` bytes and hear the other's.
pub(super) async fn exchange(near: TcpStream, far: TcpStream, size: usize) {
    let talk = |stream: TcpStream| async move {
        let (mut read, mut write) = stream.into_split();
        let writing = async {
            write.write_all(&bytes(size)).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(writing, read.read_to_end(&mut heard));
        read.unwrap();
        assert!(heard == bytes(size), "the bytes changed on their way");
    };
    tokio::join!(talk(near), talk(far));
}
