//! Which queries are taken, and which parameter is named when one is not.

use proxy_core::model::Identity;

use super::{Asked, Place, Query, QueryError};

fn host(name: &str) -> Place {
    Place::Host(name.to_owned())
}

#[test]
fn people_name_places_in_several_ways() {
    for (destination, want, port) in [
        ("10.0.0.1:80", Place::Address("10.0.0.1".parse().expect("an address")), 80),
        ("[fd00::1]:80", Place::Address("fd00::1".parse().expect("an address")), 80),
        ("web:80", host("web"), 80),
        ("web.default.svc.cluster.local:443", host("web.default.svc.cluster.local"), 443),
        ("default/web-1:8080", Place::Pod("default".to_owned(), "web-1".to_owned()), 8080),
        ("default%2Fweb-1%3A8080", Place::Pod("default".to_owned(), "web-1".to_owned()), 8080),
    ] {
        let query = Query::parse(&format!("source=10.0.0.9&destination={destination}"));
        let query = query.unwrap_or_else(|error| panic!("{destination}: {error}"));
        assert_eq!((query.destination, query.port, query.arrival), (want, port, None), "{destination}");
    }
}

#[test]
fn the_end_alone_may_be_asked_for() {
    let identity = Identity::new("cluster.local", "default", "client");
    for (rest, want) in [
        ("arrives=plain", Asked::Plain),
        ("arrives=tunnel", Asked::Tunnel),
        ("identity=spiffe://cluster.local/ns/default/sa/client", Asked::TunnelOf(identity)),
    ] {
        let query = Query::parse(&format!("source=default/a&destination=10.0.0.1:80&{rest}"));
        assert_eq!(query.map(|query| query.arrival), Ok(Some(want)), "{rest}");
    }
}

#[test]
fn a_bad_query_is_told_by_its_parameter() {
    for (query, want) in [
        ("", "parameter source is missing"),
        ("source=10.0.0.1", "parameter destination is missing"),
        ("source=web&destination=web:80", "parameter source is \"web\""),
        ("source=a/b/c&destination=web:80", "parameter source is"),
        ("source=10.0.0.1&destination=web", "parameter destination is \"web\""),
        ("source=10.0.0.1&destination=web:0", "parameter destination is"),
        ("source=10.0.0.1&destination=web:65536", "parameter destination is"),
        ("source=10.0.0.1&destination=fd00::1:80", "parameter destination is"),
        ("source=10.0.0.1&destination=:80", "parameter destination is"),
        ("source=10.0.0.1&destination=web:80&arrives=late", "parameter arrives is \"late\""),
        (
            "source=10.0.0.1&destination=web:80&arrives=plain&identity=spiffe://a/ns/b/sa/c",
            "parameter arrives is",
        ),
        ("source=10.0.0.1&destination=web:80&identity=me", "parameter identity is \"me\""),
        ("source=10.0.0.1&source=10.0.0.2", "parameter source is given twice"),
        ("sauce=10.0.0.1", "unknown parameter \"sauce\""),
    ] {
        let error: QueryError = Query::parse(query).expect_err(query);
        assert!(error.to_string().starts_with(want), "{query}: {error}");
        assert_eq!(error.status(), 400, "{query}");
    }
}

#[test]
fn a_value_without_end_is_quoted_in_part() {
    let error = Query::parse(&format!("source={}", "x".repeat(5000))).expect_err("no source");
    assert!(error.to_string().len() < 300, "{error}");
}
