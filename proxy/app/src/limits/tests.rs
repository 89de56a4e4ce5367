//! Which bound an ending is counted under, through all that is wrapped around its cause.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::Reason;

use super::*;

const LIMIT: Duration = Duration::from_secs(1);

#[track_caller]
fn check(error: ConnError, want: Option<Limit>) {
    assert_eq!(Limit::behind(&error), want, "{error:?}");
}

fn timed_out() -> DialError {
    DialError::TimedOut { to: "10.0.0.2:80".parse().expect("an address"), after: LIMIT }
}

/// A next hop that was not reached.
#[derive(Debug, thiserror::Error)]
#[error("no hop")]
struct Hop(#[source] DialError);

impl proxy_hbone::DialError for Hop {
    fn reason(&self) -> Reason {
        Reason::NetworkPolicy
    }
}

#[test]
fn a_bound_is_found_behind_what_it_ended() {
    check(ConnError::Dial(timed_out()), Some(Limit::TcpConnect));
    check(ConnError::Tunnel(TunnelError::Dial(Arc::new(Hop(timed_out())))), Some(Limit::TcpConnect));
    check(ConnError::Tls(TlsError::Timeout { limit: LIMIT }), Some(Limit::TlsHandshake));
    check(ConnError::Handshakes, Some(Limit::Handshakes));
    check(ConnError::HalfCloseTimeout, Some(Limit::HalfClosed));
    for (error, want) in [
        (TunnelError::SettingsTimeout { limit: LIMIT }, Limit::Settings),
        (TunnelError::ResponseTimeout { limit: LIMIT }, Limit::ConnectResponse),
        (TunnelError::KeepaliveTimeout { limit: LIMIT }, Limit::Ping),
        (TunnelError::TooManyResets { limit: 1 }, Limit::Resets),
    ] {
        check(ConnError::Tunnel(error), Some(want));
    }
}

#[test]
fn other_endings_reach_no_bound() {
    check(ConnError::Drained, None);
    check(ConnError::SelfCall, None);
    check(ConnError::Tunnel(TunnelError::Closed), None);
    check(ConnError::Tls(TlsError::Alpn { got: None }), None);
}
