//! The parameters; profiles themselves are taken of a running proxy.

use super::number;

#[test]
fn a_parameter_is_a_number_in_its_range_or_its_default() {
    for (query, want) in [
        ("", Some(10)),
        ("frequency=7", Some(10)),
        ("seconds=1", Some(1)),
        ("frequency=7&seconds=300", Some(300)),
        ("seconds=0", None),
        ("seconds=301", None),
        ("seconds=-1", None),
        ("seconds=ten", None),
        ("seconds=", None),
    ] {
        assert_eq!(number(query, "seconds", 10, 300), want, "{query:?}");
    }
}
