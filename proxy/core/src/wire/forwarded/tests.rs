//! Whom a stream is carried for.

use proptest::prelude::*;

use super::{Forwarded, encode, parse};

#[test]
fn the_client_and_the_service_are_named() {
    let source = "10.0.0.1:4000".parse().unwrap();
    assert_eq!(encode(source, None), "for=\"10.0.0.1:4000\"");
    assert_eq!(
        encode("[2001:db8::1]:4000".parse().unwrap(), Some("web.ns.svc.cluster.local")),
        "for=\"[2001:db8::1]:4000\";host=web.ns.svc.cluster.local"
    );
}

#[test]
fn a_name_that_could_be_misread_is_not_written() {
    let source = "10.0.0.1:4000".parse().unwrap();
    for host in ["", "a;host=b", "a,for=b", "a\"b", "a\r\nb"] {
        assert_eq!(encode(source, Some(host)), "for=\"10.0.0.1:4000\"", "{host:?}");
    }
}

#[track_caller]
fn check(header: &str, source: Option<&str>, host: Option<&str>) {
    let want = Forwarded { source: source.map(|source| source.parse().unwrap()), host: host.map(Into::into) };
    assert_eq!(parse(header.as_bytes()), want, "{header:?}");
}

#[test]
fn what_peers_write_is_read() {
    check("for=\"10.0.0.1:4000\";host=web", Some("10.0.0.1:4000"), Some("web"));
    check("host=\"web\"", None, Some("web"));
    check("For=10.0.0.1 ; Host = web", Some("10.0.0.1:0"), Some("web"));
    check("for=\"[::ffff:10.0.0.1]:1\"", Some("10.0.0.1:1"), None);
    check("for=[2001:db8::1]", Some("[2001:db8::1]:0"), None);
}

#[test]
fn what_is_malformed_is_left_out() {
    check("for=_hidden;host=web", None, Some("web"));
    check("for=unknown;host=\"a b\"", None, None);
    check("host=a;host=b, host=c", None, Some("a"));
    check("host=é", None, None);
    check(&format!("host={}", "a".repeat(2000)), None, None);
}

proptest! {
    #[test]
    fn any_bytes_are_read(header in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse(&header);
    }

    #[test]
    fn what_is_written_is_read(ip in any::<std::net::IpAddr>(), port in 1_u16.., host in "[a-z0-9.-]{1,60}") {
        let source = std::net::SocketAddr::new(ip.to_canonical(), port);
        let read = parse(encode(source, Some(&host)).as_bytes());
        prop_assert_eq!(read, Forwarded { source: Some(source), host: Some(host.as_str().into()) });
    }
}
