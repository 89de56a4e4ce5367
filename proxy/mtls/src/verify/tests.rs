//! Chains and identities, without a handshake.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::model::Identity;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use rustls::{CertificateError, Error};

use super::{ExpectedServer, MeshClient};
use crate::IdentityMismatch;
use crate::testing::{self, Ca, Wanted, identity, trust};

#[test]
fn a_server_with_an_expected_identity_is_accepted() {
    let ca = Ca::new();
    for san in [identity("web"), identity("api")] {
        assert_eq!(server(&[&ca], &ca, wanted().uri(&san), &[identity("api"), identity("web")]), Ok(()));
    }
}

#[test]
fn any_spiffe_san_of_a_server_may_match() {
    let ca = Ca::new();
    let many = wanted().uri("https://web").uri(identity("other")).uri(identity("web"));
    assert_eq!(server(&[&ca], &ca, many, &[identity("web")]), Ok(()));
}

#[test]
fn a_server_with_another_identity_is_refused_by_name() {
    let ca = Ca::new();
    let error =
        server(&[&ca], &ca, wanted().uri(identity("api")), &[identity("web"), identity("shop")]).unwrap_err();
    let mismatch = mismatch(&error);
    assert_eq!(
        mismatch,
        IdentityMismatch::Expected {
            expected: Arc::from([identity("web"), identity("shop")]),
            got: vec![identity("api")],
        }
    );
    assert_eq!(
        mismatch.to_string(),
        "identity verification error: peer did not present the expected SAN \
         (spiffe://cluster.local/ns/apps/sa/web, spiffe://cluster.local/ns/apps/sa/shop), \
         got spiffe://cluster.local/ns/apps/sa/api"
    );
}

#[test]
fn names_other_than_spiffe_identities_prove_nothing() {
    let ca = Ca::new();
    for sans in [
        wanted().dns("web.apps.svc.cluster.local"),
        wanted().uri("spiffe://cluster.local/ns/apps/sa/web/more"),
        wanted().uri("spiffe://cluster.local/ns/apps/sa/WEB"),
        wanted().uri("https://cluster.local/ns/apps/sa/web"),
    ] {
        let error = server(&[&ca], &ca, sans, &[identity("web")]).unwrap_err();
        assert!(matches!(mismatch(&error), IdentityMismatch::Expected { .. }), "{error:?}");
    }
}

#[test]
fn with_nobody_expected_nobody_is_accepted() {
    let ca = Ca::new();
    let error = server(&[&ca], &ca, wanted().uri(identity("web")), &[]).unwrap_err();
    assert!(matches!(mismatch(&error), IdentityMismatch::Expected { .. }), "{error:?}");
}

#[test]
fn a_client_of_our_trust_domain_is_accepted_whoever_it_is() {
    let ca = Ca::new();
    for san in [identity("web"), Identity::new("cluster.local", "elsewhere", "anybody")] {
        assert_eq!(client(&[&ca], &ca, wanted().uri(san)), Ok(()));
    }
}

#[test]
fn a_client_of_another_trust_domain_is_refused() {
    let ca = Ca::new();
    let stranger = Identity::new("other.mesh", "apps", "web");
    let error = client(&[&ca], &ca, wanted().uri(&stranger)).unwrap_err();
    assert_eq!(
        mismatch(&error),
        IdentityMismatch::TrustDomain { ours: "cluster.local".into(), got: vec![stranger] }
    );
}

#[test]
fn a_client_without_a_spiffe_identity_is_refused() {
    let ca = Ca::new();
    let error = client(&[&ca], &ca, wanted().dns("web")).unwrap_err();
    assert_eq!(mismatch(&error), IdentityMismatch::TrustDomain { ours: "cluster.local".into(), got: vec![] });
}

#[test]
fn a_refused_peer_is_quoted_only_so_far() {
    let ca = Ca::new();
    let many = (0..40).fold(wanted(), |wanted, n| wanted.uri(identity(&format!("sa{n}"))));
    let error = server(&[&ca], &ca, many, &[identity("web")]).unwrap_err();
    let IdentityMismatch::Expected { got, .. } = mismatch(&error) else { panic!("{error:?}") };
    assert_eq!(got.len(), 8);
}

#[test]
fn a_chain_to_an_unknown_root_is_refused() {
    let (ours, theirs) = (Ca::named("ours"), Ca::named("theirs"));
    let want = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
    assert_eq!(client(&[&ours], &theirs, wanted().uri(identity("web"))), want);
    assert_eq!(server(&[&ours], &theirs, wanted().uri(identity("web")), &[identity("web")]), want);
}

