//! What a server bears from its clients.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};

use super::raw::{self, PREFACE};
use super::*;

type Serving = JoinHandle<Result<(), TunnelError>>;

/// A server with this handler, and a client of it driven by hand.
async fn started<F>(
    settings: Settings,
    drain: impl Future<Output = ()> + Send + 'static,
    handler: impl Fn(Incoming) -> F + Send + Sync + 'static,
) -> (SendRequest<Bytes>, Serving)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = duplex(64 << 10);
    let serving = tokio::spawn(async move { serve(theirs, &settings, drain, handler).await });
    let (requests, connection) = h2::client::handshake(ours).await.unwrap();
    tokio::spawn(connection);
    (requests, serving)
}

fn connect_to(authority: &str) -> Request<()> {
    Request::builder().method(Method::CONNECT).uri(authority).body(()).unwrap()
}

/// Answers according to the authority's host.
async fn as_told(incoming: Incoming) {
    match incoming.authority() {
        Some("panic:80") => panic!("on purpose"),
        Some("refuse:80") => incoming.refuse(503),
        _ => {
            let (_app, socket) = sockets().await;
            let tunnel = incoming.accept(None).unwrap();
            drop(tunnel.relay(socket, &Meter::new(), pending::<()>(), &RelayLimits::default()).await);
        }
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |incoming: Incoming| {
        let seen = [
            incoming.method().as_bytes().to_vec(),
            incoming.authority().unwrap().as_bytes().to_vec(),
            incoming.header("baggage").unwrap().to_vec(),
            incoming.header("forwarded").unwrap().to_vec(),
            incoming.header("traceparent").unwrap().to_vec(),
        ];
        assert_eq!(incoming.header("x-istio-source"), None);
        drop(tell.send(seen));
        async move { incoming.refuse(503) }
    };
    let (ours, theirs) = duplex(64 << 10);
    tokio::spawn(async move { serve(theirs, &Settings::default(), pending(), handler).await });
    let pool = Pool::new(Settings::default());
    let error = pool.open(&key("uid"), raw::once(ours), &head()).await.unwrap_err();
    assert_eq!(error.to_string(), "http status: 503 Service Unavailable");
    let head = head();
    let want = ["CONNECT", "10.0.0.2:80", &head.baggage, &head.forwarded, &head.traceparent];
    assert_eq!(told.recv().await.unwrap(), want.map(|text| text.as_bytes().to_vec()));
}

#[tokio::test]
async fn another_method_is_the_handlers_to_refuse() {
    let handler = |incoming: Incoming| async move {
        assert_eq!(incoming.method(), "GET");
        incoming.refuse(400);
    };
    let (mut requests, _serving) = started(Settings::default(), pending(), handler).await;
    let get = Request::get("http://10.0.0.2/").body(()).unwrap();
    let (response, _) = requests.send_request(get, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_handler_that_panics_ends_only_its_own_stream() {
    let (mut requests, _serving) = started(Settings::default(), pending(), as_told).await;
    let (response, _) = requests.send_request(connect_to("panic:80"), false).unwrap();
    let error = response.await.unwrap_err();
    assert!(error.is_reset(), "{error}");
    let (response, _send) = requests.send_request(connect_to("10.0.0.2:80"), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_crosses_goaway_is_answered() {
    let (ours, theirs) = duplex(64 << 10);
    let (drain, draining) = tokio::sync::oneshot::channel::<()>();
    let drained = async move { drop(draining.await) };
    let serving = tokio::spawn(async move { serve(theirs, &Settings::default(), drained, as_told).await });
    let (mut requests, mut connection) = h2::client::handshake(ours).await.unwrap();
    let (response, _send) = requests.send_request(connect_to("10.0.0.2:80"), false).unwrap();
    // The request is on its way, and the server is told to drain before it looks.
    assert!(now(&mut connection).await.is_none());
    drain.send(()).unwrap();
    tokio::spawn(connection);
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!serving.is_finished(), "a stream is still open");
}

#[tokio::test]
async fn a_drain_lets_streams_finish_and_then_ends() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    mesh.drain.send(1).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    say(&mut talk.near, b"running").await;
    hear(&mut talk.far, b"running").await;
    say(&mut talk.far, b"on").await;
    hear(&mut talk.near, b"on").await;
    assert!(mesh.closed.try_recv().is_err());
    drop((talk.near, talk.far));
    assert_copied(&talk.relay.await.unwrap());
    assert_copied(&mesh.served().await);
    mesh.closed.recv().await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_drains_at_once() {
    let mut mesh = Mesh::usual().await;
    drop(mesh.open().await.unwrap());
    mesh.drain.send(1).unwrap();
    mesh.closed.recv().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_without_preface_is_given_up() {
    let (_ours, theirs) = duplex(64 << 10);
    let ended = serve(theirs, &Settings::default(), pending(), as_told).await;
    assert!(matches!(ended, Err(TunnelError::SettingsTimeout { .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_settings_is_given_up() {
    let (mut ours, theirs) = duplex(64 << 10);
    ours.write_all(PREFACE).await.unwrap();
    let ended = serve(theirs, &Settings::default(), pending(), as_told).await;
    assert!(matches!(ended, Err(TunnelError::SettingsTimeout { .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_dead() {
    let (mut ours, theirs) = duplex(64 << 10);
    ours.write_all(PREFACE).await.unwrap();
    ours.write_all(&raw::frame(raw::SETTINGS, 0, 0, &[])).await.unwrap();
    let ended = serve(theirs, &Settings::default(), pending(), as_told).await;
    assert!(matches!(ended, Err(TunnelError::KeepaliveTimeout { .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_that_answers_pings_stays() {
    let (_requests, serving) = started(Settings::default(), pending(), as_told).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(!serving.is_finished());
}

#[tokio::test]
async fn garbage_ends_only_its_own_connection() {
    let (mut ours, theirs) = duplex(64 << 10);
    ours.write_all(b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\n").await.unwrap();
    let ended = serve(theirs, &Settings::default(), pending(), as_told).await;
    assert!(matches!(ended, Err(TunnelError::Handshake { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_only_opens_and_resets_is_sent_away() {
    let settings =
        Settings { limits: crate::Limits { resets: 20, ..Default::default() }, ..Settings::default() };
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = move |mut incoming: Incoming| {
        let _ = tell.send(());
        async move { incoming.withdrawn().await }
    };
    let (mut requests, serving) = started(settings, pending(), handler).await;
    for _ in 0..=20 {
        let (_response, mut send) = requests.send_request(connect_to("10.0.0.2:80"), false).unwrap();
        told.recv().await.unwrap();
        send.send_reset(h2::Reason::CANCEL);
    }
    let ended = serving.await.unwrap();
    assert!(matches!(ended, Err(TunnelError::TooManyResets { limit: 20 })), "{ended:?}");
}

#[tokio::test]
async fn a_client_cannot_pile_up_handlers_by_resetting_their_streams() {
    let settings = Settings { max_streams: 5, ..Settings::default() };
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let handler = move |incoming: Incoming| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            pending::<()>().await;
            drop(incoming);
        }
    };
    let (mut requests, serving) = started(settings, pending(), handler).await;
    for _ in 0..1_000 {
        let Ok((_response, mut send)) = requests.send_request(connect_to("10.0.0.2:80"), false) else {
            break;
        };
        tokio::task::yield_now().await;
        send.send_reset(h2::Reason::CANCEL);
        tokio::task::yield_now().await;
    }
    assert!(running.load(Ordering::SeqCst) <= 10);
    serving.abort();
}

#[tokio::test]
async fn an_abandoned_server_aborts_its_handlers() {
    let mut mesh = Mesh::usual().await;
    let mut talk = mesh.talk().await;
    let (ours, theirs) = duplex(64 << 10);
    let (told, limits, to) = (mesh.told.clone(), mesh.limits, mesh.listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let handler = move |incoming: Incoming| relay_to(incoming, to, told.clone(), limits);
        serve(theirs, &Settings::default(), pending(), handler).await
    });
    let tunnel = mesh.pool.open(&key("other"), raw::once(ours), &head()).await.unwrap();
    let (mut far, _) = mesh.listener.accept().await.unwrap();
    serving.abort();
    assert_eq!(hear_rst(&mut far).await, b"");
    drop(tunnel);
    say(&mut talk.near, b"another server").await;
    hear(&mut talk.far, b"another server").await;
}
