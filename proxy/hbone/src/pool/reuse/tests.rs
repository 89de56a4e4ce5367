//! The pool's decisions, as tables.

use std::time::Duration;

use tokio::time::Instant;

use super::{Choice, choose, look_again, room};

#[track_caller]
fn check(rooms: &[usize], waiting: &[usize], expected: usize, want: Choice) {
    assert_eq!(choose(rooms.iter().copied(), waiting.iter().copied(), expected), want);
}

#[test]
fn the_first_connection_with_room_is_used() {
    check(&[0, 3, 100], &[], 100, Choice::Reuse(1));
}

#[test]
fn an_open_connection_is_preferred_to_an_attempt() {
    check(&[1], &[0], 100, Choice::Reuse(0));
}

#[test]
fn openers_share_an_attempt_as_far_as_its_connection_will_reach() {
    check(&[0], &[99], 100, Choice::Join(0));
    check(&[0], &[100], 100, Choice::Dial);
    check(&[], &[1, 0], 1, Choice::Join(1));
}

#[test]
fn nothing_there_means_dialing() {
    check(&[], &[], 100, Choice::Dial);
    check(&[0, 0], &[], 100, Choice::Dial);
}

#[test]
fn the_smaller_of_both_caps_counts() {
    assert_eq!(room(0, 100, 200), 100);
    assert_eq!(room(40, 100, 50), 10);
    assert_eq!(room(50, 100, 50), 0);
    // The peer may lower its limit below what is open.
    assert_eq!(room(50, 100, 10), 0);
}

#[test]
fn a_connection_is_kept_for_its_time_after_the_last_stream() {
    let keep = Duration::from_secs(300);
    let start = Instant::now();
    let later = start + Duration::from_secs(100);
    assert_eq!(look_again(1, start, keep, later), Some(later + keep));
    assert_eq!(look_again(0, start, keep, later), Some(start + keep));
    assert_eq!(look_again(0, start, keep, start + keep), None);
}
