//! Headers of CONNECT, and the identities in certificates.

use proxy_core::model::{Identity, Workload};
use proxy_core::wire::hbone::Authority;
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
