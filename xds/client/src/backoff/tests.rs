use std::time::Duration;

use super::{Backoff, Jitter, Retry};

const NONE: Jitter = Jitter(0);
const ALL: Jitter = Jitter(u32::MAX);

#[track_caller]
fn check(endings: &[Retry], jitter: Jitter, want: &[u64]) {
    let mut backoff = Backoff::new();
    let waits: Vec<Duration> = endings.iter().map(|retry| backoff.after(*retry, jitter)).collect();
    let want: Vec<Duration> = want.iter().map(|millis| Duration::from_millis(*millis)).collect();
    assert_eq!(waits, want);
}

#[test]
fn failures_double_the_wait_from_20_milliseconds() {
    check(&[Retry::Later; 5], ALL, &[20, 40, 80, 160, 320]);
}

#[test]
fn failures_never_wait_longer_than_15_seconds() {
    let mut want = vec![20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240];
    want.extend([15_000; 20]);
    check(&[Retry::Later; 30], ALL, &want);
}

#[test]
fn a_routine_ending_starts_over() {
    check(&[Retry::Later, Retry::Later, Retry::Soon, Retry::Later], ALL, &[20, 40, 10, 20]);
}

#[test]
fn jitter_takes_at_most_half_of_the_wait_away() {
    check(&[Retry::Later, Retry::Later, Retry::Soon], NONE, &[10, 20, 5]);
}

#[test]
fn jitter_is_even_in_between() {
    let wait = Backoff::new().after(Retry::Later, Jitter(u32::MAX / 2));
    assert!(wait > Duration::from_micros(14_999) && wait < Duration::from_micros(15_001), "{wait:?}");
}
