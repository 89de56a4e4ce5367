//! What the command line means.

use clap::Parser as _;

use super::{Args, Load, bytes};

#[test]
fn sizes_have_units() {
    assert_eq!(bytes("256MiB"), Ok(256 << 20));
    assert_eq!(bytes("2 GiB"), Ok(2 << 30));
    assert_eq!(bytes("7"), Ok(7));
    for text in ["", "MiB", "1TB", "-1", "0", "99999999999GiB"] {
        assert!(bytes(text).is_err_and(|why| why.contains(&format!("{text:?}"))), "{text}");
    }
}

#[test]
fn a_leg_without_length_or_a_run_without_pairs_is_refused() {
    for wrong in [["--seconds", "0"], ["--seconds", "NaN"], ["--pairs", "0"]] {
        let refused = Args::try_parse_from(["adit-meter"].into_iter().chain(wrong)).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::ValueValidation);
    }
}

#[test]
fn every_load_has_a_name_of_its_own() {
    let mut names = Load::ALL.map(Load::name).to_vec();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Load::ALL.len());
}
