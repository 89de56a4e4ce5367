//! Tunnels inside tunnels: a gateway in the middle, and a peer behind it that only the opener can recognize.

use std::error::Error as _;
use std::net::SocketAddr;

use proxy_core::world::Strictness;
use proxy_mtls::{Credentials, CrlFile, Material, Revocations, TlsContext, TlsLimits, TlsPolicy};
use rcgen::{
    CertificateParams, CertificateRevocationList, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tokio::sync::Notify;

use super::conversation::exchange;
use super::*;
use crate::{Inside, Meter};

/// An authority whose certificates everybody here trusts.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn credentials(&self, name: &str) -> Arc<Credentials> {
        self.credentials_among(name, &TlsPolicy::default().into())
    }

    fn credentials_among(&self, name: &str, context: &TlsContext) -> Arc<Credentials> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(identity(name).to_string().try_into().unwrap())];
        params.serial_number = Some(SerialNumber::from(serial(name)));
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let material = Material {
            chain: vec![leaf.der().to_vec()],
            roots: vec![self.0.der().to_vec()],
            key: key.serialize_der(),
        };
        Arc::new(Credentials::new(identity(name), material, context).unwrap())
    }

    /// A list that revokes the certificates of `name`.
    fn list(&self, name: &str) -> CertificateRevocationList {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial(name)),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap()
    }
}

/// Of the certificates of `name`.
fn serial(name: &str) -> u64 {
    name.bytes().fold(1, |serial, byte| serial << 7 | u64::from(byte & 127))
}

#[tokio::test]
async fn a_revoked_peer_ends_the_tunnel_inside_and_so_does_a_revoked_gateway() {
    for gateway in [true, false] {
        let network = Network::new().await;
        let revocations = Revocations::new(Strictness::Report);
        let context = TlsContext::new(TlsPolicy::default(), Arc::clone(&revocations));
        let credentials = network.ca.credentials_among("client", &context);
        let outer_revoked = Arc::new(Notify::new());
        let dial = || {
            let (dialing, revoked) = (network.mesh.dial(), Arc::clone(&outer_revoked));
            async move {
                let revoked = Box::pin(async move { revoked.notified().await });
                Ok::<_, NoRoute>(Dialed { revoked, ..dialing.await? })
            }
        };
        let serving = tokio::spawn(network.serve("web"));
        let opened = async {
            let outer = network.mesh.pool.open(&key("gateway"), dial, &head()).await.unwrap();
            let expected = &network.expected;
            let inside = Inside { credentials: &credentials, expected, tls: &network.tls };
            outer.nest(inside, &head(), &network.settings).await.unwrap()
        };
        let (tunnel, _far) = tokio::join!(opened, network.listener.accept());
        let (near, app) = sockets().await;
        let cut = tunnel.revoked();
        let relay =
            tokio::spawn(async move { tunnel.relay(app, &Meter::new(), cut, &RelayLimits::default()).await });
        if gateway {
            outer_revoked.notify_one();
        } else {
            let path = std::env::temp_dir().join(format!("adit-nested-{}.crl", std::process::id()));
            std::fs::write(&path, network.ca.list("web").der()).unwrap();
            CrlFile::new(&path).begin(&revocations).await;
            std::fs::remove_file(path).unwrap();
        }
        let ended = relay.await.unwrap();
        assert!(matches!(ended, Ok(Ended::Cut(()))), "gateway {gateway}: {ended:?}");
        hear_rst(&mut { near }).await;
        // However the peer learns of it, its connection does not stay.
        drop(serving.await.unwrap());
    }
}

/// A gateway, which is a [`Mesh`] with the peer behind it in the place of the application.
struct Network {
    mesh: Mesh,
    ca: Ca,
    settings: Settings,
    tls: TlsLimits,
    /// Whom the opener expects behind the gateway.
    expected: Vec<Identity>,
    /// The application of the peer behind the gateway.
    listener: TcpListener,
    /// How that peer's relays ended.
    served: mpsc::UnboundedReceiver<Relayed>,
    told: Told,
    /// What that peer was asked.
    asked: mpsc::UnboundedReceiver<(String, Option<Vec<u8>>)>,
    asks: mpsc::UnboundedSender<(String, Option<Vec<u8>>)>,
}

