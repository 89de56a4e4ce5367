//! Who shares a connection, a dial, an error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::raw::{self, GOAWAY, HEADERS, PREFACE, RST_STREAM, RawServer, SETTINGS, frame, read_until};
use super::*;

#[tokio::test]
async fn a_full_connection_makes_room_for_a_second_and_comes_back() {
    let mesh =
        Mesh::new(Settings { pool_max_streams: 2, ..Settings::default() }, RelayLimits::default()).await;
    let first = mesh.open().await.unwrap();
    let _second = mesh.open().await.unwrap();
    assert_eq!(mesh.dials(), 1);
    let _third = mesh.open().await.unwrap();
    assert_eq!((mesh.dials(), mesh.pool.connections()), (2, 2));
    drop(first);
    let _fourth = mesh.open().await.unwrap();
    let _fifth = mesh.open().await.unwrap();
    assert_eq!((mesh.dials(), mesh.pool.connections()), (2, 2));
}

#[tokio::test]
async fn the_peers_own_limit_is_kept() {
    let mesh = Mesh::new(Settings { max_streams: 3, ..Settings::default() }, RelayLimits::default()).await;
    let opened = [mesh.open(), mesh.open(), mesh.open(), mesh.open(), mesh.open(), mesh.open(), mesh.open()];
    let mut tunnels = Vec::new();
    for tunnel in opened {
        tunnels.push(tunnel.await.unwrap());
    }
    assert_eq!((mesh.dials(), mesh.pool.connections()), (3, 3));
}

#[tokio::test]
async fn openers_beyond_the_first_connections_limit_get_further_ones() {
    let mesh = Mesh::new(Settings { max_streams: 2, ..Settings::default() }, RelayLimits::default()).await;
    let (a, b, c, d, e) = tokio::join!(mesh.open(), mesh.open(), mesh.open(), mesh.open(), mesh.open());
    for tunnel in [&a, &b, &c, &d, &e] {
        assert!(tunnel.is_ok(), "{tunnel:?}");
    }
    assert_eq!(mesh.pool.connections(), 3);
}

#[tokio::test]
async fn different_keys_never_share() {
    let mesh = Mesh::usual().await;
    let other = PoolKey { source_ip: "10.0.0.9".parse().unwrap(), ..key("uid") };
    for key in [key("uid"), key("its successor"), other] {
        mesh.pool.open(&key, || mesh.dial(), &head()).await.unwrap();
    }
    assert_eq!(mesh.dials(), 3);
}

#[tokio::test]
async fn a_revoked_peer_is_cut_off_and_the_next_stream_dials_again() {
    let mut mesh = Mesh::usual().await;
    let revoked = Arc::new(Notify::new());
    let dial = || {
        let (dialing, revoked) = (mesh.dial(), Arc::clone(&revoked));
        async move {
            let mut dialed = dialing.await?;
            dialed.revoked = Box::pin(async move { revoked.notified().await });
            Ok::<_, NoRoute>(dialed)
        }
    };
    let tunnel = mesh.pool.open(&key("uid"), dial, &head()).await.unwrap();
    let (near, app) = sockets().await;
    let (cut, limits) = (tunnel.revoked(), mesh.limits);
    let relay = tokio::spawn(async move { tunnel.relay(app, &Meter::new(), cut, &limits).await });
    revoked.notify_one();
    let ended = relay.await.unwrap();
    assert!(matches!(ended, Ok(Ended::Cut(()))), "{ended:?}");
    hear_rst(&mut { near }).await;
    assert_eq!(mesh.pool.connections(), 0);
    assert!(mesh.closed.recv().await.unwrap().is_ok(), "the server sees an end");
    mesh.open().await.unwrap();
    assert_eq!(mesh.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_revoked_peer_has_not_answered_ends_as_revoked() {
    let pool = Pool::new(Settings::default());
    let (ours, theirs) = duplex(64 << 10);
    let revoked = Arc::new(Notify::new());
    let ours = parking_lot::Mutex::new(Some(ours));
    let dial = || {
        let (stream, revoked) = (ours.lock().take().unwrap(), Arc::clone(&revoked));
        let revoked = Box::pin(async move { revoked.notified().await });
        async move { Ok::<_, NoRoute>(Dialed { revoked, ..Dialed::new(stream, identity("server")) }) }
    };
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(theirs).await.unwrap();
        let request = connection.accept().await.unwrap().unwrap();
        (connection.accept().await.is_none(), request)
    });
    let head = head();
    let key = key("uid");
    let (opened, ()) = tokio::join!(pool.open(&key, dial, &head), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        revoked.notify_one();
    });
    let error = opened.unwrap_err();
    assert!(matches!(error, TunnelError::Revoked), "{error:?}");
    assert_eq!(error.reason(), Reason::Revoked);
    drop(server);
}

