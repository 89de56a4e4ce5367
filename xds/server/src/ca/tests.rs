use rustls::pki_types::UnixTime;
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate};

use super::*;

const ID: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[test]
fn a_leaf_carries_the_identity_and_leads_to_the_root() {
    let (ca, key) = (ca(), KeyPair::generate().unwrap());
    let chain = ca.sign(&csr(&key, "spiffe://elsewhere/ns/x/sa/y"), ID, 3600).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1], ca.root_pem());
    let der = der(&chain[0]);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();

    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, [GeneralName::URI(ID)]);
    assert_eq!(leaf.subject().iter().count(), 0);
    assert_eq!(leaf.public_key().subject_public_key.data, key.der_bytes());
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth);
    assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
    assert!(
        leaf.extensions()
            .iter()
            .any(|e| matches!(e.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_)))
    );
}

#[test]
fn the_chain_verifies_as_a_clients_and_as_a_servers() {
    let ca = ca();
    let chain = ca.sign(&csr(&KeyPair::generate().unwrap(), ID), ID, 0).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der(ca.root_pem())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    verifier.verify_client_cert(&der(&chain[0]), &[], UnixTime::now()).unwrap();

    let stranger = Ca::generate("cluster.local", CaOptions::default()).unwrap();
    let foreign = stranger.sign(&csr(&KeyPair::generate().unwrap(), ID), ID, 0).unwrap();
    let refused = verifier.verify_client_cert(&der(&foreign[0]), &[], UnixTime::now());
    assert!(matches!(refused, Err(rustls::Error::InvalidCertificate(_))), "{refused:?}");
}

#[test]
fn the_time_is_as_asked_with_room_for_clocks_that_differ() {
    const SKEW: i64 = 120;
    for (asked, want) in [(3600, 3600), (0, 86400), (-5, 86400), (90 * 86400, 90 * 86400)] {
        let chain = ca().sign(&csr(&KeyPair::generate().unwrap(), ID), ID, asked).unwrap();
        let der = der(&chain[0]);
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let validity = leaf.validity();
        assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), want + SKEW, "{asked}");
        assert!(validity.is_valid());
    }
}

#[test]
fn a_leaf_ends_no_later_than_its_root() {
    let ca = Ca::generate("td", CaOptions { root_ttl: DAY, ..CaOptions::default() }).unwrap();
    let chain = ca.sign(&csr(&KeyPair::generate().unwrap(), ID), ID, 30 * 86400).unwrap();
    let (root, leaf) = (der(&chain[1]), der(&chain[0]));
    let end = |der| X509Certificate::from_der(der).unwrap().1.validity().not_after.timestamp();
    assert_eq!(end(&leaf), end(&root));
}

#[test]
fn more_than_ninety_days_are_refused() {
    let refused = ca().sign(&csr(&KeyPair::generate().unwrap(), ID), ID, 90 * 86400 + 1);
    assert!(matches!(refused, Err(CaError::Ttl { requested: 7_776_001, max: 7_776_000 })));
}

#[test]
fn what_is_no_request_is_refused() {
    let key = KeyPair::generate().unwrap();
    let good = csr(&key, ID);
    let other_block = ca().root_pem().to_owned();
    let mislabeled = other_block.replace("CERTIFICATE", "CERTIFICATE REQUEST");
    for text in ["", "garbage", other_block.as_str(), mislabeled.as_str()] {
        let refused = ca().sign(text, ID, 0);
        assert!(matches!(refused, Err(CaError::Csr(_))), "{refused:?}");
    }
    // One letter of the signature, which ends the request.
    let mut forged = good.into_bytes();
    let end =
        forged.windows(5).rposition(|text| text == b"-----").unwrap() - "-----END CERTIFICATE REQUEST".len();
    let letter = &mut forged[end - 8];
    *letter = if *letter == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    assert!(matches!(ca().sign(&forged, ID, 0), Err(CaError::CsrSignature(_))));
}

#[test]
fn a_root_made_elsewhere_signs() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = params.self_signed(&key).unwrap();
    let ca = Ca::from_pem(&root.pem(), &key.serialize_pem(), CaOptions::default()).unwrap();
    let chain = ca.sign(&csr(&KeyPair::generate().unwrap(), ID), ID, 0).unwrap();
    let leaf = der(&chain[0]);
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let root = root.der().clone();
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    leaf.verify_signature(Some(root.public_key())).unwrap();
}

#[test]
fn a_root_that_cannot_sign_is_refused() {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default().self_signed(&key).unwrap().pem();
    let refused = |certificate: &str, key: &str| Ca::from_pem(certificate, key, CaOptions::default()).err();
    assert!(matches!(refused(&leaf, &key.serialize_pem()), Some(CaError::Root(_))));
    assert!(matches!(refused("x", &key.serialize_pem()), Some(CaError::Root(_))));
    assert!(matches!(refused(&leaf, "x"), Some(CaError::RootKey(_))));
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(matches!(refused(ca().root_pem(), &other), Some(CaError::Root(_))));
}

#[test]
fn a_server_certificate_takes_names_and_addresses() {
    let ca = ca();
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    assert!(ca.server_tls(&names).is_ok());
    let refused = ca.server_tls(&["no\u{e4}scii".to_owned()]).err();
    assert!(matches!(refused, Some(CaError::Name { .. })));
}

#[test]
fn a_spiffe_id_has_five_parts_and_none_is_empty() {
    let id = SpiffeId { namespace: "shop", service_account: "web" };
    assert_eq!(SpiffeId::parse(ID), Some(id));
    for text in [
        "",
        "cluster.local/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa",
        "spiffe://cluster.local/ns/shop/sa/web/x",
        "spiffe://cluster.local/sa/web/ns/shop",
        "spiffe:///ns/shop/sa/web",
        "spiffe://cluster.local/ns//sa/web",
        "spiffe://cluster.local/ns/shop/sa/",
    ] {
        assert_eq!(SpiffeId::parse(text), None, "{text}");
    }
}

fn ca() -> Ca {
    Ca::generate("cluster.local", CaOptions::default()).unwrap()
}

fn csr(key: &KeyPair, name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}