#[test]
fn a_root_of_the_same_name_with_another_key_is_not_ours() {
    let (ours, theirs) = (Ca::named("root"), Ca::named("root"));
    let want = Err(Error::InvalidCertificate(CertificateError::BadSignature));
    assert_eq!(client(&[&ours], &theirs, wanted().uri(identity("web"))), want);
}

#[test]
fn each_of_several_roots_is_trusted() {
    let (old, new) = (Ca::new(), Ca::new());
    for issuer in [&old, &new] {
        assert_eq!(client(&[&old, &new], issuer, wanted().uri(identity("web"))), Ok(()));
    }
}

#[test]
fn an_intermediate_leads_to_the_root() {
    let ca = Ca::new();
    let through = wanted().uri(identity("web")).through(ca.intermediate());
    assert_eq!(client(&[&ca], &ca, through), Ok(()));
}

#[test]
fn an_expired_certificate_is_refused_with_both_clocks() {
    let ca = Ca::new();
    let error = client(&[&ca], &ca, wanted().uri(identity("web")).valid(1_000, 2_000)).unwrap_err();
    let Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((time.as_secs(), not_after.as_secs()), (NOW, 2_000));
}

#[test]
fn a_certificate_that_begins_in_a_moment_is_accepted_and_a_later_one_is_refused_with_both_clocks() {
    let ca = Ca::new();
    for begins in [NOW + 1, NOW + 60] {
        let web = wanted().uri(identity("web")).valid(begins, NOW + 600);
        assert_eq!(client(&[&ca], &ca, web), Ok(()), "{begins}");
    }
    let error = client(&[&ca], &ca, wanted().uri(identity("web")).valid(NOW + 61, NOW + 600)).unwrap_err();
    let Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((time.as_secs(), not_before.as_secs()), (NOW, NOW + 61));
}

#[test]
fn a_certificate_serves_only_its_usage() {
    let ca = Ca::new();
    let web = || wanted().uri(identity("web"));
    assert_eq!(server(&[&ca], &ca, web().only_for(ServerAuth), &[identity("web")]), Ok(()));
    assert_eq!(client(&[&ca], &ca, web().only_for(ClientAuth)), Ok(()));
    let want = Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
    assert_eq!(server(&[&ca], &ca, web().only_for(ClientAuth), &[identity("web")]), want);
    assert_eq!(client(&[&ca], &ca, web().only_for(ServerAuth)), want);
}

#[test]
fn garbage_for_a_certificate_is_refused() {
    let ca = Ca::new();
    let verifier = MeshClient { trust: trust(&[&ca]), trust_domain: "cluster.local".into() };
    for garbage in [&b""[..], b"\x30", b"\x30\x82\xff\xff", b"not a certificate"] {
        let error = verifier.verify_client_cert(&CertificateDer::from(garbage), &[], now()).unwrap_err();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::BadEncoding));
    }
}

fn server(trusted: &[&Ca], issuer: &Ca, peer: Wanted, expected: &[Identity]) -> Result<(), Error> {
    let verifier = ExpectedServer { trust: trust(trusted), expected: Arc::from(expected) };
    let chain = chain(issuer, peer);
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now()).map(|_| ())
}

fn client(trusted: &[&Ca], issuer: &Ca, peer: Wanted) -> Result<(), Error> {
    let verifier = MeshClient { trust: trust(trusted), trust_domain: "cluster.local".into() };
    let chain = chain(issuer, peer);
    verifier.verify_client_cert(&chain[0], &chain[1..], now()).map(|_| ())
}

fn chain(issuer: &Ca, peer: Wanted) -> Vec<CertificateDer<'static>> {
    issuer.sign(peer).chain.into_iter().map(CertificateDer::from).collect()
}

/// A certificate of nobody that is valid at `NOW`.
fn wanted() -> Wanted {
    testing::wanted().valid(NOW - 60, NOW + 60)
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW))
}

/// Seconds since the epoch.
const NOW: u64 = 1_800_000_000;

fn mismatch(error: &Error) -> IdentityMismatch {
    if let Error::InvalidCertificate(CertificateError::Other(other)) = error
        && let Some(mismatch) = other.0.downcast_ref::<IdentityMismatch>()
    {
        return mismatch.clone();
    }
    panic!("not about the identity: {error:?}")
}
