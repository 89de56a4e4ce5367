//! Handshakes of both sides over loopback.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::Reason;
use proxy_core::model::Identity;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{Acceptor, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, Error, HandshakeKind, NamedGroup,
    ProtocolVersion, ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, TlsConnector};

use super::accept;
use crate::testing::{Ca, credentials, identity, now, tcp, trust, wanted};
use crate::{Accepted, Connected, Credentials, IdentityMismatch, TlsError, TlsLimits, TlsPolicy, connect};

#[tokio::test]
async fn both_sides_learn_who_the_other_is_and_talk_h2() {
    let ca = Ca::new();
    let (accepted, connected) =
        shake(&ca.credentials(&identity("api")), &ca.credentials(&identity("web")), &[identity("api")]).await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!((&accepted.peer, &connected.peer), (&identity("web"), &identity("api")));
    assert_eq!(connected.stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));

    connected.stream.write_all(b"ping").await.unwrap();
    connected.stream.flush().await.unwrap();
    let mut read = [0; 4];
    accepted.stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
}

#[tokio::test]
async fn the_first_spiffe_identity_of_a_certificate_names_the_peer() {
    let ca = Ca::new();
    let sans = wanted().uri("https://web").uri(identity("web")).uri(identity("second"));
    let client = credentials(&identity("web"), ca.sign(sans));
    let (accepted, _) = shake(&ca.credentials(&identity("api")), &client, &[identity("api")]).await;
    assert_eq!(accepted.unwrap().peer, identity("web"));
}

#[tokio::test]
async fn a_chain_through_an_intermediate_is_presented_whole() {
    let ca = Ca::new();
    let through =
        |name| credentials(&identity(name), ca.sign(wanted().uri(identity(name)).through(ca.intermediate())));
    let (accepted, connected) = shake(&through("api"), &through("web"), &[identity("api")]).await;
    assert_eq!((accepted.unwrap().peer, connected.unwrap().peer), (identity("web"), identity("api")));
}

