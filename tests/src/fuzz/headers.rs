//! Headers of CONNECT, and the identities in certificates.

use std::net::{IpAddr, SocketAddr};

use proxy_core::decide::canonical;
use proxy_core::model::{Identity, Workload};
use proxy_core::wire::hbone::Authority;
use proxy_core::wire::proxy_header::ProxyHeader;
use proxy_core::wire::traceparent::Traceparent;
use proxy_core::wire::{baggage as wire_baggage, forwarded as wire_forwarded, hbone};

use super::discovery;

/// What reads as an authority is written as one that reads the same, and has a port.
pub(super) fn authority(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for method in ["CONNECT", "connect", "GET", text] {
        let read = hbone::request(method, Some(text));
        assert!(read.is_err() || method == "CONNECT", "{method} opened a tunnel to {text:?}");
        match read {
            Ok(authority) => {
                assert_ne!(authority.port(), 0);
                let written = authority.to_string();
                assert_eq!(written.parse::<Authority>(), Ok(authority));
                assert!(written.len() <= 300, "{} bytes", written.len());
            }
            // What is repeated to a log is bounded.
            Err(error) => assert!(error.to_string().len() < 4_096, "{} bytes", error.to_string().len()),
        }
    }
}

/// What is kept of a baggage is printable and bounded, and is read again from what a workload of those names would send.
pub(super) fn baggage(bytes: &[u8]) {
    let read = wire_baggage::parse(bytes);
    let workload = read.workload.as_ref().map(|(_, name)| name);
    let parts = [&read.cluster, &read.namespace, &read.service, &read.version, &read.region, &read.zone];
    for text in parts.into_iter().flatten().chain(workload) {
        assert!(!text.is_empty() && text.len() <= 256, "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    let text = |part: &Option<proxy_core::Str>| part.clone().unwrap_or_else(|| "".into());
    let mut described: Workload = discovery::some_workload();
    described.cluster_id = text(&read.cluster);
    described.namespace = text(&read.namespace);
    described.canonical_name = text(&read.service);
    described.canonical_revision = text(&read.version);
    described.locality.region = text(&read.region);
    described.locality.zone = text(&read.zone);
    (described.workload_type, described.workload_name) =
        read.workload.clone().unwrap_or((described.workload_type, "".into()));
    let written = wire_baggage::encode(&described);
    assert!(http::HeaderValue::try_from(written.as_str()).is_ok(), "not a header: {written:?}");
    assert_eq!(wire_baggage::parse(written.as_bytes()), read, "{written:?}");
}

/// What is kept of a `forwarded` is read again from what we would send.
pub(super) fn forwarded(bytes: &[u8]) {
    let read = wire_forwarded::parse(bytes);
    let Some(source) = read.source else { return };
    let written = wire_forwarded::encode(source, read.host.as_deref());
    assert!(http::HeaderValue::try_from(written.as_str()).is_ok(), "not a header: {written:?}");
    assert_eq!(wire_forwarded::parse(written.as_bytes()), read, "{written:?}");
}

/// What reads as a trace is written as one of the same ids, neither of them 0.
pub(super) fn traceparent(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(read) = text.parse::<Traceparent>() else { return };
    assert_ne!((read.trace_id(), read.parent_id()), (0, 0));
    assert_eq!(read.to_string().parse(), Ok(read));
}

/// One text, one identity: no two texts read as the same one, and its parts cannot hide another.
pub(super) fn identity(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.parse::<Identity>() {
        Ok(identity) => {
            assert_eq!(identity.to_string(), text);
            for part in [&identity.trust_domain, &identity.namespace, &identity.service_account] {
                assert!(!part.is_empty() && !part.contains('/'), "{text:?}");
            }
            assert_eq!(format!("spiffe://{}", identity.principal()), text);
        }
        Err(error) => assert!(error.to_string().len() < 4_096, "{} bytes", error.to_string().len()),
    }
}

/// Whoever reads what we write finds what we meant: addresses where both are of one family, and the identity whole.
///
/// The bytes are two addresses, then an identity.
pub(super) fn proxy_header(bytes: &[u8]) {
    let Some((header, who)) = some_header(bytes) else { return };
    let who = str::from_utf8(who).ok().and_then(|text| text.parse::<Identity>().ok());
    let Ok(written) = header.encode(who.as_ref()) else {
        assert!(who.is_some_and(|who| who.to_string().len() > 60_000), "a header that does not fit");
        return;
    };
    let rest = written.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n").expect("the signature");
    let (family, length) = (rest[1], usize::from(rest[2]) << 8 | usize::from(rest[3]));
    assert_eq!((rest[0], length), (0x21, rest.len() - 4), "{written:?}");
    let (source, destination) = (header.source, header.destination);
    let (source, destination) = (canonical(source), canonical(destination));
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut want = Vec::new();
    if source.is_ipv4() == destination.is_ipv4() {
        assert_eq!(family, if source.is_ipv4() { 0x11 } else { 0x21 });
        want.extend(octets(source.ip()).into_iter().chain(octets(destination.ip())));
        want.extend(source.port().to_be_bytes().into_iter().chain(destination.port().to_be_bytes()));
    } else {
        assert_eq!(family, 0x01);
    }
    let told = rest[4..].strip_prefix(want.as_slice()).expect("the addresses");
    match who {
        None => assert_eq!(told, b""),
        Some(who) => {
            assert_eq!((told[0], usize::from(told[1]) << 8 | usize::from(told[2])), (0xd0, told.len() - 3));
            assert_eq!(&told[3..], who.to_string().as_bytes());
        }
    }
}

/// Two addresses out of bytes: for each a family, up to 16 octets, and a port.
fn some_header(bytes: &[u8]) -> Option<(ProxyHeader, &[u8])> {
    let (source, rest) = some_address(bytes)?;
    let (destination, rest) = some_address(rest)?;
    Some((ProxyHeader { source, destination }, rest))
}

fn some_address(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (family, rest) = bytes.split_first()?;
    let (ip, rest): (IpAddr, _) = if family % 2 == 0 {
        let (octets, rest) = rest.split_first_chunk::<4>()?;
        ((*octets).into(), rest)
    } else {
        let (octets, rest) = rest.split_first_chunk::<16>()?;
        ((*octets).into(), rest)
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}
