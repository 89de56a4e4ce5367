//! What material is served and what is refused.

use rcgen::KeyPair;

use super::{Credentials, MaterialError};
use crate::testing::{Ca, identity, wanted};
use crate::{Material, TlsPolicy};

fn read(change: impl FnOnce(&mut Material)) -> Result<Credentials, MaterialError> {
    let identity = identity("web");
    let mut material = Ca::new().material(&identity);
    change(&mut material);
    Credentials::new(identity, material, &TlsPolicy::default().into())
}

#[test]
fn good_material_says_whose_it_is_and_for_how_long() {
    let identity = identity("web");
    let material = Ca::new().sign(wanted().uri(&identity).valid(1_000, 5_000).serial(305_419_896));
    let credentials = Credentials::new(identity.clone(), material, &TlsPolicy::default().into()).unwrap();
    assert_eq!(credentials.identity(), &identity);
    assert_eq!((credentials.not_before().as_secs(), credentials.not_after().as_secs()), (1_000, 5_000));
    assert_eq!(credentials.chain()[0].serial, "305419896");
    assert_eq!(credentials.roots().certificates().len(), 1);
}

#[test]
fn every_policy_can_be_built() {
    let ca = Ca::new();
    for (tls12, pqc) in [(false, false), (true, false), (false, true), (true, true)] {
        let identity = identity("web");
        let built =
            Credentials::new(identity.clone(), ca.material(&identity), &TlsPolicy { tls12, pqc }.into());
        assert!(built.is_ok(), "tls12 {tls12}, pqc {pqc}: {built:?}");
    }
}

#[test]
fn an_empty_chain_is_refused() {
    let result = read(|material| material.chain.clear());
    assert!(matches!(result, Err(MaterialError::NoChain)), "{result:?}");
}

#[test]
fn an_unreadable_certificate_is_refused_by_its_position() {
    for (position, chain_end) in [(0, None), (1, Some(b"garbage".to_vec()))] {
        let result = read(|material| match chain_end {
            None => material.chain[0].truncate(40),
            Some(garbage) => material.chain.push(garbage),
        });
        assert!(
            matches!(result, Err(MaterialError::Certificate { position: at, .. }) if at == position),
            "{result:?}"
        );
    }
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let ca = Ca::new();
    let result =
        Credentials::new(identity("web"), ca.material(&identity("api")), &TlsPolicy::default().into());
    let Err(MaterialError::WrongIdentity { wanted, got }) = result else { panic!("{result:?}") };
    assert_eq!((wanted, got), (identity("web"), Some(identity("api"))));
}

#[test]
fn a_certificate_without_a_spiffe_identity_is_refused() {
    let material = Ca::new().sign(wanted().dns("web.apps.svc").uri("https://apps/web"));
    let result = Credentials::new(identity("web"), material, &TlsPolicy::default().into());
    assert!(matches!(result, Err(MaterialError::WrongIdentity { got: None, .. })), "{result:?}");
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let result = read(|material| material.key = KeyPair::generate().unwrap().serialize_der());
    assert!(matches!(result, Err(MaterialError::Key { .. })), "{result:?}");
}

#[test]
fn an_unreadable_key_is_refused() {
    let result = read(|material| material.key = b"garbage".to_vec());
    assert!(matches!(result, Err(MaterialError::Key { .. })), "{result:?}");
}

#[test]
fn material_without_a_readable_root_is_refused() {
    for roots in [vec![], vec![b"garbage".to_vec()]] {
        let result = read(|material| material.roots = roots);
        assert!(matches!(result, Err(MaterialError::NoRoots)), "{result:?}");
    }
}

#[test]
fn an_unreadable_root_is_skipped_beside_a_good_one() {
    let credentials = read(|material| material.roots.insert(0, b"garbage".to_vec())).unwrap();
    assert_eq!(credentials.roots().certificates().len(), 1);
}

#[test]
fn a_key_is_never_printed() {
    let identity = identity("web");
    let material = Ca::new().material(&identity);
    let first_bytes = format!("{:?}", &material.key[..4]);
    let first_bytes = first_bytes.trim_end_matches(']').to_owned();
    let printed = format!("{material:?}");
    assert!(!printed.contains(&first_bytes) && !printed.contains("key"), "{printed}");
}
