//! RST stays RST, cuts are seen by both sides, and nobody waits forever.

use std::future::{pending, poll_fn, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::raw::RawServer;
use super::*;
use crate::relay_tcp;

fn impatient() -> RelayLimits {
    RelayLimits { half_closed: Duration::from_millis(20), flush: Duration::from_millis(20) }
}

#[tokio::test]
async fn a_reset_by_the_opener_is_a_reset_at_the_other_side() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    reset(talk.near);
    assert_eq!(hear_rst(&mut talk.far).await, b"");
    assert_reset(&talk.relay.await.unwrap(), Side::Downstream);
    assert_reset(&mesh.served().await, Side::Downstream);
}

#[tokio::test]
async fn a_reset_by_the_opened_is_a_reset_at_the_other_side() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    reset(talk.far);
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    assert_reset(&talk.relay.await.unwrap(), Side::Upstream);
    assert_reset(&mesh.served().await, Side::Upstream);
}

#[tokio::test]
async fn words_before_a_reset_arrive_before_it() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    say(&mut talk.far, b"413 too large").await;
    reset(talk.far);
    assert_eq!(hear_rst(&mut talk.near).await, b"413 too large");
}

#[tokio::test]
async fn a_reset_after_a_half_close_is_still_a_reset() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    talk.near.shutdown().await.unwrap();
    hear_fin(&mut talk.far).await;
    reset(talk.far);
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    assert_reset(&talk.relay.await.unwrap(), Side::Upstream);
    assert_reset(&mesh.served().await, Side::Upstream);
}

#[tokio::test]
async fn a_reset_between_plain_sockets_stays_one() {
    for side in [Side::Downstream, Side::Upstream] {
        let ((near, down), (up, far)) = (sockets().await, sockets().await);
        let relay = tokio::spawn(async move {
            relay_tcp::<()>(down, up, &Meter::new(), pending(), &RelayLimits::default()).await
        });
        let (resetter, mut witness) = match side {
            Side::Downstream => (near, far),
            Side::Upstream => (far, near),
        };
        reset(resetter);
        assert_eq!(hear_rst(&mut witness).await, b"");
        assert_reset(&relay.await.unwrap(), side);
    }
}

#[tokio::test]
async fn a_relay_does_not_ask_about_its_cut_for_every_piece() {
    let mut mesh = Mesh::usual().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let cut = poll_fn(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Poll::Pending
    });
    let mut talk = mesh.talk_until(cut).await;
    for _ in 0..100 {
        say(&mut talk.near, b"ping").await;
        hear(&mut talk.far, b"ping").await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cut_resets_both_sides() {
    let mut mesh = Mesh::usual().await;
    let (cut, cutting) = tokio::sync::oneshot::channel::<()>();
    let mut talk = mesh.talk_until(async move { drop(cutting.await) }).await;
    cut.send(()).unwrap();
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    assert_eq!(hear_rst(&mut talk.far).await, b"");
    let relayed = talk.relay.await.unwrap();
    assert!(matches!(relayed, Ok(Ended::Cut(()))), "{relayed:?}");
    assert_reset(&mesh.served().await, Side::Downstream);
}

#[tokio::test]
async fn a_cut_names_its_cause() {
    let ((mut near, down), (up, mut far)) = (sockets().await, sockets().await);
    let relayed = relay_tcp(down, up, &Meter::new(), ready("policy"), &RelayLimits::default()).await;
    assert!(matches!(relayed, Ok(Ended::Cut("policy"))), "{relayed:?}");
    assert_eq!(hear_rst(&mut near).await, b"");
    assert_eq!(hear_rst(&mut far).await, b"");
}

#[tokio::test]
async fn an_abandoned_relay_resets_both_sides() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    say(&mut talk.near, b"hello").await;
    hear(&mut talk.far, b"hello").await;
    talk.relay.abort();
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    assert_eq!(hear_rst(&mut talk.far).await, b"");
}

#[tokio::test]
async fn a_relay_abandoned_before_it_began_resets_both_sides() {
    let ((mut near, down), (up, mut far)) = (sockets().await, sockets().await);
    drop(relay_tcp(down, up, &Meter::new(), pending::<()>(), &RelayLimits::default()));
    assert_eq!(hear_rst(&mut near).await, b"");
    assert_eq!(hear_rst(&mut far).await, b"");
}

