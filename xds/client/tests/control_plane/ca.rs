//! Certificates: what the CA is asked, which answers are taken, and how a connection to it can fail.

use std::net::Ipv4Addr;
use std::time::Duration;

use prost_types::value::Kind;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tonic::{Code, Status};
use x509_parser::prelude::{FromDer, X509Certificate};
use xds_client::{CaClient, CaError, ChannelError, Credential, Endpoint, Issued, TrustAnchor};

use crate::istiod::{Authority, Istiod, Signing, TLS13, TestFile, soon};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_certificate_is_issued_for_the_identity_and_our_key() {
    let (authority, mut istiod) = (Authority::new(), Istiod::start(None).await);
    let client = CaClient::new(istiod.plaintext_endpoint(), DAY, true);
    let answer = async {
        let signing = istiod.signing().await;
        assert_eq!(signing.request.validity_duration, 86_400);
        let fields = &signing.request.metadata.as_ref().unwrap().fields;
        let impersonated = fields["ImpersonatedIdentity"].kind.as_ref().unwrap();
        assert_eq!((fields.len(), impersonated), (1, &Kind::StringValue(WEB.to_owned())));
        issue(signing, &authority, WEB);
    };
    let (issued, ()) = tokio::join!(client.sign(WEB), answer);
    let Issued { chain, roots, key } = issued.unwrap();
    assert_eq!((chain.len(), roots.len()), (1, 1));
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    assert_eq!(roots[0], root.as_ref());
    let key = KeyPair::try_from(key).unwrap();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
}

#[tokio::test]
async fn without_impersonation_only_the_token_says_who_asks() {
    let (authority, mut istiod) = (Authority::new(), Istiod::start(None).await);
    let client = CaClient::new(istiod.plaintext_endpoint(), DAY, false);
    let answer = async {
        let signing = istiod.signing().await;
        assert_eq!(signing.request.metadata, None);
        issue(signing, &authority, "spiffe://other.domain/ns/shop/sa/web");
    };
    let (issued, ()) = tokio::join!(client.sign(WEB), answer);
    assert_eq!(issued.unwrap().chain.len(), 1);
}

#[tokio::test]
async fn a_rotated_token_is_seen_by_the_next_call() {
    let (authority, mut istiod) = (Authority::new(), Istiod::start(None).await);
    let token = TestFile::holding("first");
    let credential = Credential::TokenFile(token.path().to_owned());
    let client = CaClient::new(Endpoint { credential, ..istiod.plaintext_endpoint() }, DAY, true);
    for (name, rotated) in [("first", "second"), ("second", "")] {
        let answer = async {
            let signing = istiod.signing().await;
            let want = format!("Bearer {name}");
            assert_eq!(signing.metadata.get("authorization").unwrap().to_str().unwrap(), want);
            assert_eq!(signing.metadata.get("clusterid").unwrap(), "Kubernetes");
            issue(signing, &authority, WEB);
        };
        let (issued, ()) = tokio::join!(client.sign(WEB), answer);
        issued.unwrap();
        token.write(rotated);
    }
    let error = client.sign(WEB).await.unwrap_err();
    assert!(matches!(error, CaError::Channel(ChannelError::EmptyToken { .. })), "{error:?}");
}

#[tokio::test]
async fn answers_that_are_not_ours_are_refused() {
    let (authority, mut istiod) = (Authority::new(), Istiod::start(None).await);
    let client = CaClient::new(istiod.plaintext_endpoint(), DAY, true);

    let wrong_name =
        async { issue(istiod.signing().await, &authority, "spiffe://cluster.local/ns/shop/sa/api") };
    let (result, ()) = tokio::join!(client.sign(WEB), wrong_name);
    assert!(matches!(result.unwrap_err(), CaError::WrongIdentity { .. }));

    let no_root = async {
        let signing = istiod.signing().await;
        let leaf = authority.sign(&signing.request.csr, WEB);
        signing.answer(Ok(vec![leaf]));
    };
    let (result, ()) = tokio::join!(client.sign(WEB), no_root);
    assert!(matches!(result.unwrap_err(), CaError::ShortChain { elements: 1 }));
}

#[tokio::test]
async fn a_refusal_keeps_the_cas_words() {
    let mut istiod = Istiod::start(None).await;
    let client = CaClient::new(istiod.plaintext_endpoint(), DAY, true);
    let refuse = async {
        istiod.signing().await.answer(Err(Status::unauthenticated("request authenticate failure")));
    };
    let (result, ()) = tokio::join!(client.sign(WEB), refuse);
    let CaError::Refused { identity, status } = result.unwrap_err() else { panic!("not refused") };
    assert_eq!((identity.as_str(), status.code()), (WEB, Code::Unauthenticated));
    assert_eq!(status.message(), "request authenticate failure");
}

