//! Signing over real sockets.

use prost_types::{Struct, Value, value::Kind as ValueKind};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use tonic::{Code, Request, Status};
use xds_proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use xds_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

use super::client::{encrypted, plaintext};
use super::*;

const ID: &str = "spiffe://cluster.local/ns/default/sa/web";

#[tokio::test]
async fn a_certificate_is_issued_over_tls_for_a_pods_identity() {
    let control = control();
    let tls = control.ca().server_tls(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let served = Served::start(control, Some(tls)).await;
    served.put(&pod("web", 1));
    for name in ["localhost", "127.0.0.1"] {
        let channel = encrypted(&served, name).await.unwrap();
        let mut client = IstioCertificateServiceClient::new(channel);
        let chain = client.create_certificate(request(ID, 3600)).await.unwrap().into_inner().cert_chain;
        let chain: Vec<_> =
            chain.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect();
        let [leaf, root] = &chain[..] else { panic!("{} certificates", chain.len()) };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        verifier.verify_client_cert(leaf, &[], UnixTime::now()).unwrap();
    }
    assert_eq!(served.control.signed(), [ID, ID]);
    assert!(encrypted(&served, "other.example").await.is_err(), "a name that the certificate does not have");
}

#[tokio::test]
async fn a_workload_s_own_token_is_good_for_its_own_identity_alone() {
    let access = Access {
        token: Some("secret".into()),
        workloads: [("own".to_owned(), ID.to_owned())].into(),
        ..Access::default()
    };
    let served = Served::plaintext(Control::with_access(MeshConfig::default(), ca(), access)).await;
    let with = |token: &str, wanted: Option<&str>| {
        let mut asked = request(wanted.unwrap_or(ID), 0);
        if wanted.is_none() {
            asked.metadata = None;
        }
        let mut asked = Request::new(asked);
        asked.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        asked
    };
    let mut client = IstioCertificateServiceClient::new(plaintext(&served).await);
    client.create_certificate(with("own", None)).await.unwrap();
    client.create_certificate(with("own", Some(ID))).await.unwrap();
    assert_eq!(served.control.signed(), [ID, ID]);
    let other = "spiffe://cluster.local/ns/default/sa/other";
    for refused in [with("own", Some(other)), with("secret", None), with("guess", None)] {
        let refused = client.create_certificate(refused).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn an_identity_that_no_pod_has_is_not_signed_for() {
    let served = Served::plaintext(control()).await;
    served.put(&pod("web", 1));
    for identity in
        ["spiffe://cluster.local/ns/default/sa/other", "spiffe://cluster.local/ns/x/sa/web", "web"]
    {
        let refused = ask(&served, request(identity, 0)).await.unwrap_err();
        let want = (Code::Unauthenticated, "request impersonation authentication failure");
        assert_eq!((refused.code(), refused.message()), want, "{identity}");
    }
    let nobody = IstioCertificateRequest { metadata: None, ..request(ID, 0) };
    let refused = ask(&served, nobody).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "request authenticate failure"));
    assert_eq!(served.control.signed(), [""; 0]);
    // The pod comes, and so does its certificate.
    served.put(&pod("other", 2));
    ask(&served, request("spiffe://cluster.local/ns/default/sa/other", 0)).await.unwrap();
}

#[tokio::test]
async fn any_well_formed_identity_is_signed_for_when_that_is_allowed() {
    let access = Access { token: None, any_identity: true, ..Access::default() };
    let served = Served::plaintext(Control::with_access(MeshConfig::default(), ca(), access)).await;
    ask(&served, request("spiffe://td/ns/x/sa/y", 0)).await.unwrap();
    let refused = ask(&served, request("spiffe://td/y", 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_bad_request_or_time_is_an_invalid_argument() {
    let served = Served::plaintext(control()).await;
    served.put(&pod("web", 1));
    for bad in [request(ID, 91 * 86400), IstioCertificateRequest { csr: "x".into(), ..request(ID, 0) }] {
        let refused = ask(&served, bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with("CSR signing error"), "{}", refused.message());
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_signed() {
    let access = Access { token: Some("secret".into()), any_identity: true, ..Access::default() };
    let served = Served::plaintext(Control::with_access(MeshConfig::default(), ca(), access)).await;
    let refused = ask(&served, request(ID, 0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut with_token = Request::new(request(ID, 0));
    with_token.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());
    IstioCertificateServiceClient::new(plaintext(&served).await)
        .create_certificate(with_token)
        .await
        .unwrap();
}

async fn ask(served: &Served, request: IstioCertificateRequest) -> Result<IstioCertificateResponse, Status> {
    let mut client = IstioCertificateServiceClient::new(plaintext(served).await);
    Ok(client.create_certificate(request).await?.into_inner())
}

fn request(identity: &str, validity_duration: i64) -> IstioCertificateRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let identity = Value { kind: Some(ValueKind::StringValue(identity.to_owned())) };
    let fields = [("ImpersonatedIdentity".to_owned(), identity)].into_iter().collect();
    IstioCertificateRequest { csr, validity_duration, metadata: Some(Struct { fields }) }
}