#[tokio::test]
async fn a_half_closed_tunnel_that_stands_still_is_cut() {
    let mut mesh = Mesh::new(Settings::default(), impatient()).await;
    let mut talk = mesh.talk().await;
    talk.near.shutdown().await.unwrap();
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    let ours = talk.relay.await.unwrap();
    let theirs = mesh.served().await;
    // Whoever is first resets the other.
    let timed_out = |relayed: &Relayed| matches!(relayed, Ok(Ended::HalfCloseTimeout));
    assert!(timed_out(&ours) || timed_out(&theirs), "{ours:?} {theirs:?}");
}

#[tokio::test]
async fn a_half_closed_pair_of_sockets_that_stands_still_is_cut() {
    let ((mut near, down), (up, mut far)) = (sockets().await, sockets().await);
    let meter = Meter::new();
    let limits = impatient();
    let relay = relay_tcp::<()>(down, up, &meter, pending(), &limits);
    far.shutdown().await.unwrap();
    let relayed = relay.await;
    assert!(matches!(relayed, Ok(Ended::HalfCloseTimeout)), "{relayed:?}");
    assert_eq!(hear_rst(&mut far).await, b"");
    // FIN came first, and that is what the kernel tells.
    hear_fin(&mut near).await;
}

#[tokio::test]
async fn an_application_that_takes_nothing_does_not_hold_a_reset_tunnel() {
    let (mut server, talk) = RawServer::talk_within(impatient()).await;
    let mut stream = server.answer().await;
    // Until the application's buffers and the window are full.
    stream.send.reserve_capacity(1 << 20);
    let still = Duration::from_millis(200);
    while let Ok(room) = tokio::time::timeout(still, poll_fn(|cx| stream.send.poll_capacity(cx))).await {
        stream.send.send_data(bytes(room.unwrap().unwrap()).into(), false).unwrap();
        stream.send.reserve_capacity(1 << 20);
    }
    stream.send.send_reset(h2::Reason::CANCEL);
    assert_reset(&talk.relay.await.unwrap(), Side::Upstream);
    drop(talk.near);
}

#[tokio::test]
async fn an_application_reset_is_a_connect_error_on_the_wire() {
    let (mut server, mut talk) = RawServer::talk().await;
    let mut stream = server.answer().await;
    say(&mut talk.near, b"x").await;
    assert_eq!(stream.recv.data().await.unwrap().unwrap(), "x");
    reset(talk.near);
    let error = stream.recv.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CONNECT_ERROR));
}

#[tokio::test]
async fn a_cut_is_a_cancel_on_the_wire() {
    let (mut server, talk) = RawServer::talk().await;
    let mut stream = server.answer().await;
    talk.relay.abort();
    let error = stream.recv.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn any_reset_by_the_peer_resets_the_application() {
    for reason in [h2::Reason::CANCEL, h2::Reason::CONNECT_ERROR, h2::Reason::NO_ERROR] {
        let (mut server, mut talk) = RawServer::talk().await;
        let mut stream = server.answer().await;
        stream.send.send_data("last words".into(), false).unwrap();
        hear(&mut talk.near, b"last words").await;
        stream.send.send_reset(reason);
        assert_eq!(hear_rst(&mut talk.near).await, b"", "{reason}");
        assert_reset(&talk.relay.await.unwrap(), Side::Upstream);
    }
}

#[tokio::test]
async fn a_peer_that_has_said_everything_and_wants_no_more_ends_the_relay_well() {
    let (mut server, mut talk) = RawServer::talk().await;
    let mut stream = server.answer().await;
    stream.send.send_data("everything".into(), true).unwrap();
    // Lets go of a stream whose client has not finished: RST_STREAM with NO_ERROR, behind END_STREAM.
    drop(stream);
    hear(&mut talk.near, b"everything").await;
    hear_fin(&mut talk.near).await;
    assert_copied(&talk.relay.await.unwrap());
}

#[tokio::test]
async fn a_dead_connection_is_an_error_and_resets_the_application() {
    let (mut server, mut talk) = RawServer::talk().await;
    let stream = server.answer().await;
    server.vanish();
    assert_eq!(hear_rst(&mut talk.near).await, b"");
    let relayed = talk.relay.await.unwrap();
    assert!(matches!(relayed, Err(RelayError::Tunnel { side: Side::Upstream, .. })), "{relayed:?}");
    drop(stream);
}