#[tokio::test]
async fn one_deadline_covers_a_ca_that_is_silent_at_any_step() {
    let istiod = Istiod::start(None).await;
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let authority = Authority::new();
    let trust = TrustAnchor::Pem(authority.pem);
    let no_handshake = format!("https://localhost:{port}").parse().unwrap();
    let endpoints =
        [istiod.plaintext_endpoint(), Endpoint { uri: no_handshake, trust, ..istiod.plaintext_endpoint() }];
    for endpoint in endpoints {
        let deadline = Duration::from_millis(200);
        let client = CaClient::new(endpoint.clone(), DAY, true).with_deadline(deadline);
        let error = soon("the deadline", client.sign(WEB)).await.unwrap_err();
        assert!(
            matches!(error, CaError::Deadline { after, .. } if after == deadline),
            "{endpoint:?} {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_root_and_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let roots = TestFile::holding(&format!("{}{}", other.pem, authority.pem));
    let rows = [
        ("localhost", TrustAnchor::Pem(authority.pem.clone()), None, true),
        ("localhost", TrustAnchor::File(roots.path().to_owned()), None, true),
        ("localhost", TrustAnchor::Pem(authority.pem.clone()), Some("istiod.example"), true),
        ("istiod.example", TrustAnchor::Pem(authority.pem.clone()), Some("istiod.example"), true),
        ("istiod.example", TrustAnchor::Pem(authority.pem.clone()), None, false),
        ("elsewhere.example", TrustAnchor::Pem(authority.pem.clone()), Some("istiod.example"), false),
        ("localhost", TrustAnchor::Pem(other.pem.clone()), None, false),
        ("istiod.example", TrustAnchor::Pem(other.pem), Some("istiod.example"), false),
    ];
    for (name, trust, alternate, trusted) in rows {
        let row = format!("{name} {trust:?} {alternate:?}");
        let mut istiod = Istiod::start(Some(authority.server(&[name], TLS13))).await;
        let endpoint = Endpoint { alt_hostname: alternate.map(str::to_owned), ..istiod.tls_endpoint(trust) };
        let client = CaClient::new(endpoint, DAY, true);
        if trusted {
            let answer = async { issue(istiod.signing().await, &authority, WEB) };
            let (issued, ()) = tokio::join!(client.sign(WEB), answer);
            assert_eq!(issued.unwrap().roots.len(), 1, "{row}");
        } else {
            let error = client.sign(WEB).await.unwrap_err();
            assert!(matches!(error, CaError::Channel(ChannelError::Untrusted { .. })), "{row}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_root_file_without_a_certificate_is_named() {
    let istiod = Istiod::start(None).await;
    let absent = TestFile::absent();
    let client = CaClient::new(istiod.tls_endpoint(TrustAnchor::File(absent.path().to_owned())), DAY, true);
    let error = client.sign(WEB).await.unwrap_err();
    let CaError::Channel(ChannelError::ReadRoots { path, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(path, absent.path());
    assert!(error.to_string().contains("CA_ROOT_CA"), "{error}");

    absent.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let error = client.sign(WEB).await.unwrap_err();
    assert!(matches!(error, CaError::Channel(ChannelError::NoRoots { .. })), "{error:?}");
    assert!(error.to_string().contains(&absent.path().display().to_string()), "{error}");
}

#[tokio::test]
async fn peers_that_are_no_control_plane_are_told_apart() {
    let authority = Authority::new();
    let trust = || TrustAnchor::Pem(authority.pem.clone());
    let mut no_http2 = authority.server(&["localhost"], TLS13);
    no_http2.alpn_protocols.clear();
    let no_http2 = Istiod::start(Some(no_http2)).await;
    let plaintext = Istiod::start(None).await;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let at = |uri: String| Endpoint { uri: uri.parse().unwrap(), ..plaintext.plaintext_endpoint() };

    let error = fail(no_http2.tls_endpoint(trust())).await;
    assert!(matches!(error, ChannelError::NotHttp2 { .. }), "{error:?}");
    let error = fail(plaintext.tls_endpoint(trust())).await;
    assert!(matches!(error, ChannelError::Handshake { .. }), "{error:?}");
    let error = fail(at(format!("http://{closed}"))).await;
    assert!(matches!(error, ChannelError::Connect { address, .. } if address == closed), "{error:?}");
    for uri in ["istiod:15012", "ftp://istiod:15012", "/path"] {
        let error = fail(at(uri.to_owned())).await;
        assert!(matches!(error, ChannelError::Uri { .. }), "{uri}: {error:?}");
    }
    let error =
        fail(Endpoint { alt_hostname: Some("a b".to_owned()), ..no_http2.tls_endpoint(trust()) }).await;
    assert!(matches!(error, ChannelError::AltHostname { .. }), "{error:?}");
}

async fn fail(endpoint: Endpoint) -> ChannelError {
    match CaClient::new(endpoint, DAY, true).sign(WEB).await {
        Err(CaError::Channel(error)) => error,
        other => panic!("no connection error: {other:?}"),
    }
}

/// Answers with a leaf of this name and the authority as root.
fn issue(signing: Signing, authority: &Authority, identity: &str) {
    let leaf = authority.sign(&signing.request.csr, identity);
    signing.answer(Ok(vec![leaf, authority.pem.clone()]));
}
