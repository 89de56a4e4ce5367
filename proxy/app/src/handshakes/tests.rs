//! Who stays and who goes when places run out.

use super::Handshakes;

#[test]
fn the_one_who_waited_longest_makes_room_for_one_more() {
    let door = Handshakes::new(2);
    let (first, second) = (door.enter().expect("a place"), door.enter().expect("a place"));
    let third = door.enter().expect("the first one's place");
    assert!(first.left.is_cancelled());
    assert!(!second.left.is_cancelled() && !third.left.is_cancelled());
    drop(third);
    // Its place is free again, and nobody else has to go.
    let fourth = door.enter().expect("a place");
    assert!(!second.left.is_cancelled() && !fourth.left.is_cancelled());
}

#[test]
fn who_was_sent_away_gives_nothing_back_a_second_time() {
    let door = Handshakes::new(1);
    let first = door.enter().expect("a place");
    let second = door.enter().expect("the first one's place");
    drop(first);
    assert_eq!(door.inside.lock().places.len(), 1);
    assert!(!second.left.is_cancelled());
    drop(second);
    assert!(door.inside.lock().places.is_empty());
}

#[test]
fn where_no_handshake_is_wanted_there_is_no_place() {
    assert!(Handshakes::new(0).enter().is_none());
}
