use serde_json::{Value, json};

use super::*;

/// Values that Helm 4.2 printed, one a line, chosen for what YAML has marks for.
const PRINTED: &str = include_str!("printed.jsonl");

#[test]
fn text_is_what_helm_printed_to_the_byte() {
    for line in PRINTED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let want = case["yaml"].as_str().unwrap();
        assert_eq!(print(&case["value"]), want, "{}", case["value"]);
    }
}

#[test]
fn text_reads_back_as_the_value() {
    for line in PRINTED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let yaml = case["yaml"].as_str().unwrap();
        let read = crate::render::values::parse_whole(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
        assert_eq!(print(&read), yaml);
    }
}

#[test]
fn keys_stand_in_the_librarys_order() {
    let value =
        json!({"a10": 1, "a9": 2, "b": 3, "_": 4, "A": 5, "a01": 6, "1": 7, "a": 8, "a/b": 9, "ab": 10});
    assert_eq!(print(&value), "_: 4\n\"1\": 7\nA: 5\na: 8\na/b: 9\na01: 6\na9: 2\na10: 1\nab: 10\nb: 3");
}
