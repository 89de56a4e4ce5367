//! The words that reach dashboards and peers.

use std::collections::BTreeSet;

use super::{Level, Reason, flag};

/// Labels are an interface: dashboards and alerts name them. Add to this list, never rename.
const LABELS: [&str; 16] = [
    "BAD_REQUEST",
    "CERT_REVOKED",
    "CONNECT",
    "DENY",
    "DRAIN",
    "H2_HANDSHAKE_FAILURE",
    "HALF_CLOSE_TIMEOUT",
    "IDENTITY_ERROR",
    "IO",
    "NETWORK_POLICY",
    "NO_ENDPOINT",
    "NO_ROUTE",
    "OVERLOADED",
    "SELF_CALL",
    "TLS_FAILURE",
    "UNKNOWN_WORKLOAD",
];

#[test]
fn the_labels_are_the_committed_ones() {
    let labels: BTreeSet<_> = Reason::ALL.into_iter().map(Reason::flag).collect();
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), LABELS);
}

#[test]
fn only_what_ztunnel_counts_as_one_thing_shares_a_label() {
    let shared: Vec<_> = Reason::ALL
        .into_iter()
        .filter(|one| Reason::ALL.iter().any(|other| other != one && other.flag() == one.flag()))
        .collect();
    let known =
        [Reason::PolicyDenied, Reason::PolicyChanged, Reason::ConnectFailed, Reason::PeerRefused].as_slice();
    assert_eq!(shared, known);
}

#[test]
fn every_reason_is_listed_once() {
    let distinct: BTreeSet<_> = Reason::ALL.into_iter().collect();
    assert_eq!(distinct.len(), Reason::ALL.len());
    assert_eq!(Reason::ALL.last(), Some(&Reason::Overloaded), "the last one declared");
}

#[test]
fn a_refusal_by_policy_is_401_and_a_malformed_request_400() {
    assert_eq!(Reason::PolicyDenied.status(), Some(401));
    assert_eq!(Reason::BadRequest.status(), Some(400));
    let others = Reason::ALL.into_iter().filter_map(Reason::status).filter(|status| *status != 503).count();
    assert_eq!(others, 2, "every other status is 503");
}

#[test]
fn only_a_drain_is_not_an_error() {
    let quiet: Vec<_> = Reason::ALL.into_iter().filter(|reason| reason.level() == Level::Info).collect();
    assert_eq!(quiet, [Reason::Drained]);
}

#[test]
fn a_clean_close_has_a_dash_for_a_flag() {
    assert_eq!(flag(None), "-");
    assert_eq!(flag(Some(Reason::Revoked)), "CERT_REVOKED");
}
