//! What the figures of a load come to.

use super::{Figure, Measured, Pair, Table, number};
use crate::meter::{Load, Sample};

fn sample(units: f64, proxies: [f64; 2], busy: f64) -> Sample {
    Sample { seconds: 2.0, units, p50: Some(0.000_25), proxies, load: 0.1, busy, elsewhere: 0.0, window: 2.0 }
}

fn value(load: Load, name: &str, sample: &Sample) -> f64 {
    let figures = Figure::of(load);
    let figure = figures.iter().find(|f| f.name == name).expect("a figure of this name");
    (figure.value)(sample) * figure.scale
}

#[track_caller]
fn near(value: f64, want: f64) {
    assert!((value - want).abs() < want * 1e-9, "{value} is not {want}");
}

#[test]
fn bulk_costs_seconds_per_gibibyte() {
    let sample = sample(f64::from(1 << 29), [0.3, 0.4], 1.0);
    near(value(Load::Up, "CPU s/GiB, proxies", &sample), 1.4);
    near(value(Load::Up, "CPU s/GiB, with load", &sample), 1.6);
    near(value(Load::Up, "CPU s/GiB, machine", &sample), 2.0);
    near(value(Load::Up, "Gb/s", &sample), 2.147_483_648);
}

#[test]
fn a_request_costs_microseconds() {
    let sample = sample(10_000.0, [0.3, 0.4], 1.0);
    near(value(Load::Requests(8), "CPU us/request, proxy a", &sample), 30.0);
    near(value(Load::Requests(8), "requests/s", &sample), 5_000.0);
    near(value(Load::Requests(8), "p50 us", &sample), 250.0);
    near(value(Load::Connections(8), "CPU us/connection, proxies", &sample), 70.0);
}

#[test]
fn ratios_are_taken_pair_by_pair() {
    let pair =
        |direct, mesh| Pair { direct: sample(direct, [0.0; 2], 1.0), mesh: sample(mesh, [0.1; 2], 1.0) };
    // Medians of 400 and 200, and yet no pair has the ratio 0.5.
    let pairs = vec![pair(100.0, 90.0), pair(400.0, 200.0 * 4.0), pair(800.0, 200.0)];
    let rounds = pairs.into_iter().map(|pair| vec![pair]).collect();
    let table = Table(&Measured { load: Load::Requests(1), rounds }).to_string();
    let rates = table.lines().find(|line| line.contains("requests/s")).unwrap();
    assert!(rates.ends_with("0.900 (0.250..2.00)"), "{table}");
    assert!(!table.contains("peer"), "{table}");
}

#[test]
fn numbers_have_three_digits() {
    assert_eq!([1234.5, 12.345, 1.234_5, 0.123_45].map(number), ["1234", "12.3", "1.23", "0.123"]);
}
