//! What opens a tunnel stream, and what does not.

use proptest::prelude::*;

use super::{Authority, RequestError, request};
use crate::Reason;

#[track_caller]
fn check(text: &str, want: Result<&str, ()>) {
    let got = text.parse::<Authority>();
    match want {
        Ok(want) => assert_eq!(got.map(|authority| authority.to_string()).as_deref(), Ok(want), "{text:?}"),
        Err(()) => assert!(matches!(got, Err(RequestError::Authority(_))), "{text:?} gives {got:?}"),
    }
}

#[test]
fn an_authority_is_an_address_or_hostname_with_a_port() {
    check("10.0.0.1:80", Ok("10.0.0.1:80"));
    check("[2001:db8::1]:8080", Ok("[2001:db8::1]:8080"));
    check("web.ns.svc.cluster.local:443", Ok("web.ns.svc.cluster.local:443"));
    check("*.example.com:443", Ok("*.example.com:443"));
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    check("[::ffff:10.0.0.1]:80", Ok("10.0.0.1:80"));
}

#[test]
fn an_authority_without_a_real_port_is_refused() {
    for text in
        ["10.0.0.1", "web", "web:", "web:0", "10.0.0.1:0", "web:65536", "web:+80", "web:-1", "web: 80", ":80"]
    {
        check(text, Err(()));
    }
}

#[test]
fn an_authority_that_could_be_misread_is_refused() {
    for text in
        ["", "a/b:80", "a b:80", "user@web:80", "a\u{0}b:80", "a,b:80", "2001:db8::1:80", "[::1:80", "é:80"]
    {
        check(text, Err(()));
    }
    check(&format!("{}:80", "a".repeat(300)), Err(()));
}

#[test]
fn only_connect_opens_a_stream() {
    assert_eq!(request("CONNECT", Some("1.2.3.4:5")), Ok("1.2.3.4:5".parse().unwrap()));
    assert_eq!(request("GET", Some("1.2.3.4:5")), Err(RequestError::Method("GET".into())));
    assert_eq!(request("CONNECT", None), Err(RequestError::Missing));
    assert_eq!(RequestError::Missing.reason(), Reason::BadRequest);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,64}") {
        let _ = text.parse::<Authority>();
    }

    #[test]
    fn what_is_read_is_written_the_same(text in "[a-z0-9.:\\[\\]-]{1,24}:[0-9]{1,5}") {
        if let Ok(authority) = text.parse::<Authority>() {
            prop_assert_eq!(authority.to_string().parse::<Authority>(), Ok(authority));
        }
    }
}
