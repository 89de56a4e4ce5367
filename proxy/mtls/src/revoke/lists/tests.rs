//! Files as operators write them, whole and broken.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::{CrlError, Lists};
use crate::testing::{Ca, identity, list, wanted};
use crate::trust::Presented;

#[test]
fn an_empty_file_revokes_nothing() {
    for empty in ["", "\n", " \n\t\n"] {
        assert_eq!(Lists::parse(empty.as_bytes()).unwrap().len(), 0, "{empty:?}");
    }
}

#[test]
fn one_der_list_is_read() {
    let der = Ca::new().list(&[1]);
    assert_eq!(Lists::parse(der.der()).unwrap().len(), 1);
}

#[test]
fn every_pem_list_is_read_and_other_blocks_are_passed_over() {
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let pem = |ca: &Ca| ca.list(&[7]).pem().unwrap();
    let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let file = format!("# of two authorities\n{}{certificate}{}", pem(&one), pem(&two));
    let lists = Lists::parse(file.as_bytes()).unwrap();
    assert_eq!(lists.len(), 2);
    for ca in [&one, &two] {
        assert_eq!(naming(&lists, ca, 7), 1);
        assert_eq!(naming(&lists, ca, 8), 0);
    }
    assert_eq!(Lists::parse(certificate.as_bytes()).unwrap().len(), 0);
}

#[test]
fn one_list_that_cannot_be_read_spoils_the_file() {
    let good = Ca::new().list(&[1]).pem().unwrap();
    let bad = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    let error = Lists::parse(format!("{good}{bad}").as_bytes()).unwrap_err();
    assert!(matches!(error, CrlError::List { position: 2, .. }), "{error:?}");
}

#[test]
fn half_a_file_is_refused() {
    let ca = Ca::new();
    let pem = ca.list(&[1, 2, 3]).pem().unwrap();
    let (half, _) = pem.split_at(pem.len() / 2);
    let error = Lists::parse(half.as_bytes()).unwrap_err();
    assert!(matches!(error, CrlError::Pem { .. }), "{error:?}");
    let der = ca.list(&[1, 2, 3]);
    let error = Lists::parse(&der.der()[..der.der().len() / 2]).unwrap_err();
    assert!(matches!(error, CrlError::List { position: 1, .. }), "{error:?}");
}

#[test]
fn what_is_no_list_is_refused() {
    let root = Ca::new().root();
    for garbage in [&b"garbage"[..], b"\x30", &[0xff; 100], &root] {
        let error = Lists::parse(garbage).unwrap_err();
        assert!(matches!(error, CrlError::List { position: 1, .. }), "{error:?}");
    }
}

#[test]
fn a_list_names_certificates_of_its_issuer_only() {
    let (ours, theirs) = (Ca::named("ours"), Ca::named("theirs"));
    let lists = Lists::parse(theirs.list(&[7]).der()).unwrap();
    assert_eq!((naming(&lists, &ours, 7), naming(&lists, &theirs, 7)), (0, 1));
}

#[test]
fn serial_numbers_are_compared_whole() {
    let ca = Ca::new();
    let serials = [1, 127, 128, 255, 256, 65_535, u64::from(u32::MAX) + 1, u64::MAX >> 1];
    let lists = Lists::parse(ca.list(&serials).der()).unwrap();
    for serial in serials {
        assert_eq!(naming(&lists, &ca, serial), 1, "{serial}");
        assert_eq!(naming(&lists, &ca, serial - 1), usize::from(serials.contains(&(serial - 1))), "{serial}");
    }
}

#[test]
fn an_intermediate_is_looked_up_too_and_junk_is_passed_over() {
    let ca = Ca::new();
    let intermediate = Arc::new(ca.intermediate_numbered(90));
    let lists = Lists::parse(ca.list(&[90]).der()).unwrap();
    let mut chain = ca.sign(wanted().uri(identity("web")).serial(5).through(Arc::clone(&intermediate))).chain;
    chain.insert(1, b"junk".to_vec());
    assert_eq!(naming_chain(&lists, chain.clone()), 1);
    let by_the_intermediate = list(&intermediate, &[5], u64::from(u32::MAX));
    assert_eq!(naming_chain(&Lists::parse(by_the_intermediate.der()).unwrap(), chain), 1);
}

fn naming(lists: &Lists, ca: &Ca, serial: u64) -> usize {
    naming_chain(lists, ca.sign(wanted().uri(identity("web")).serial(serial)).chain)
}

fn naming_chain(lists: &Lists, chain: Vec<Vec<u8>>) -> usize {
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    lists.naming(Presented { leaf: &chain[0], intermediates: &chain[1..] }).len()
}
