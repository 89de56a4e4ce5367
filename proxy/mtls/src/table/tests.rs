//! The book alone.

use std::time::Duration;

use proxy_core::model::Identity;
use tokio::task::AbortHandle;

use super::{Asked, State, Table};
use crate::schedule::{Jitter, Now};
use crate::testing::{Ca, identity, now, wanted};
use crate::{Credentials, FetchError, TlsPolicy};

#[tokio::test]
async fn what_an_abandoned_attempt_brings_is_not_taken_for_the_next_one() {
    let (ca, web) = (Ca::new(), identity("web"));
    let mut table = Table::new(10);
    let _waiting = table.ask(&web, at(0)).unwrap();
    let abandoned = table.begin(&web, task());
    table.forget(&web);
    let _waiting = table.ask(&web, at(1)).unwrap();
    let current = table.begin(&web, task());

    table.finish(&web, abandoned, Ok(certificate(&ca, &web, 1)), at(2), Jitter::draw());
    assert!(matches!(table.ask(&web, at(2)).unwrap(), Asked::Wait(_)));
    table.finish(&web, current, Ok(certificate(&ca, &web, 2)), at(3), Jitter::draw());
    let Asked::Settled(State::Available(got)) = table.ask(&web, at(3)).unwrap() else { panic!() };
    assert_eq!(got.chain()[0].serial, "2");
}

#[tokio::test]
async fn an_identity_in_flight_is_not_due_again() {
    let (one, two) = (identity("one"), identity("two"));
    let mut table = Table::new(10);
    table.want(&one, at(0)).unwrap();
    table.want(&two, at(1)).unwrap();
    assert_eq!(table.due(at(2), 8), [one.clone(), two.clone()]);
    assert_eq!(table.due(at(2), 1), std::slice::from_ref(&one));
    assert_eq!(table.due(at(2), 0), []);
    let attempt = table.begin(&one, task());
    assert_eq!(table.due(at(2), 8), std::slice::from_ref(&two));
    table.finish(&one, attempt, Err(FetchError::Panicked), at(2), Jitter::draw());
    assert_eq!(table.due(at(2), 8), std::slice::from_ref(&two));
    assert_eq!(table.wait(at(3)), Some(Duration::ZERO));
    assert_eq!(table.due(at(4), 8), [two, one]);
}

fn certificate(ca: &Ca, identity: &Identity, serial: u64) -> Credentials {
    let material = ca.sign(wanted().uri(identity).serial(serial));
    Credentials::new(identity.clone(), material, &TlsPolicy::default().into()).unwrap()
}

fn task() -> AbortHandle {
    tokio::spawn(std::future::pending::<()>()).abort_handle()
}

/// So many seconds after the store began.
fn at(uptime: u64) -> Now {
    let uptime = Duration::from_secs(uptime);
    Now { uptime, wall: now() + uptime }
}
