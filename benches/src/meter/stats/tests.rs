//! Middles and ends.

use super::Spread;

#[test]
fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
    let spread = Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap();
    assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 9.0 });
    assert_eq!(Spread::of([5.0, 1.0, 2.0]).unwrap().median, 2.0);
}

#[test]
fn what_is_no_number_has_no_part() {
    assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    assert_eq!(Spread::of([f64::NAN, 1.0]).unwrap().median, 1.0);
}