impl Network {
    async fn new() -> Self {
        let (tell_served, served) = mpsc::unbounded_channel();
        let (asks, asked) = mpsc::unbounded_channel();
        Self {
            mesh: Mesh::usual().await,
            ca: Ca::new(),
            settings: Settings::default(),
            tls: TlsLimits::default(),
            expected: vec![identity("web")],
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            served,
            told: Told { ended: tell_served, started: mpsc::unbounded_channel().0 },
            asked,
            asks,
        }
    }

    /// The peer behind the gateway: serves one connection as `name`.
    fn serve(&self, name: &str) -> impl Future<Output = Result<(), TunnelError>> + use<> {
        let (credentials, settings, tls) = (self.ca.credentials(name), self.settings.clone(), self.tls);
        let (to, told, asks): (SocketAddr, _, _) =
            (self.listener.local_addr().unwrap(), self.told.clone(), self.asks.clone());
        let accepting = self.far();
        async move {
            let Ok(accepted) = proxy_mtls::accept(accepting.await, &credentials, &tls).await else {
                return Ok(());
            };
            let handler = move |incoming: Incoming| {
                let authority = incoming.authority().unwrap_or_default().to_owned();
                let network = incoming.header("x-forwarded-network").map(<[u8]>::to_vec);
                drop(asks.send((authority, network)));
                relay_to(incoming, to, told.clone(), RelayLimits::default())
            };
            Box::pin(serve(accepted.stream, &settings, pending(), handler)).await
        }
    }

    /// The next connection of the gateway to the peer behind it.
    fn far(&self) -> impl Future<Output = TcpStream> + use<> {
        let listener = Arc::clone(&self.mesh.listener);
        async move { listener.accept().await.unwrap().0 }
    }

    async fn open(&self) -> Result<Tunnel, TunnelError> {
        let head = ConnectHead { authority: "svc.example:80".parse().unwrap(), ..head() };
        let outer = self.mesh.pool.open(&key("gateway"), || self.mesh.dial(), &head).await?;
        let head = ConnectHead { network: Some(String::new()), ..head };
        let credentials = self.ca.credentials("client");
        let inside = Inside { credentials: &credentials, expected: &self.expected, tls: &self.tls };
        outer.nest(inside, &head, &self.settings).await
    }

    async fn talk(&self) -> Talking {
        let serving = tokio::spawn(self.serve("web"));
        let (tunnel, far) = tokio::join!(self.open(), self.listener.accept());
        let (near, app) = sockets().await;
        let (tunnel, meter) = (tunnel.unwrap(), Arc::new(Meter::new()));
        assert_eq!((tunnel.peer(), tunnel.baggage()), (&identity("web"), Some("service.name=far")));
        let relay = {
            let meter = Arc::clone(&meter);
            tokio::spawn(async move { tunnel.relay(app, &meter, pending(), &RelayLimits::default()).await })
        };
        Talking { near, far: far.unwrap().0, meter, relay, serving }
    }

    /// Opens with a peer behind the gateway that does as told, and returns why that failed.
    async fn refused<F>(&self, peer: impl FnOnce(TcpStream, Arc<Credentials>) -> F) -> TunnelError
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let far = self.far();
        let credentials = self.ca.credentials("web");
        let mut serving = None;
        let accepting = async { serving = Some(tokio::spawn(peer(far.await, credentials))) };
        let (opened, ()) = tokio::join!(self.open(), accepting);
        serving.unwrap().abort();
        let TunnelError::Inside { source } = opened.unwrap_err() else { panic!("not inside") };
        TunnelError::clone(&source)
    }
}

/// A relay in progress.
struct Talking {
    near: TcpStream,
    far: TcpStream,
    meter: Arc<Meter>,
    relay: JoinHandle<Relayed>,
    serving: JoinHandle<Result<(), TunnelError>>,
}

/// Everybody has let go: the peer's connection and the gateway's stream ended in good order.
async fn ended_well(network: &mut Network, serving: JoinHandle<Result<(), TunnelError>>) {
    serving.await.unwrap().unwrap();
    assert_copied(&network.mesh.served().await);
}