#[tokio::test]
async fn a_server_with_another_identity_is_left_with_an_alert() {
    let ca = Ca::new();
    let (accepted, connected) =
        shake(&ca.credentials(&identity("api")), &ca.credentials(&identity("web")), &[identity("shop")])
            .await;
    let refused = connected.unwrap_err();
    assert!(matches!(refused, TlsError::Identity(IdentityMismatch::Expected { .. })), "{refused:?}");
    assert_eq!(refused.reason(), Reason::TlsFailed);
    let told = accepted.unwrap_err();
    assert!(
        matches!(
            told,
            TlsError::Protocol { source: Error::AlertReceived(AlertDescription::CertificateUnknown) }
        ),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_client_of_another_trust_domain_learns_of_its_refusal_on_the_first_read() {
    let ca = Ca::new();
    let stranger = Identity::new("other.mesh", "apps", "web");
    let (accepted, connected) =
        shake(&ca.credentials(&identity("api")), &ca.credentials(&stranger), &[identity("api")]).await;
    let refused = accepted.unwrap_err();
    assert!(matches!(refused, TlsError::Identity(IdentityMismatch::TrustDomain { .. })), "{refused:?}");

    let error = connected.unwrap().stream.read_u8().await.unwrap_err();
    let alert = error.downcast::<Error>().unwrap();
    assert_eq!(alert, Error::AlertReceived(AlertDescription::CertificateUnknown));
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_either_side() {
    let ca = Ca::new();
    let expired =
        |name| credentials(&identity(name), ca.sign(wanted().uri(identity(name)).valid(1_000, 2_000)));

    let (_, connected) = shake(&expired("api"), &ca.credentials(&identity("web")), &[identity("api")]).await;
    assert_ended_at_2000(&connected.unwrap_err());
    let (accepted, _) = shake(&ca.credentials(&identity("api")), &expired("web"), &[identity("api")]).await;
    assert_ended_at_2000(&accepted.unwrap_err());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (ours, theirs) = (Ca::named("ours"), Ca::named("theirs"));
    let (_, connected) =
        shake(&ours.credentials(&identity("api")), &theirs.credentials(&identity("web")), &[identity("api")])
            .await;
    let error = connected.unwrap_err();
    assert!(
        matches!(
            error,
            TlsError::Certificate { source: Error::InvalidCertificate(CertificateError::UnknownIssuer) }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let mut config = ca.credentials(&identity("web")).client_config(&[identity("api")]);
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    let error = accept_from(&ca, config).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { source: Error::NoCertificatesPresented }), "{error:?}");
}

#[tokio::test]
async fn a_client_that_asks_for_no_protocol_is_refused() {
    let ca = Ca::new();
    let mut config = ca.credentials(&identity("web")).client_config(&[identity("api")]);
    config.alpn_protocols.clear();
    let error = accept_from(&ca, config).await.unwrap_err();
    assert!(matches!(error, TlsError::Alpn { got: None }), "{error:?}");
}

#[tokio::test]
async fn a_client_that_asks_for_another_protocol_is_refused() {
    let ca = Ca::new();
    let mut config = ca.credentials(&identity("web")).client_config(&[identity("api")]);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let error = accept_from(&ca, config).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { source: Error::NoApplicationProtocol }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_chooses_no_protocol_is_refused() {
    let ca = Ca::new();
    let mut config = ServerConfig::clone(&ca.credentials(&identity("api")).server_config());
    config.alpn_protocols.clear();
    let (accepting, dialing) = tcp().await;
    let web = ca.credentials(&identity("web"));
    let (expected, limits) = ([identity("api")], TlsLimits::default());
    let (_, connected) = tokio::join!(
        TlsAcceptor::from(Arc::new(config)).accept(accepting),
        connect(dialing, &web, &expected, &limits)
    );
    let error = connected.unwrap_err();
    assert!(matches!(error, TlsError::Alpn { got: None }), "{error:?}");
}

#[tokio::test]
async fn a_client_hello_names_h2_and_no_host() {
    let ca = Ca::new();
    let (accepting, dialing) = tcp().await;
    let web = ca.credentials(&identity("web"));
    let hello = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), accepting).await.unwrap();
        let hello = start.client_hello();
        let alpn: Vec<_> = hello.alpn().unwrap().map(<[u8]>::to_vec).collect();
        (hello.server_name().map(ToOwned::to_owned), alpn)
    };
    let (expected, limits) = ([identity("api")], TlsLimits::default());
    let (hello, connected) = tokio::join!(hello, connect(dialing, &web, &expected, &limits));
    assert_eq!(hello, (None, vec![b"h2".to_vec()]));
    let error = connected.unwrap_err();
    assert!(matches!(error, TlsError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_ends_the_handshake() {
    let ca = Ca::new();
    let (accepting, mut dialing) = tcp().await;
    dialing.write_all(b"GET / HTTP/1.1\r\nhost: api\r\n\r\n").await.unwrap();
    let error =
        accept(accepting, &ca.credentials(&identity("api")), &TlsLimits::default()).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { source: Error::InvalidMessage(_) }), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_ends_the_handshake() {
    let ca = Ca::new();
    let (accepting, dialing) = tcp().await;
    drop(dialing);
    let error =
        accept(accepting, &ca.credentials(&identity("api")), &TlsLimits::default()).await.unwrap_err();
    assert!(matches!(error, TlsError::Io { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_peer_is_given_up_on_after_the_limit() {
    let ca = Ca::new();
    let (accepting, dialing) = tcp().await;
    let limits = TlsLimits { handshake: Duration::from_secs(3) };
    let began = tokio::time::Instant::now();
    let error = accept(accepting, &ca.credentials(&identity("api")), &limits).await.unwrap_err();
    assert!(matches!(error, TlsError::Timeout { limit } if limit == limits.handshake), "{error:?}");
    assert_eq!(began.elapsed().as_secs(), limits.handshake.as_secs());
    drop(dialing);

    let (accepting, dialing) = tcp().await;
    let began = tokio::time::Instant::now();
    let error =
        connect(dialing, &ca.credentials(&identity("web")), &[identity("api")], &limits).await.unwrap_err();
    assert!(matches!(error, TlsError::Timeout { limit } if limit == limits.handshake), "{error:?}");
    assert_eq!(began.elapsed().as_secs(), limits.handshake.as_secs());
    drop(accepting);
}

#[tokio::test]
async fn a_client_resumes_no_session_even_where_the_server_offers_it() {
    let ca = Ca::new();
    let web = ca.credentials(&identity("web"));
    let mut config = ServerConfig::clone(&ca.credentials(&identity("api")).server_config());
    config.session_storage = ServerSessionMemoryCache::new(8);
    config.send_tls13_tickets = 2;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (expected, limits) = ([identity("api")], TlsLimits::default());
    for _ in 0..2 {
        let (accepting, dialing) = tcp().await;
        let (accepted, connected) =
            tokio::join!(acceptor.accept(accepting), connect(dialing, &web, &expected, &limits));
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(connected.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        // The tickets travel before the first byte.
        accepted.write_all(b"!").await.unwrap();
        accepted.flush().await.unwrap();
        assert_eq!(connected.stream.read_u8().await.unwrap(), b'!');
    }
}

#[tokio::test]
async fn a_server_offers_no_session_to_resume() {
    let ca = Ca::new();
    let api = ca.credentials(&identity("api"));
    let mut config = ca.credentials(&identity("web")).client_config(&[identity("api")]);
    config.resumption = Resumption::in_memory_sessions(8);
    let connector = TlsConnector::from(Arc::new(config));
    let limits = TlsLimits::default();
    for _ in 0..2 {
        let (accepting, dialing) = tcp().await;
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let (accepted, connected) =
            tokio::join!(accept(accepting, &api, &limits), connector.connect(name, dialing));
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        accepted.stream.write_all(b"!").await.unwrap();
        accepted.stream.flush().await.unwrap();
        assert_eq!(connected.read_u8().await.unwrap(), b'!');
        let session = connected.get_ref().1;
        assert_eq!(
            (session.handshake_kind(), session.tls13_tickets_received()),
            (Some(HandshakeKind::Full), 0)
        );
    }
}

#[tokio::test]
async fn one_certificate_expects_another_server_on_every_connection() {
    let ca = Ca::new();
    let web = ca.credentials(&identity("web"));
    for name in ["api", "shop", "api"] {
        let (_, connected) = shake(&ca.credentials(&identity(name)), &web, &[identity(name)]).await;
        let connected = connected.unwrap();
        assert_eq!(connected.peer, identity(name));
    }
    let (_, connected) = shake(&ca.credentials(&identity("api")), &web, &[identity("shop")]).await;
    let error = connected.unwrap_err();
    assert!(matches!(error, TlsError::Identity(_)), "{error:?}");
}

#[tokio::test]
async fn policies_that_share_a_version_and_a_key_exchange_meet() {
    let ca = Ca::new();
    let with = |name, tls12, pqc| {
        let identity = identity(name);
        let policy = TlsPolicy { tls12, pqc };
        Arc::new(Credentials::new(identity.clone(), ca.material(&identity), &policy.into()).unwrap())
    };
    for (server, client) in
        [((false, true), (false, false)), ((false, false), (false, true)), ((true, false), (true, false))]
    {
        let (api, web) = (with("api", server.0, server.1), with("web", client.0, client.1));
        let (accepted, connected) = shake(&api, &web, &[identity("api")]).await;
        assert_eq!(accepted.unwrap().peer, identity("web"), "{server:?} {client:?}");
        assert_eq!(
            connected.unwrap().stream.get_ref().1.protocol_version(),
            Some(ProtocolVersion::TLSv1_3),
            "{server:?} {client:?}"
        );
    }
}

/// A client of `api` under an identity, with the ciphers of `provider` and one version of TLS.
fn client_of(
    ca: &Ca,
    name: &str,
    provider: Arc<CryptoProvider>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let template = ca.credentials(&identity(name)).client_config(&[identity("api")]);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(crate::verify::ExpectedServer {
            trust: trust(&[ca]),
            expected: Arc::from([identity("api")]),
        }))
        .with_client_cert_resolver(template.client_auth_cert_resolver);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test]
async fn with_pqc_demanded_a_peer_of_classical_key_exchange_is_refused() {
    let ca = Ca::new();
    let classical = |name| {
        let mut provider = CryptoProvider::clone(&TlsPolicy::default().provider());
        provider.kx_groups.retain(|group| group.name() != NamedGroup::X25519MLKEM768);
        client_of(&ca, name, Arc::new(provider), &rustls::version::TLS13)
    };
    let pqc = |name| {
        let policy = TlsPolicy { tls12: false, pqc: true };
        Arc::new(Credentials::new(identity(name), ca.material(&identity(name)), &policy.into()).unwrap())
    };
    let error = accept_with(&pqc("api"), classical("web")).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { source: Error::PeerIncompatible(_) }), "{error:?}");
    // The same client is welcome where nobody insists.
    assert_eq!(accept_from(&ca, classical("web")).await.unwrap().peer, identity("web"));

    let mut server = ServerConfig::builder_with_provider({
        let mut provider = CryptoProvider::clone(&TlsPolicy::default().provider());
        provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        Arc::new(provider)
    })
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .with_no_client_auth()
    .with_cert_resolver(Arc::clone(&ca.credentials(&identity("api")).server_config().cert_resolver));
    server.alpn_protocols = vec![b"h2".to_vec()];
    let (accepting, dialing) = tcp().await;
    let (expected, limits) = ([identity("api")], TlsLimits::default());
    let web = pqc("web");
    let (_, connected) = tokio::join!(
        TlsAcceptor::from(Arc::new(server)).accept(accepting),
        connect(dialing, &web, &expected, &limits)
    );
    let error = connected.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn the_strongest_suite_is_chosen_and_no_name_is_sent() {
    let ca = Ca::new();
    let (accepted, connected) =
        shake(&ca.credentials(&identity("api")), &ca.credentials(&identity("web")), &[identity("api")]).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    let (server, client) = (accepted.stream.get_ref().1, connected.stream.get_ref().1);
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);
    assert_eq!((server.server_name(), server.alpn_protocol()), (None, Some(&b"h2"[..])));
}

#[tokio::test]
async fn tls12_is_spoken_only_where_the_policy_allows_it() {
    let ca = Ca::new();
    let web = || {
        let provider = TlsPolicy { tls12: true, pqc: false }.provider();
        client_of(&ca, "web", provider, &rustls::version::TLS12)
    };
    let error = accept_from(&ca, web()).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { source: Error::PeerIncompatible(_) }), "{error:?}");

    let policy = TlsPolicy { tls12: true, pqc: false };
    let api = Credentials::new(identity("api"), ca.material(&identity("api")), &policy.into()).unwrap();
    let accepted = accept_with(&Arc::new(api), web()).await.unwrap();
    assert_eq!(accepted.stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(accepted.peer, identity("web"));
}

async fn shake(
    server: &Arc<Credentials>,
    client: &Arc<Credentials>,
    expected: &[Identity],
) -> (Result<Accepted, TlsError>, Result<Connected, TlsError>) {
    let (accepting, dialing) = tcp().await;
    let limits = TlsLimits::default();
    tokio::join!(accept(accepting, server, &limits), connect(dialing, client, expected, &limits))
}

/// Our server against a client of any make.
async fn accept_from(ca: &Ca, client: ClientConfig) -> Result<Accepted, TlsError> {
    accept_with(&ca.credentials(&identity("api")), client).await
}

async fn accept_with(server: &Arc<Credentials>, client: ClientConfig) -> Result<Accepted, TlsError> {
    let (accepting, dialing) = tcp().await;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let limits = TlsLimits::default();
    let connector = TlsConnector::from(Arc::new(client));
    let (accepted, _) = tokio::join!(accept(accepting, server, &limits), connector.connect(name, dialing));
    accepted
}

#[track_caller]
fn assert_ended_at_2000(error: &TlsError) {
    let TlsError::Expired { not_after, clock } = error else { panic!("{error:?}") };
    assert_eq!(not_after.as_secs(), 2_000);
    assert!(now().abs_diff(*clock) < Duration::from_secs(60), "{clock:?}");
    let said = error.to_string();
    assert!(said.contains("ended at Jan  1 00:33:20 1970"), "both dates are told: {said}");
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