#[tokio::test]
async fn openers_share_one_dial_and_its_error() {
    let pool = Pool::new(Settings::default());
    let (dials, gate) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let dial = || {
        let (number, gate) = (dials.fetch_add(1, Ordering::SeqCst) + 1, Arc::clone(&gate));
        async move {
            gate.notified().await;
            Err::<Dialed<DuplexStream>, _>(NoRoute(number))
        }
    };
    let key = key("uid");
    let head = head();
    let open = || pool.open(&key, dial, &head);
    let later = async {
        tokio::task::yield_now().await;
        gate.notify_one();
    };
    let (a, b, c, ()) = tokio::join!(open(), open(), open(), later);
    for refused in [a, b, c] {
        let error = refused.unwrap_err();
        assert!(matches!(error, TunnelError::Dial(_)), "{error:?}");
        assert_eq!(error.to_string(), "dial number 1 failed");
        assert_eq!(error.reason(), Reason::ConnectFailed);
    }
    // Nobody inherits a failure that was over before they came.
    gate.notify_one();
    let error = open().await.unwrap_err();
    assert_eq!(error.to_string(), "dial number 2 failed");
}

#[tokio::test]
async fn an_opener_that_leaves_does_not_take_the_dial_along() {
    let mesh = Mesh::usual().await;
    let gate = Arc::new(Notify::new());
    let dial = || {
        let (gate, dial) = (Arc::clone(&gate), mesh.dial());
        async move {
            gate.notified().await;
            dial.await
        }
    };
    let (key, head) = (key("uid"), head());
    let mut first = Box::pin(mesh.pool.open(&key, dial, &head));
    let mut second = Box::pin(mesh.pool.open(&key, dial, &head));
    assert!(now(&mut first).await.is_none());
    assert!(now(&mut second).await.is_none());
    drop(first);
    gate.notify_one();
    second.await.unwrap();
    assert_eq!(mesh.dials(), 1);
}

#[tokio::test]
async fn a_dial_that_panics_is_told_to_its_openers() {
    let pool = Pool::new(Settings::default());
    let dial = || async {
        assert!(identity("x").to_string().is_empty(), "on purpose");
        Err::<Dialed<DuplexStream>, _>(NoRoute(0))
    };
    let error = pool.open(&key("uid"), dial, &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::Abandoned), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_keeps_the_connection() {
    let pool = Pool::new(Settings::default());
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let handler = |incoming: Incoming| async move { incoming.refuse(401) };
        serve(theirs, &Settings::default(), pending(), handler).await
    });
    let dial = raw::once(ours);
    for _ in 0..300 {
        let error = pool.open(&key("uid"), &dial, &head()).await.unwrap_err();
        assert_eq!(error.to_string(), "http status: 401 Unauthorized");
        assert_eq!(error.reason(), Reason::PeerRefused);
    }
    assert_eq!(pool.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_settings_is_given_up() {
    let pool = Pool::new(Settings::default());
    let (ours, _theirs) = duplex(64 << 10);
    let error = pool.open(&key("uid"), raw::once(ours), &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::SettingsTimeout { .. }), "{error:?}");
    assert_eq!(pool.connections(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_before_settings_is_a_failed_handshake() {
    let pool = Pool::new(Settings::default());
    let (ours, theirs) = duplex(64 << 10);
    drop(theirs);
    let error = pool.open(&key("uid"), raw::once(ours), &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::Handshake { .. }), "{error:?}");
    assert_eq!(error.reason(), Reason::TunnelFailed);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up_and_the_connection_stays() {
    let pool = Pool::new(Settings::default());
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move {
        let handler = |mut incoming: Incoming| async move { incoming.withdrawn().await };
        serve(theirs, &Settings::default(), pending(), handler).await
    });
    let error = pool.open(&key("uid"), raw::once(ours), &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::ResponseTimeout { .. }), "{error:?}");
    assert_eq!(pool.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_dead() {
    let pool = Pool::new(Settings::default());
    let (ours, mut theirs) = duplex(64 << 10);
    theirs.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let error = pool.open(&key("uid"), raw::once(ours), &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::ResponseTimeout { .. }), "{error:?}");
    eventually("the connection left the pool", || pool.connections() == 0).await;
}

#[tokio::test]
async fn what_cannot_be_a_header_is_not_dialed_for() {
    let mesh = Mesh::usual().await;
    let bad = ConnectHead { forwarded: "for=\"\n\"".to_owned(), ..head() };
    let error = mesh.pool.open(&key("uid"), || mesh.dial(), &bad).await.unwrap_err();
    assert!(matches!(error, TunnelError::Head { field: "forwarded" }), "{error:?}");
    assert_eq!(mesh.dials(), 0);
}

#[tokio::test]
async fn a_connection_told_to_go_away_takes_no_new_stream() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    mesh.drain.send(1).unwrap();
    // The server says so in its own time; a stream that crosses the message is served on the old connection.
    let mut crossing = Vec::new();
    while mesh.dials() == 1 {
        crossing.push(mesh.open().await.unwrap());
        tokio::task::yield_now().await;
    }
    say(&mut talk.near, b"still").await;
    hear(&mut talk.far, b"still").await;
}

/// A peer that resets its first stream, or goes away before it, and says nothing else.
async fn unwilling(mut stream: DuplexStream, kind: u8, payload: &[u8]) {
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await.unwrap();
    read_until(&mut stream, HEADERS).await;
    let id = if kind == RST_STREAM { 1 } else { 0 };
    stream.write_all(&frame(kind, 0, id, payload)).await.unwrap();
    // What is written now is read before the end of the connection.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_request_that_was_not_processed_is_made_once_more_on_a_fresh_connection() {
    let refused: (u8, &[u8]) = (RST_STREAM, &[0, 0, 0, 7]);
    let gone: (u8, &[u8]) = (GOAWAY, &[0; 8]);
    for (kind, payload) in [refused, gone] {
        let pool = Pool::new(Settings::default());
        let ((ours, theirs), (ours_again, theirs_again)) = (duplex(64 << 10), duplex(64 << 10));
        let unwilling = tokio::spawn(async move { unwilling(theirs, kind, payload).await });
        let _willing = RawServer::start(theirs_again);
        pool.open(&key("uid"), raw::each(vec![ours, ours_again]), &head()).await.unwrap();
        unwilling.abort();
    }
}

#[tokio::test]
async fn a_request_is_made_no_more_than_twice() {
    let pool = Pool::new(Settings::default());
    let mut ours = Vec::new();
    for _ in 0..3 {
        let (our, their) = duplex(64 << 10);
        ours.push(our);
        tokio::spawn(unwilling(their, RST_STREAM, &[0, 0, 0, 7]));
    }
    let error = pool.open(&key("uid"), raw::each(ours), &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::Lost { unprocessed: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_costs_nobody_a_tunnel() {
    let pool = Pool::new(Settings::default());
    let ((ours, theirs), (ours_again, theirs_again)) = (duplex(64 << 10), duplex(64 << 10));
    let dial = raw::each(vec![ours, ours_again]);
    let dying = RawServer::start(theirs);
    let _next = RawServer::start(theirs_again);
    drop(pool.open(&key("uid"), &dial, &head()).await.unwrap());
    dying.vanish();
    pool.open(&key("uid"), &dial, &head()).await.unwrap();
    assert_eq!(pool.connections(), 1);
}

/// A connection on which TLS finds a refusal of our certificate, once the handshake is over.
struct Rejected;

impl AsyncRead for Rejected {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "received fatal alert: CertificateUnknown",
        )))
    }
}

