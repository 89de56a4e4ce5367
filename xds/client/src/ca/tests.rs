use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use super::{Ders, check_chain};
use crate::csr::Csr;
use crate::error::CaError;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const API: &str = "spiffe://cluster.local/ns/shop/sa/api";

#[test]
fn a_chain_is_split_into_leaf_intermediates_and_roots() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    let bundle = format!("{}{}", ca.pem, ca.pem);
    let elements = [leaf(&ca, &csr, &[WEB]), ca.pem.clone(), bundle];
    let (chain, roots) = check(&elements, &csr).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1], ca.der);
    assert_eq!(roots, [ca.der.clone(), ca.der]);
}

#[test]
fn fewer_than_a_leaf_and_a_root_are_refused() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    for elements in [vec![], vec![leaf(&ca, &csr, &[WEB])]] {
        let error = check(&elements, &csr).unwrap_err();
        assert!(matches!(error, CaError::ShortChain { elements: n } if n == elements.len()), "{error:?}");
    }
}

#[test]
fn a_certificate_for_someone_else_is_refused() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    for (names, first) in [(&[API, WEB][..], Some(API)), (&[][..], None)] {
        let error = check(&[leaf(&ca, &csr, names), ca.pem.clone()], &csr).unwrap_err();
        let CaError::WrongIdentity { wanted, got } = &error else { panic!("{error:?}") };
        assert_eq!((wanted.as_str(), got.as_deref()), (WEB, first));
    }
}

#[test]
fn only_the_first_uri_counts() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    check(&[leaf(&ca, &csr, &[WEB, API]), ca.pem.clone()], &csr).unwrap();
}

#[test]
fn without_impersonation_the_ca_chooses_the_name() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    let elements = [leaf(&ca, &csr, &[API]), ca.pem.clone()];
    let (chain, _) = check_chain(&elements, WEB, None, &csr.public_key()).unwrap();
    assert_eq!(chain.len(), 1);
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let (ca, csr, other) = (ca(), Csr::new(WEB).unwrap(), Csr::new(WEB).unwrap());
    let error = check(&[leaf(&ca, &other, &[WEB]), ca.pem.clone()], &csr).unwrap_err();
    assert!(matches!(&error, CaError::WrongKey { identity } if identity == WEB), "{error:?}");
}

#[test]
fn an_element_that_is_no_certificate_is_named() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    let leaf = leaf(&ca, &csr, &[WEB]);
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let rows = [
        (vec![String::new(), ca.pem.clone()], 0),
        (vec![csr.pem.clone(), ca.pem.clone()], 0),
        (vec![leaf.clone(), rubbish, ca.pem.clone()], 1),
        (vec![leaf, "words".to_owned(), ca.pem], 1),
    ];
    for (elements, at) in rows {
        let error = check(&elements, &csr).unwrap_err();
        assert!(matches!(error, CaError::Element { index, .. } if index == at), "{error:?}");
    }
}

#[test]
fn roots_that_cannot_be_read_are_left_out() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bundle = format!("words\n{rubbish}{}", ca.pem);
    let (_, roots) = check(&[leaf(&ca, &csr, &[WEB]), bundle], &csr).unwrap();
    assert_eq!(roots, [ca.der]);
}

#[test]
fn a_chain_without_a_usable_root_is_refused() {
    let (ca, csr) = (ca(), Csr::new(WEB).unwrap());
    for bundle in ["", "words", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = check(&[leaf(&ca, &csr, &[WEB]), bundle.to_owned()], &csr).unwrap_err();
        assert!(matches!(error, CaError::NoRoots), "{error:?}");
    }
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Ca { pem: certificate.pem(), der: certificate.der().to_vec(), issuer: Issuer::new(params, key) }
}

fn leaf(ca: &Ca, csr: &Csr, uris: &[&str]) -> String {
    let mut request = rcgen::CertificateSigningRequestParams::from_pem(&csr.pem).unwrap();
    request.params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    request.signed_by(&ca.issuer).unwrap().pem()
}

fn check(elements: &[String], csr: &Csr) -> Result<(Ders, Ders), CaError> {
    check_chain(elements, WEB, Some(WEB), &csr.public_key())
}