#[tokio::test]
async fn half_closes_cross_both_tunnels_and_both_end_with_them() {
    let mut network = Network::new().await;
    let Talking { mut near, mut far, meter, relay, serving } = network.talk().await;
    say(&mut near, b"question").await;
    near.shutdown().await.unwrap();
    hear(&mut far, b"question").await;
    hear_fin(&mut far).await;
    say(&mut far, b"answer").await;
    drop(far);
    hear(&mut near, b"answer").await;
    hear_fin(&mut near).await;
    assert_copied(&relay.await.unwrap());
    assert_copied(&network.served.recv().await.unwrap());
    assert_eq!((meter.sent(), meter.received()), (8, 6));
    ended_well(&mut network, serving).await;
}

#[tokio::test]
async fn a_reset_by_the_opener_is_a_reset_behind_the_gateway() {
    let mut network = Network::new().await;
    let Talking { mut near, mut far, relay, serving, .. } = network.talk().await;
    say(&mut near, b"words").await;
    hear(&mut far, b"words").await;
    reset(near);
    assert_eq!(hear_rst(&mut far).await, b"");
    assert_reset(&relay.await.unwrap(), Side::Downstream);
    assert_reset(&network.served.recv().await.unwrap(), Side::Downstream);
    ended_well(&mut network, serving).await;
}

#[tokio::test]
async fn a_reset_behind_the_gateway_is_a_reset_at_the_opener_after_the_last_words() {
    let mut network = Network::new().await;
    let Talking { mut near, mut far, relay, serving, .. } = network.talk().await;
    say(&mut far, b"413 too large").await;
    reset(far);
    assert_eq!(hear_rst(&mut near).await, b"413 too large");
    assert_reset(&relay.await.unwrap(), Side::Upstream);
    ended_well(&mut network, serving).await;
}

