use proptest::prelude::{any, proptest};

use super::*;

fn resources() -> BTreeMap<(TypeUrl, String), Kept> {
    let kept = |value: &[u8]| Kept { version: "1f".to_owned(), value: value.to_vec() };
    BTreeMap::from([
        ((TypeUrl::Address, "c//Pod/ns/a".to_owned()), kept(b"\x00bytes")),
        ((TypeUrl::Authorization, "ns/p".to_owned()), kept(b"")),
    ])
}

#[test]
fn what_is_written_is_read_back() {
    let snapshot = decode(&encode("c//n", 7, &resources())).unwrap();
    assert_eq!(snapshot, Snapshot { context: "c//n".to_owned(), taken: 7, resources: resources() });
    assert_eq!(decode(&encode("", 0, &BTreeMap::new())).unwrap().resources, BTreeMap::new());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let whole = encode("c//n", 7, &resources());
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        let why = if at < 8 { FormatError::Magic } else { FormatError::Checksum };
        assert_eq!(decode(&damaged), Err(why), "byte {at}");
        assert!(decode(&whole[..at]).is_err(), "cut at {at}");
    }
}

/// With a checksum that fits, so that the rest is looked at.
fn sealed(body: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &checksum(body).to_be_bytes(), body].concat()
}

#[test]
fn a_sealed_body_without_sense_is_refused() {
    let head = |count: u64| [&7_u64.to_be_bytes()[..], &0_u64.to_be_bytes(), &count.to_be_bytes()].concat();
    let with = |count, rest: &[u8]| decode(&sealed(&[&head(count), rest].concat()));
    assert_eq!(with(0, b"x"), Err(FormatError::Long));
    assert_eq!(with(u64::MAX, b""), Err(FormatError::Short));
    assert_eq!(with(1, &[9]), Err(FormatError::Type(9)));
    assert_eq!(with(1, &[&[1][..], &u64::MAX.to_be_bytes()].concat()), Err(FormatError::Short));
    assert_eq!(with(1, &[&[1][..], &1_u64.to_be_bytes(), &[0xff]].concat()), Err(FormatError::Text));
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_old() {
    let snapshot = decode(&encode("", 100, &BTreeMap::new())).unwrap();
    assert_eq!((snapshot.age(160), snapshot.age(40)), (Duration::from_secs(60), Duration::ZERO));
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&body);
        let _ = decode(&sealed(&body));
    }
}
