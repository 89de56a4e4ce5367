use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_EC_P256, OID_SIG_ECDSA_WITH_SHA256};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::Csr;
use crate::error::CaError;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Runs `check` on the request as a CA reads it.
fn with_request(csr: &Csr, check: impl FnOnce(&X509CertificationRequest<'_>)) {
    let (_, pem) = parse_x509_pem(csr.pem.as_bytes()).unwrap();
    assert_eq!(pem.label, "CERTIFICATE REQUEST");
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
    check(&request);
}

#[test]
fn the_request_names_the_identity_and_nothing_else() {
    let csr = Csr::new(WEB).unwrap();
    with_request(&csr, |request| {
        let info = &request.certification_request_info;
        assert_eq!(info.subject.iter().count(), 0, "subject {}", info.subject);
        let extensions: Vec<&ParsedExtension<'_>> = request.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(names)] = extensions[..] else {
            panic!("{extensions:?}")
        };
        assert_eq!(names.general_names, [GeneralName::URI(WEB)]);
    });
}

#[test]
fn the_name_is_critical() {
    let csr = Csr::new(WEB).unwrap();
    with_request(&csr, |request| {
        // SubjectAltName (2.5.29.17) followed by the critical flag (RFC 5280 4.1).
        let critical = [0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff];
        let raw = request.certification_request_info.raw;
        assert!(raw.windows(critical.len()).any(|window| window == critical), "{raw:02x?}");
    });
}

#[test]
fn the_key_is_p256_and_signs_the_request() {
    let csr = Csr::new(WEB).unwrap();
    with_request(&csr, |request| {
        let algorithm = &request.certification_request_info.subject_pki.algorithm;
        let curve = algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
        assert_eq!(curve, OID_EC_P256);
        assert_eq!(request.signature_algorithm.algorithm, OID_SIG_ECDSA_WITH_SHA256);
        assert_eq!(request.certification_request_info.subject_pki.raw, csr.public_key());
    });
}

#[test]
fn the_private_key_belongs_to_the_public_one() {
    let csr = Csr::new(WEB).unwrap();
    let public = csr.public_key();
    let key = KeyPair::try_from(csr.into_key()).unwrap();
    assert_eq!(key.subject_public_key_info(), public);
}

#[test]
fn every_request_has_a_new_key() {
    assert_ne!(Csr::new(WEB).unwrap().public_key(), Csr::new(WEB).unwrap().public_key());
}

#[test]
fn an_identity_that_no_certificate_can_carry_is_refused() {
    for identity in ["", "spiffe://cluster.local/ns/größe/sa/web"] {
        let error = Csr::new(identity).err().unwrap();
        assert!(matches!(&error, CaError::Identity { identity: named } if named == identity), "{error:?}");
        assert!(!error.retry());
    }
}