impl AsyncWrite for Rejected {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_server_that_rejects_our_certificate_late_is_a_failure_of_tls() {
    let pool = Pool::new(Settings::default());
    let dial = || async { Ok::<_, NoRoute>(Dialed::new(Rejected, identity("server"))) };
    let error = pool.open(&key("uid"), dial, &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::Handshake { .. }), "{error:?}");
    assert_eq!(error.reason(), Reason::TlsFailed);
}

#[tokio::test]
async fn a_reset_that_may_have_been_processed_is_final() {
    let pool = Pool::new(Settings::default());
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(unwilling(theirs, RST_STREAM, &[0, 0, 0, 8]));
    let error = pool.open(&key("uid"), raw::once(ours), &head()).await.unwrap_err();
    assert!(matches!(error, TunnelError::Lost { unprocessed: false, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_is_closed_after_its_time() {
    let mut mesh = Mesh::usual().await;
    let tunnel = mesh.open().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(mesh.pool.connections(), 1);
    drop(tunnel);
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(mesh.pool.connections(), 1);
    mesh.closed.recv().await.unwrap().unwrap();
    assert_eq!(mesh.pool.connections(), 0);
}

#[tokio::test]
async fn only_so_many_idle_connections_are_kept() {
    let mesh = Mesh::new(Settings { pool_max_idle: 2, ..Settings::default() }, RelayLimits::default()).await;
    let mut tunnels = Vec::new();
    for uid in ["a", "b", "c", "d"] {
        tunnels.push(mesh.pool.open(&key(uid), || mesh.dial(), &head()).await.unwrap());
    }
    assert_eq!(mesh.pool.connections(), 4);
    drop(tunnels);
    assert_eq!(mesh.pool.connections(), 2);
    // The ones used last are left.
    mesh.pool.open(&key("d"), || mesh.dial(), &head()).await.unwrap();
    assert_eq!(mesh.dials(), 4);
    mesh.pool.open(&key("a"), || mesh.dial(), &head()).await.unwrap();
    assert_eq!(mesh.dials(), 5);
}

#[tokio::test]
async fn a_pool_takes_everything_with_it() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    let pool = std::mem::replace(&mut mesh.pool, Arc::new(Pool::new(Settings::default())));
    drop(Arc::into_inner(pool).unwrap());
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    assert_eq!(hear_rst(&mut talk.far).await, b"");
    let relayed = talk.relay.await.unwrap();
    assert!(matches!(relayed, Err(RelayError::Tunnel { .. })), "{relayed:?}");
}