#[tokio::test]
async fn a_cut_resets_both_ends() {
    let network = Network::new().await;
    let Talking { mut near, mut far, relay, .. } = network.talk().await;
    say(&mut near, b"hello").await;
    hear(&mut far, b"hello").await;
    relay.abort();
    hear_rst(&mut near).await;
    hear_rst(&mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_an_opener_that_leaves_arrive_whole() {
    const SIZE: usize = 3 << 20;
    let mut network = Network::new().await;
    let Talking { mut near, mut far, relay, serving, .. } = network.talk().await;
    far.shutdown().await.unwrap();
    hear_fin(&mut near).await;
    tokio::spawn(async move { near.write_all(&bytes(SIZE)).await.unwrap() });
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert!(heard == bytes(SIZE), "{} of {SIZE} bytes", heard.len());
    assert_copied(&relay.await.unwrap());
    ended_well(&mut network, serving).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_arrives_whole_in_both_directions() {
    const SIZE: usize = 12 << 20;
    let network = Network::new().await;
    let Talking { near, far, meter, relay, .. } = network.talk().await;
    exchange(near, far, SIZE).await;
    assert_copied(&relay.await.unwrap());
    assert_eq!((meter.sent(), meter.received()), (SIZE as u64, SIZE as u64));
}

#[tokio::test]
async fn the_way_to_the_gateway_is_shared_and_the_way_behind_it_is_not() {
    let mut network = Network::new().await;
    let mut talks = Vec::new();
    for _ in 0..3 {
        // Each has a peer of its own, which serves one connection.
        talks.push(network.talk().await);
    }
    assert_eq!((network.mesh.dials(), network.mesh.pool.connections()), (1, 1));
    for talk in &mut talks {
        say(&mut talk.near, b"hello").await;
        hear(&mut talk.far, b"hello").await;
    }
    for _ in 0..3 {
        let asked = network.asked.recv().await.unwrap();
        assert_eq!(asked, ("svc.example:80".to_owned(), Some(Vec::new())), "an empty name is a name");
    }
}

#[tokio::test]
async fn nobody_but_whom_the_opener_expects_will_do() {
    for (expected, name) in [(vec![identity("web")], "gateway"), (Vec::new(), "web")] {
        let network = Network { expected, ..Network::new().await };
        let serving = tokio::spawn(network.serve(name));
        let TunnelError::Inside { source } = network.open().await.unwrap_err() else { panic!("not inside") };
        assert_eq!(source.reason(), Reason::TlsFailed);
        let why = source.source().unwrap().to_string();
        assert!(why.contains("did not present the expected SAN") && why.contains(name), "{why}");
        drop(serving.await);
    }
}

#[tokio::test]
async fn a_peer_that_stalls_ends_the_attempt_wherever_it_stalls() {
    let mut network = Network::new().await;
    network.tls.handshake = Duration::from_millis(300);
    network.settings.limits.handshake = Duration::from_millis(300);
    network.settings.limits.response = Duration::from_millis(300);

    let error = network.refused(|_stream, _| pending()).await;
    assert_eq!(error.reason(), Reason::TlsFailed, "{error}: {:?}", error.source());

    let network = Network { tls: TlsLimits::default(), ..network };
    let error = network
        .refused(|stream, credentials| async move {
            let _silent = proxy_mtls::accept(stream, &credentials, &TlsLimits::default()).await;
            pending().await
        })
        .await;
    assert!(matches!(error, TunnelError::SettingsTimeout { .. }), "{error}");

    let settings = network.settings.clone();
    let error = network
        .refused(move |stream, credentials| async move {
            let accepted = proxy_mtls::accept(stream, &credentials, &TlsLimits::default()).await.unwrap();
            let mute = |incoming: Incoming| async move {
                pending::<()>().await;
                drop(incoming);
            };
            drop(serve(accepted.stream, &settings, pending(), mute).await);
        })
        .await;
    assert!(matches!(error, TunnelError::ResponseTimeout { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_behind_the_gateway_is_told() {
    let network = Network::new().await;
    let settings = network.settings.clone();
    let error = network
        .refused(move |stream, credentials| async move {
            let accepted = proxy_mtls::accept(stream, &credentials, &TlsLimits::default()).await.unwrap();
            let refuse = |incoming: Incoming| async move { incoming.refuse(401) };
            drop(serve(accepted.stream, &settings, pending(), refuse).await);
        })
        .await;
    assert_eq!(error.reason(), Reason::PeerRefused);
    assert_eq!(error.to_string(), "http status: 401 Unauthorized");
}

#[tokio::test]
async fn nobody_behind_the_gateway_is_told() {
    let network = Network::new().await;
    let error = network
        .refused(|stream, _| {
            drop(stream);
            std::future::ready(())
        })
        .await;
    assert_eq!(error.reason(), Reason::TlsFailed);
}

#[tokio::test]
async fn a_connection_that_only_ends_at_the_gateway_is_cut_not_finished() {
    let network = Network::new().await;
    let Talking { mut near, far, relay, serving, .. } = network.talk().await;
    // The peer's socket closes, and nobody said that this was all.
    serving.abort();
    drop(serving.await);
    drop(far);
    hear_rst(&mut near).await;
    assert!(matches!(relay.await.unwrap(), Err(RelayError::Tunnel { side: Side::Upstream, .. })));
}

#[tokio::test]
async fn when_the_pool_goes_everything_inside_its_tunnels_goes() {
    let network = Network::new().await;
    let Talking { mut near, mut far, relay, .. } = network.talk().await;
    drop(network.mesh.pool);
    hear_rst(&mut near).await;
    hear_rst(&mut far).await;
    assert!(matches!(relay.await.unwrap(), Err(RelayError::Tunnel { side: Side::Upstream, .. })));
}

#[tokio::test]
async fn a_peer_that_falls_silent_behind_a_lively_gateway_is_found_out() {
    let mut network = Network::new().await;
    network.settings.limits.ping_interval = Duration::from_millis(20);
    network.settings.limits.ping_timeout = Duration::from_millis(200);
    let far = network.far();
    let credentials = network.ca.credentials("web");
    let silent = async move {
        let accepted = proxy_mtls::accept(far.await, &credentials, &TlsLimits::default()).await.unwrap();
        let mut connection = h2::server::handshake(accepted.stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let stream = respond.send_response(http::Response::new(()), false).unwrap();
        // Long enough for the answer to leave, and then never again.
        drop(tokio::time::timeout(Duration::from_millis(10), connection.accept()).await);
        pending::<()>().await;
        drop((stream, connection));
    };
    let silent = tokio::spawn(silent);
    let tunnel = network.open().await.unwrap();
    let (mut near, app) = sockets().await;
    let relayed = tunnel.relay(app, &Meter::new(), pending::<()>(), &RelayLimits::default()).await;
    assert!(matches!(relayed, Err(RelayError::Tunnel { side: Side::Upstream, .. })), "{relayed:?}");
    hear_rst(&mut near).await;
    silent.abort();
}
