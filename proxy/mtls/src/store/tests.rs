//! The store against a source that the test answers by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use proxy_core::Reason;
use proxy_core::model::Identity;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use x509_parser::pem::parse_x509_pem;

use super::{CertSource, Limits, SourceError, Store, TICK};
use crate::credentials::MaterialError;
use crate::testing::{Ca, identity, now, tcp, wanted};
use crate::{
    Census, Credentials, FetchError, IdentityError, Material, TlsLimits, TlsPolicy, accept, connect,
};

#[tokio::test(start_paused = true)]
async fn many_waiters_share_one_fetch() {
    let mut rig = Rig::new();
    let waiters: Vec<_> = (0..50).map(|_| rig.ask("web")).collect();
    rig.called("web").await.issue(&rig.ca);
    let mut first = None;
    for waiter in waiters {
        let credentials = waiter.await.unwrap().unwrap();
        assert!(Arc::ptr_eq(first.get_or_insert_with(|| Arc::clone(&credentials)), &credentials));
    }
    assert!(Arc::ptr_eq(&rig.have("web"), first.as_ref().unwrap()));
    rig.no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_prefetched_certificate_is_there_when_a_connection_comes() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    rig.called("web").await.issue(&rig.ca);
    settle().await;
    assert_eq!(rig.have("web").identity(), &identity("web"));
    rig.store.prefetch(&identity("web"));
    rig.no_call().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_is_in_flight() {
    let mut rig = Rig::new();
    for n in 0..20 {
        rig.store.prefetch(&identity(&format!("sa{n}")));
    }
    let mut flying = Vec::new();
    for landed in 0..12 {
        while flying.len() < 8 {
            flying.push(rig.call().await);
        }
        rig.no_call().await;
        if landed % 2 == 0 {
            flying.remove(0).issue(&rig.ca)
        } else {
            flying.remove(0).refuse()
        }
        flying.push(rig.call().await);
    }
    rig.no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_before_prefetches_and_hurries_one_that_stands_in_line() {
    let mut rig = Rig::new();
    let mut flying = rig.fill().await;
    for name in ["warm1", "warm2", "warm3"] {
        rig.store.prefetch(&identity(name));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let _new = rig.ask("new");
    settle().await;
    let _raised = rig.ask("warm3");
    settle().await;
    rig.no_call().await;
    for want in ["warm3", "new", "warm1", "warm2"] {
        flying.remove(0).issue(&rig.ca);
        flying.push(rig.called(want).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefetch_goes_before_a_renewal() {
    let mut rig = Rig::new();
    rig.provide("old").await;
    let mut flying = rig.fill().await;
    // Long enough for the renewal to fall due, and shorter than a fetch may take.
    rig.skew(Duration::from_secs(1_000));
    settle().await;
    rig.store.prefetch(&identity("warm"));
    for want in ["warm", "old"] {
        flying.remove(0).issue(&rig.ca);
        flying.push(rig.called(want).await);
    }
}

#[tokio::test(start_paused = true)]
async fn forgetting_abandons_the_fetch_and_tells_who_waits() {
    let mut rig = Rig::new();
    let waiter = rig.ask("web");
    let call = rig.called("web").await;
    rig.store.forget(&identity("web"));
    let error = waiter.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, IdentityError::Forgotten { identity: gone } if *gone == identity("web")),
        "{error:?}"
    );
    assert_eq!(error.reason(), Reason::IdentityUnavailable);
    settle().await;
    assert!(call.answer.is_closed());
    assert_eq!(rig.store.dump(), []);

    // Asked for again it is a new identity: nothing of the abandoned fetch is used.
    let waiter = rig.ask("web");
    rig.called("web").await.issue(&rig.ca);
    assert_eq!(waiter.await.unwrap().unwrap().identity(), &identity("web"));
}

#[tokio::test(start_paused = true)]
async fn forgetting_frees_the_place_in_flight() {
    let mut rig = Rig::new();
    let _flying = rig.fill().await;
    rig.store.prefetch(&identity("next"));
    rig.no_call().await;
    rig.store.forget(&identity("held0"));
    settle().await;
    assert_eq!(rig.calls.try_recv().unwrap().identity, identity("next"));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_certificate_is_not_renewed() {
    let mut rig = Rig::new();
    rig.provide("web").await;
    rig.store.forget(&identity("web"));
    tokio::time::advance(Duration::from_secs(10_000)).await;
    rig.no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_at_half_life() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    let call = rig.called("web").await;
    let began = Instant::now();
    call.issue_for(&rig.ca, 1_000);
    let renewal = rig.called("web").await;
    assert_about(began.elapsed(), Duration::from_secs(500));

    let old = rig.have("web");
    renewal.issue_for(&rig.ca, 1_000);
    settle().await;
    assert!(!Arc::ptr_eq(&old, &rig.have("web")));
    rig.called("web").await;
    assert_about(began.elapsed(), Duration::from_secs(1_000));
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_connections() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("api"));
    let call = rig.called("api").await;
    call.send(Ok(rig.ca.sign(wanted().uri(identity("api")).serial(41))));
    let client = rig.ca.credentials(&identity("web"));
    assert_eq!(served(&rig.ready("api").await, &client).await, "41");

    rig.skew(Duration::from_secs(1_800));
    rig.store.shared.wake.notify_one();
    rig.called("api").await.send(Ok(rig.ca.sign(wanted().uri(identity("api")).serial(42))));
    let old = rig.have("api");
    while Arc::ptr_eq(&old, &rig.have("api")) {
        tokio::task::yield_now().await;
    }
    assert_eq!(served(&rig.have("api"), &client).await, "42");
    assert_eq!(served(&old, &client).await, "41");
}

#[tokio::test(start_paused = true)]
async fn a_failing_renewal_keeps_serving_until_the_certificate_expires() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    rig.called("web").await.issue_for(&rig.ca, 1_000);
    let served = rig.ready("web").await;
    loop {
        let call = rig.called("web").await;
        let valid = rig.wall() < served.not_after();
        call.refuse();
        settle().await;
        if !valid {
            break;
        }
        assert!(Arc::ptr_eq(&rig.have("web"), &served));
        assert_eq!(rig.state("web"), "Available");
    }
    // The retries slow down to minutes, but one of them is at the very end.
    assert_about(rig.wall(), served.not_after());
    let error = rig.refused("web");
    assert!(matches!(error, IdentityError::Unavailable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_fails_at_once_while_there_is_no_certificate_and_hurries_nothing() {
    let mut rig = Rig::new();
    let waiter = rig.ask("web");
    rig.called("web").await.refuse();
    let began = Instant::now();
    let error = waiter.await.unwrap().unwrap_err();
    let IdentityError::Unavailable { identity: whose, source } = &error else { panic!("{error:?}") };
    assert_eq!(whose, &identity("web"));
    assert!(matches!(**source, FetchError::Source { .. }), "{source:?}");

    for _ in 0..10 {
        let error = rig.refused("web");
        assert!(matches!(error, IdentityError::Unavailable { .. }), "{error:?}");
    }
    let retry = rig.called("web").await;
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    assert!(matches!(rig.refused("web"), IdentityError::Unavailable { .. }));
    retry.issue(&rig.ca);
    settle().await;
    assert_eq!(rig.have("web").identity(), &identity("web"));
}

#[tokio::test(start_paused = true)]
async fn one_failing_identity_delays_no_other() {
    let mut rig = Rig::new();
    let waiter = rig.ask("bad");
    rig.called("bad").await.refuse();
    waiter.await.unwrap().unwrap_err();
    let waiter = rig.ask("good");
    rig.called("good").await.issue(&rig.ca);
    assert_eq!(waiter.await.unwrap().unwrap().identity(), &identity("good"));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_somebody_else_is_not_served() {
    let mut rig = Rig::new();
    let waiter = rig.ask("web");
    let call = rig.called("web").await;
    call.send(Ok(rig.ca.material(&identity("api"))));
    let error = waiter.await.unwrap().unwrap_err();
    let IdentityError::Unavailable { source, .. } = error else { panic!("{error:?}") };
    assert!(
        matches!(*source, FetchError::Material { source: MaterialError::WrongIdentity { .. } }),
        "{source:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_given_up_on() {
    let mut rig = Rig::new();
    let waiter = rig.ask("web");
    let began = Instant::now();
    let _call = rig.called("web").await;
    let error = waiter.await.unwrap().unwrap_err();
    let IdentityError::Unavailable { source, .. } = error else { panic!("{error:?}") };
    assert!(
        matches!(*source, FetchError::Timeout { limit } if limit == Limits::default().fetch),
        "{source:?}"
    );
    assert_about(began.elapsed(), Limits::default().fetch);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_fails_one_attempt() {
    let store = Store::new(Arc::new(Panics), TlsPolicy::default(), Limits::default());
    let error = store.credentials(&identity("web")).await.unwrap_err();
    let IdentityError::Unavailable { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, FetchError::Panicked), "{source:?}");
    let error = store.credentials(&identity("api")).await.unwrap_err();
    assert!(matches!(error, IdentityError::Unavailable { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_store_takes_no_new_identity_and_serves_the_old_ones() {
    let mut rig = Rig::with(Limits { identities: 2, ..Limits::default() });
    rig.provide("one").await;
    rig.provide("two").await;
    let error = rig.refused("three");
    assert!(matches!(error, IdentityError::Full { limit: 2, .. }), "{error:?}");
    rig.store.prefetch(&identity("three"));
    rig.no_call().await;
    assert_eq!(rig.have("one").identity(), &identity("one"));

    rig.store.forget(&identity("one"));
    rig.provide("three").await;
}

#[tokio::test(start_paused = true)]
async fn an_identity_without_workload_or_connections_is_dropped_instead_of_renewed() {
    let mut rig = Rig::new();
    let waiter = rig.ask("gone");
    rig.called("gone").await.issue_for(&rig.ca, 8_000);
    waiter.await.unwrap().unwrap();
    rig.store.prefetch(&identity("here"));
    rig.called("here").await.issue_for(&rig.ca, 8_000);
    rig.called("here").await;
    assert_eq!(rig.store.dump().len(), 1);
    rig.no_call().await;
}

#[tokio::test(start_paused = true)]
async fn an_identity_without_workload_is_renewed_while_connections_ask_for_it() {
    let mut rig = Rig::new();
    let waiter = rig.ask("busy");
    rig.called("busy").await.issue_for(&rig.ca, 8_000);
    waiter.await.unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(3_000)).await;
    rig.have("busy");
    rig.called("busy").await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_renews_when_it_wakes() {
    let mut rig = Rig::new();
    rig.provide("web").await;
    rig.no_call().await;
    rig.skew(Duration::from_secs(50_000));
    let woke = Instant::now();
    rig.called("web").await;
    assert!(woke.elapsed() <= TICK, "{:?}", woke.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_leap_of_two_days_a_connection_waits_for_a_new_certificate_and_is_not_offered_the_old_one() {
    let mut rig = Rig::new();
    rig.provide("web").await;
    let old = rig.have("web");
    rig.skew(Duration::from_secs(2 * 86_400));
    let began = Instant::now();
    let waiters = [rig.ask("web"), rig.ask("web")];
    rig.called("web").await.issue(&rig.ca);
    for waiter in waiters {
        let new = waiter.await.unwrap().unwrap();
        assert!(!Arc::ptr_eq(&old, &new) && new.not_after() > rig.wall());
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waited for a tick");
}

#[tokio::test(start_paused = true)]
async fn a_leap_is_noticed_within_a_tick_without_any_connection() {
    let mut rig = Rig::new();
    rig.provide("web").await;
    rig.no_call().await;
    rig.skew(Duration::from_secs(2 * 86_400));
    let woke = Instant::now();
    rig.called("web").await.issue(&rig.ca);
    assert!(woke.elapsed() <= TICK, "{:?}", woke.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_ended_certificate_that_cannot_be_renewed_is_refused_at_once_and_not_served() {
    let mut rig = Rig::new();
    rig.provide("web").await;
    rig.skew(Duration::from_secs(2 * 86_400));
    let waiter = rig.ask("web");
    rig.called("web").await.refuse();
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(error, IdentityError::Unavailable { .. }), "{error:?}");
    assert!(matches!(rig.refused("web"), IdentityError::Unavailable { .. }));
    rig.called("web").await.issue(&rig.ca);
    settle().await;
    assert!(rig.have("web").not_after() > rig.wall());
}

#[tokio::test(start_paused = true)]
async fn with_the_clock_set_back_ten_minutes_what_there_is_serves_on_also_when_renewals_fail() {
    let mut rig = Rig::new();
    rig.provide("web").await;
    let served = rig.have("web");
    rig.set_back(Duration::from_secs(600));
    rig.no_call().await;
    assert!(Arc::ptr_eq(&rig.have("web"), &served));
    let began = Instant::now();
    rig.called("web").await.refuse();
    settle().await;
    assert_about(began.elapsed(), Duration::from_secs(600 + 500));
    assert!(Arc::ptr_eq(&rig.have("web"), &served));
}

#[tokio::test(start_paused = true)]
async fn a_failing_renewal_before_the_start_of_validity_keeps_serving() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    let call = rig.called("web").await;
    // The clock is ten minutes behind the authority's.
    let (from, to) = (call.wall + 600, call.wall + 4_200);
    call.send(Ok(rig.ca.sign(wanted().uri(identity("web")).valid(from, to))));
    let served = rig.ready("web").await;
    rig.called("web").await.refuse();
    settle().await;
    assert!(Arc::ptr_eq(&rig.have("web"), &served));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_begins_in_a_minute_is_served_and_nobody_is_asked_again() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    let call = rig.called("web").await;
    let began = Instant::now();
    let (from, to) = (call.wall + 60, call.wall + 1_060);
    call.send(Ok(rig.ca.sign(wanted().uri(identity("web")).valid(from, to))));
    rig.ready("web").await;
    rig.called("web").await;
    assert_about(began.elapsed(), Duration::from_secs(560));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_machine_renews_what_fell_due_when_it_thaws_and_drops_nothing() {
    let mut rig = Rig::new();
    for (name, seconds) in [("soon", 2_000), ("later", 86_400)] {
        rig.store.prefetch(&identity(name));
        let call = rig.called(name).await;
        call.issue_for(&rig.ca, seconds);
        rig.ready(name).await;
    }
    rig.skew(Duration::from_secs(20 * 60));
    let thawed = Instant::now();
    rig.called("soon").await.issue(&rig.ca);
    assert!(thawed.elapsed() <= TICK, "{:?}", thawed.elapsed());
    rig.no_call().await;
    rig.have("later");
}

#[tokio::test(start_paused = true)]
async fn a_success_after_failures_begins_the_pace_anew() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    for _ in 0..6 {
        rig.called("web").await.refuse();
    }
    rig.called("web").await.issue_for(&rig.ca, 1_000);
    settle().await;
    rig.have("web");
    rig.called("web").await.refuse();
    let failed = Instant::now();
    rig.called("web").await.issue(&rig.ca);
    assert!(failed.elapsed() <= Duration::from_millis(1_200), "{:?}", failed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_workloads_that_come_and_go_loses_none() {
    let mut rig = Rig::with(Limits { in_flight: 4_096, ..Limits::default() });
    for n in 0..2_000 {
        rig.store.prefetch(&identity(&format!("sa{n}")));
    }
    for n in (0..2_000).filter(|n| n % 2 == 0) {
        rig.store.forget(&identity(&format!("sa{n}")));
    }
    settle().await;
    let mut asked = Vec::new();
    while let Ok(call) = rig.calls.try_recv() {
        if !call.answer.is_closed() {
            asked.push(call.identity.clone());
        }
    }
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 1_000);
    assert_eq!(rig.store.dump().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn the_census_tells_what_an_alarm_needs() {
    let mut rig = Rig::new();
    assert_eq!(rig.store.census(), Census::default());
    for (name, seconds) in [("good", 86_400), ("late", 1_000)] {
        rig.store.prefetch(&identity(name));
        let call = rig.called(name).await;
        call.issue_for(&rig.ca, seconds);
        rig.ready(name).await;
    }
    rig.store.prefetch(&identity("bad"));
    rig.called("bad").await.refuse();
    rig.store.prefetch(&identity("new"));
    settle().await;
    let before = rig.store.census();
    let first_end = rig.have("late").not_after();
    let counted = Census { available: 2, initializing: 1, unavailable: 1, failures: 1, ..Census::default() };
    assert_eq!(before, Census { first_end: Some(first_end), ..counted });
    rig.skew(Duration::from_secs(800));
    assert_eq!((rig.store.census().available, rig.store.census().overdue), (1, 1));
    rig.skew(Duration::from_secs(400));
    assert_eq!((rig.store.census().overdue, rig.store.census().expired), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn certificates_that_are_due_on_arrival_are_served_and_fetched_at_a_pace() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    let began = Instant::now();
    for _ in 0..6 {
        let late = rig.ca.sign(wanted().uri(identity("web")).valid(1_000, 2_000));
        rig.called("web").await.send(Ok(late));
        settle().await;
        rig.have("web");
    }
    // 1 + 2 + 4 + 8 + 16 seconds, each less a fifth.
    assert!(began.elapsed() >= Duration::from_secs(24), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_dump_shows_every_state_and_no_key() {
    let mut rig = Rig::new();
    let mut flying = None;
    for name in ["good", "bad", "new"] {
        rig.store.prefetch(&identity(name));
        let call = rig.called(name).await;
        match name {
            "good" => call.send(Ok(rig.ca.sign(wanted().uri(identity("good")).serial(4_294_967_296)))),
            "bad" => call.refuse(),
            _ => flying = Some(call),
        }
        settle().await;
    }
    let dump = rig.store.dump();
    drop(flying);
    let states: Vec<_> =
        dump.iter().map(|entry| (entry.identity.to_string(), entry.state.as_str())).collect();
    assert_eq!(
        states,
        [
            (identity("bad").to_string(), "Unavailable: fetch certificate: the authority says no"),
            (identity("good").to_string(), "Available"),
            (identity("new").to_string(), "Initializing"),
        ]
    );
    assert_eq!((dump[0].chain.len(), dump[2].roots.len()), (0, 0));
    let leaf = &dump[1].chain[0];
    assert_eq!(leaf.serial, "4294967296");
    assert_eq!(leaf.not_after - leaf.not_before, 3_600);
    let (rest, pem) = parse_x509_pem(leaf.pem.as_bytes()).unwrap();
    assert!(rest.is_empty());
    assert_eq!(pem.parse_x509().unwrap().serial.to_string(), "4294967296");
    assert!(leaf.pem.lines().all(|line| line.len() <= 64), "{}", leaf.pem);
    let (_, root) = parse_x509_pem(dump[1].roots[0].pem.as_bytes()).unwrap();
    assert_eq!(root.contents, rig.ca.root());
}

#[test]
fn when_its_runtime_ends_who_waits_is_told() {
    let (calls, mut called) = mpsc::unbounded_channel();
    let fetching = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = fetching.block_on(async {
        Store::new(Arc::new(Scripted { calls }), TlsPolicy::default(), Limits::default())
    });
    let traffic = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    traffic.block_on(async {
        let waiter = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.credentials(&identity("web")).await }
        });
        settle().await;
        fetching.shutdown_background();
        let error = waiter.await.unwrap().unwrap_err();
        assert!(matches!(error, IdentityError::Stopped { .. }), "{error:?}");
        let error = store.credentials(&identity("web")).await.unwrap_err();
        assert!(matches!(error, IdentityError::Stopped { .. }), "{error:?}");
        assert!(called.try_recv().is_err());
    });
}

#[tokio::test(start_paused = true)]
async fn a_dropped_store_abandons_its_fetches() {
    let mut rig = Rig::new();
    rig.store.prefetch(&identity("web"));
    let call = rig.called("web").await;
    let Rig { store, .. } = rig;
    drop(store);
    settle().await;
    assert!(call.answer.is_closed());
}

/// A store with a source that asks the test, and a wall clock that runs with tokio's but can be skewed.
struct Rig {
    ca: Ca,
    store: Arc<Store>,
    calls: mpsc::UnboundedReceiver<Call>,
    skew: Arc<AtomicI64>,
    began: Instant,
    epoch: Duration,
}

struct Scripted {
    calls: mpsc::UnboundedSender<Call>,
}

#[derive(Debug)]
struct Call {
    identity: Identity,
    answer: oneshot::Sender<Result<Material, SourceError>>,
    /// Wall clock of the call, seconds since the epoch.
    wall: u64,
}

struct Panics;

impl Rig {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let (calls, called) = mpsc::unbounded_channel();
        let skew = Arc::new(AtomicI64::new(0));
        let (began, epoch) = (Instant::now(), now());
        let wall = {
            let skew = Arc::clone(&skew);
            move || skewed(epoch + began.elapsed(), skew.load(Ordering::Relaxed))
        };
        let source = Arc::new(Scripted { calls });
        let store = Store::with_clock(source, TlsPolicy::default().into(), limits, Box::new(wall));
        Self { ca: Ca::new(), store, calls: called, skew, began, epoch }
    }

    /// The wall clock jumps forward by this much.
    fn skew(&self, by: Duration) {
        self.skew.fetch_add(by.as_secs().cast_signed(), Ordering::Relaxed);
    }

    /// The wall clock is set back by this much.
    fn set_back(&self, by: Duration) {
        self.skew.fetch_sub(by.as_secs().cast_signed(), Ordering::Relaxed);
    }

    fn ask(&self, name: &str) -> JoinHandle<Result<Arc<Credentials>, IdentityError>> {
        let (store, identity) = (Arc::clone(&self.store), identity(name));
        tokio::spawn(async move { store.credentials(&identity).await })
    }

    /// What a connection gets without waiting.
    #[track_caller]
    fn have(&self, name: &str) -> Arc<Credentials> {
        let credentials = self.store.credentials(&identity(name)).now_or_never();
        credentials.expect("must not wait").expect("must be available")
    }

    #[track_caller]
    fn refused(&self, name: &str) -> IdentityError {
        let credentials = self.store.credentials(&identity(name)).now_or_never();
        credentials.expect("must not wait").expect_err("must not be available")
    }

    async fn ready(&self, name: &str) -> Arc<Credentials> {
        self.store.credentials(&identity(name)).await.unwrap()
    }

    fn state(&self, name: &str) -> String {
        let dump = self.store.dump();
        dump.into_iter().find(|entry| entry.identity == identity(name)).unwrap().state
    }

    async fn call(&mut self) -> Call {
        let mut call = self.calls.recv().await.unwrap();
        call.wall = self.wall().as_secs();
        call
    }

    fn wall(&self) -> Duration {
        skewed(self.epoch + self.began.elapsed(), self.skew.load(Ordering::Relaxed))
    }

    async fn called(&mut self, want: &str) -> Call {
        let call = self.call().await;
        assert_eq!(call.identity, identity(want));
        call
    }

    /// Nothing is asked of the source now.
    async fn no_call(&mut self) {
        settle().await;
        if let Ok(call) = self.calls.try_recv() {
            panic!("unexpected {call:?}");
        }
    }

    /// A certificate of a thousand seconds, and a workload that wants it.
    async fn provide(&mut self, name: &str) {
        self.store.prefetch(&identity(name));
        let call = self.called(name).await;
        call.issue_for(&self.ca, 1_000);
        self.ready(name).await;
    }

    /// Takes every place in flight.
    async fn fill(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        for n in 0..Limits::default().in_flight {
            self.store.prefetch(&identity(&format!("held{n}")));
            calls.push(self.call().await);
        }
        calls
    }
}

impl Call {
    fn issue(self, ca: &Ca) {
        self.issue_for(ca, 86_400);
    }

    /// Valid from the moment of the call, for so many seconds.
    fn issue_for(self, ca: &Ca, seconds: u64) {
        let leaf = wanted().uri(&self.identity).valid(self.wall, self.wall + seconds);
        self.send(Ok(ca.sign(leaf)));
    }

    fn refuse(self) {
        self.send(Err(Arc::new(std::io::Error::other("the authority says no"))));
    }

    fn send(self, answer: Result<Material, SourceError>) {
        assert!(self.answer.send(answer).is_ok(), "nobody waits for {}", self.identity);
    }
}

impl CertSource for Scripted {
    fn fetch(&self, identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>> {
        let (answer, answered) = oneshot::channel();
        // A test that has seen enough leaves its calls unanswered.
        let asked = self.calls.send(Call { identity, answer, wall: 0 });
        async move {
            asked.map_err(|error| Arc::new(error) as SourceError)?;
            answered.await.map_err(|error| Arc::new(error) as SourceError)?
        }
        .boxed()
    }
}

impl CertSource for Panics {
    fn fetch(&self, _identity: Identity) -> BoxFuture<'static, Result<Material, SourceError>> {
        panic!("as tests do")
    }
}

/// Serial of the certificate that a server with `credentials` presents.
async fn served(credentials: &Arc<Credentials>, client: &Arc<Credentials>) -> String {
    let (accepting, dialing) = tcp().await;
    let (expected, limits) = ([credentials.identity().clone()], TlsLimits::default());
    let (_accepted, connected) =
        tokio::join!(accept(accepting, credentials, &limits), connect(dialing, client, &expected, &limits));
    let connected = connected.unwrap();
    let leaf = &connected.stream.get_ref().1.peer_certificates().unwrap()[0];
    x509_parser::parse_x509_certificate(leaf).unwrap().1.serial.to_string()
}

fn skewed(clock: Duration, by: i64) -> Duration {
    let by_so_much = Duration::from_secs(by.unsigned_abs());
    if by < 0 { clock - by_so_much } else { clock + by_so_much }
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Dates have whole seconds.
#[track_caller]
fn assert_about(got: Duration, want: Duration) {
    assert!(got.abs_diff(want) <= Duration::from_secs(2), "{got:?}, not about {want:?}");
}
