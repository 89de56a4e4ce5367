//! The header byte by byte, as the protocol's text has it and as Envoy reads it.

use super::{HeaderTooLong, ProxyHeader};
use crate::{Reason, model::Identity};

const SIGNATURE: &str = "0d0a0d0a000d0a515549540a";

fn header(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

#[track_caller]
fn check(header: ProxyHeader, identity: Option<&Identity>, want: &str) {
    let got: String = header.encode(identity).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(got, format!("{SIGNATURE}{}", want.replace(' ', "")));
}

#[test]
fn ipv4_addresses_take_twelve_bytes() {
    check(header("10.0.0.1:4660", "10.0.0.2:8080"), None, "21 11 000c 0a000001 0a000002 1234 1f90");
}

#[test]
fn ipv6_addresses_take_thirty_six_bytes() {
    check(
        header("[2001:db8::1]:4660", "[2001:db8::2]:80"),
        None,
        "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 1234 0050",
    );
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mapped = header("[::ffff:10.0.0.1]:4660", "10.0.0.2:8080");
    assert_eq!(mapped.encode(None), header("10.0.0.1:4660", "10.0.0.2:8080").encode(None));
}

#[test]
fn two_families_are_not_told() {
    for header in [header("10.0.0.1:1", "[2001:db8::2]:80"), header("[2001:db8::2]:80", "10.0.0.1:1")] {
        check(header, None, "21 01 0000");
    }
}

#[test]
fn the_source_is_named_by_its_identity() {
    let identity = Identity::new("td", "ns", "sa");
    let text: String = "spiffe://td/ns/ns/sa/sa".bytes().map(|byte| format!("{byte:02x}")).collect();
    check(
        header("10.0.0.1:4660", "10.0.0.2:8080"),
        Some(&identity),
        &format!("21 11 0026 0a000001 0a000002 1234 1f90 d0 0017 {text}"),
    );
    check(header("10.0.0.1:1", "[::1]:80"), Some(&identity), &format!("21 01 001a d0 0017 {text}"));
}

#[test]
fn an_identity_without_end_has_no_header() {
    let header = header("10.0.0.1:1", "10.0.0.2:2");
    let long = |bytes: usize| Identity::new("td", "ns", "x".repeat(bytes - "spiffe://td/ns/ns/sa/".len()));
    let most = usize::from(u16::MAX) - 12 - 3;
    assert_eq!(header.encode(Some(&long(most))).map(|bytes| bytes.len()), Ok(12 + 4 + 65_535));
    assert_eq!(header.encode(Some(&long(most + 1))), Err(HeaderTooLong(65_536)));
    assert_eq!(header.encode(Some(&long(65_536))), Err(HeaderTooLong(65_536)));
    assert_eq!(HeaderTooLong(65_536).reason(), Reason::BadRequest);
}
