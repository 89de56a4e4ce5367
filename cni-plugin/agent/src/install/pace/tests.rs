use super::*;

const fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_first_write_is_now_and_no_second_has_two() {
    let mut pace = Pace::default();
    assert_eq!(pace.wait(at(5)), Duration::ZERO);
    let mut writes = 0;
    for now in (0..60_000).step_by(100).map(at) {
        if pace.wait(now).is_zero() {
            pace.wrote(now);
            writes += 1;
        }
    }
    assert_eq!(writes, 50);
}

#[test]
fn a_war_is_told_once_a_minute_and_chance_never() {
    let mut pace = Pace::default();
    let told: Vec<_> =
        (0..120).filter_map(|second| Some((second, pace.undone(at(second * 1000))?))).collect();
    assert_eq!(told, [(2, 3), (62, 61)]);
    let mut pace = Pace::default();
    assert!((0..10).all(|minute| pace.undone(at(minute * 31_000)).is_none()));
}
