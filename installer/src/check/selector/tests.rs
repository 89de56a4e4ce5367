use serde_json::{Value, json};

use super::*;

#[track_caller]
fn check(selector: Value, picked: &[&str]) {
    let selector: LabelSelector = serde_json::from_value(selector).unwrap();
    let objects = [
        ("none", Labels::new()),
        ("web", Labels::from([("app".to_owned(), "web".to_owned())])),
        ("db", Labels::from([("app".to_owned(), "db".to_owned()), ("tier".to_owned(), "1".to_owned())])),
    ];
    let got: Vec<_> =
        objects.iter().filter(|(_, labels)| picks(&selector, labels)).map(|(n, _)| *n).collect();
    assert_eq!(got, picked, "{selector:?}");
}

#[test]
fn a_selector_picks_what_kubernetes_says_it_picks() {
    let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    check(json!({}), &["none", "web", "db"]);
    check(json!({"matchLabels": {"app": "web"}}), &["web"]);
    check(json!({"matchLabels": {"app": "db", "tier": "1"}}), &["db"]);
    check(expression("app", "In", &["web", "x"]), &["web"]);
    check(expression("app", "NotIn", &["web"]), &["none", "db"]);
    check(expression("tier", "Exists", &[]), &["db"]);
    check(expression("tier", "DoesNotExist", &[]), &["none", "web"]);
    check(expression("tier", "Matches", &["1"]), &[]);
}
