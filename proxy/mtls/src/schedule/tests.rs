//! Tables of renewals, retries and turns.

use std::time::Duration;

use super::{Backoff, Due, Jitter, Now, Priority, Turn, Validity, retry};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn at(uptime: u64, wall: u64) -> Now {
    Now { uptime: seconds(uptime), wall: seconds(wall) }
}

const fn valid(not_before: u64, not_after: u64) -> Validity {
    Validity { not_before: seconds(not_before), not_after: seconds(not_after) }
}

const LEAST: Jitter = Jitter(0);
const MIDDLE: Jitter = Jitter(500);
const MOST: Jitter = Jitter(1000);

#[track_caller]
fn renewed(validity: Validity, now: u64, want: u64) {
    assert_eq!(validity.renewal(at(7, now)), Due::Wall(seconds(want)));
}

#[test]
fn a_certificate_is_renewed_at_half_life_by_the_wall_clock() {
    renewed(valid(10_000, 11_000), 10_000, 10_500);
    renewed(valid(10_000, 11_000), 10_120, 10_500);
    renewed(valid(10_000, 11_000), 10_999, 10_500);
}

#[test]
fn nonsensical_dates_are_renewed_now() {
    let not_begun = valid(10_000, 11_000);
    renewed(not_begun, 9_699, 9_699);
    let over = valid(10_000, 11_000);
    renewed(over, 11_000, 11_000);
    let backward = valid(11_000, 10_000);
    renewed(backward, 10_500, 10_500);
    let never = valid(0, 0);
    renewed(never, 10_500, 10_500);
}

#[test]
fn a_certificate_that_begins_a_little_later_is_renewed_at_its_half_life_all_the_same() {
    renewed(valid(10_000, 11_000), 9_999, 10_500);
    renewed(valid(10_000, 11_000), 9_700, 10_500);
}

#[test]
fn a_certificate_has_ended_and_is_overdue_by_the_wall_clock() {
    for (wall, overdue, ended) in [
        (9_000, false, false),
        (10_749, false, false),
        (10_750, true, false),
        (10_999, true, false),
        (11_000, true, true),
        (99_000, true, true),
    ] {
        let validity = valid(10_000, 11_000);
        let got = (validity.overdue(seconds(wall)), validity.ended(seconds(wall)));
        assert_eq!(got, (overdue, ended), "{wall}");
    }
}

#[test]
fn a_due_time_counts_on_its_own_clock() {
    for (due, now, late, wait) in [
        (Due::Wall(seconds(100)), at(0, 90), None, 10),
        (Due::Wall(seconds(100)), at(0, 100), Some(0), 0),
        (Due::Wall(seconds(100)), at(0, 130), Some(30), 0),
        (Due::Uptime(seconds(100)), at(90, 1_000), None, 10),
        (Due::Uptime(seconds(100)), at(101, 0), Some(1), 0),
    ] {
        assert_eq!((due.late(now), due.wait(now)), (late.map(seconds), seconds(wait)), "{due:?} at {now:?}");
    }
}

#[test]
fn retries_double_from_one_second_to_the_longest_delay() {
    let mut backoff = Backoff::default();
    let delays = [1, 2, 4, 8, 16, 32, 64, 128, 150, 150];
    for want in delays {
        assert_eq!(backoff.failed(at(0, 0), MIDDLE), seconds(want));
    }
}

#[test]
fn jitter_moves_a_retry_by_a_fifth_but_never_past_the_longest_delay() {
    let mut least = Backoff::default();
    let mut most = Backoff::default();
    for (low, high) in
        [(800, 1_200), (1_600, 2_400), (3_200, 4_800), (6_400, 9_600), (12_800, 19_200), (25_600, 38_400)]
    {
        assert_eq!(least.failed(at(0, 0), LEAST), Duration::from_millis(low));
        assert_eq!(most.failed(at(0, 0), MOST), Duration::from_millis(high));
    }
    for (low, high) in [(51_200, 76_800), (102_400, 150_000), (120_000, 150_000)] {
        assert_eq!(least.failed(at(0, 0), LEAST), Duration::from_millis(low));
        assert_eq!(most.failed(at(0, 0), MOST), Duration::from_millis(high));
    }
}

#[test]
fn a_drawn_jitter_stays_within_a_fifth() {
    for _ in 0..1_000 {
        let delay = Backoff::default().failed(at(0, 0), Jitter::draw());
        assert!((Duration::from_millis(800)..=Duration::from_millis(1_200)).contains(&delay), "{delay:?}");
    }
}

#[test]
fn after_a_quarter_of_an_hour_the_pace_is_even() {
    let mut backoff = Backoff::default();
    assert_eq!(backoff.failed(at(100, 0), MIDDLE), seconds(1));
    assert_eq!(backoff.failed(at(999, 0), LEAST), Duration::from_millis(1_600));
    assert_eq!(backoff.failed(at(1_000, 0), LEAST), seconds(150));
    assert_eq!(backoff.failed(at(90_000, 0), LEAST), seconds(150));
}

#[test]
fn a_success_forgets_the_failures() {
    let mut backoff = Backoff::default();
    backoff.failed(at(0, 0), MIDDLE);
    backoff.failed(at(2_000, 0), MIDDLE);
    backoff.succeeded();
    assert_eq!(backoff, Backoff::default());
    assert_eq!(backoff.failed(at(4_000, 0), MIDDLE), seconds(1));
}

#[test]
fn a_retry_is_never_later_than_the_end_of_what_still_serves() {
    let serving = Some(valid(1_000, 2_000));
    for (delay, serving, wall, want) in [
        (150, serving, 1_500, 150),
        (150, serving, 1_850, 150),
        (150, serving, 1_990, 10),
        (150, serving, 2_000, 150),
        (150, serving, 900, 150),
        (150, None, 1_990, 150),
    ] {
        assert_eq!(
            retry(seconds(delay), serving, at(50, wall)),
            Due::Uptime(seconds(50 + want)),
            "wall {wall}"
        );
    }
}

#[test]
fn a_connection_goes_before_a_warmup_and_that_before_a_renewal_and_then_the_oldest() {
    let mut turns = [
        Turn::new(Priority::Background, seconds(900)),
        Turn::new(Priority::RealTime, seconds(1)),
        Turn::new(Priority::Warmup, seconds(3)),
        Turn::new(Priority::Warmup, seconds(30)),
        Turn::new(Priority::RealTime, seconds(2)),
    ];
    turns.sort_unstable();
    let want = [
        Turn::new(Priority::RealTime, seconds(2)),
        Turn::new(Priority::RealTime, seconds(1)),
        Turn::new(Priority::Warmup, seconds(30)),
        Turn::new(Priority::Warmup, seconds(3)),
        Turn::new(Priority::Background, seconds(900)),
    ];
    assert_eq!(turns, want);
}
