use super::*;

#[test]
fn a_duration_is_a_number_with_a_unit() {
    for (text, want) in [("90s", 90), ("5m", 300), ("1h", 3600), ("7", 7), ("0s", 0)] {
        assert_eq!(parse(text), Ok(Duration::from_secs(want)), "{text}");
    }
}

#[test]
fn anything_else_is_refused_and_named() {
    for text in ["", "m", "5 m", "1d", "-1s", "5m30s", "99999999999999999999s", "18446744073709551615h"] {
        assert_eq!(parse(text), Err(NoDuration(text.to_owned())), "{text}");
    }
}
