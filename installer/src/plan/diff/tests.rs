use serde_json::json;

use super::*;

#[track_caller]
fn check(before: Value, after: Value, want: &[&str]) {
    let found = changes(&before, &after);
    let fields: Vec<_> = found.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, want);
}

#[test]
fn a_change_is_named_by_its_path() {
    check(json!({"spec": {"a": 1, "b": 2}}), json!({"spec": {"a": 1, "b": 3}}), &[".spec.b"]);
    check(json!({"spec": {"a": 1}}), json!({"spec": {"b": 1}}), &[".spec.a", ".spec.b"]);
    check(
        json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/name": "y"}}}),
        &[".metadata.labels[app.kubernetes.io/name]"],
    );
}

#[test]
fn items_with_names_are_compared_by_them_whatever_their_order() {
    let before = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    let after = json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]});
    check(before.clone(), after, &[".containers[b].image"]);
    check(before, json!({"containers": [{"name": "a", "image": "1"}]}), &[".containers[b]"]);
}

#[test]
fn other_lists_change_as_a_whole() {
    check(json!({"args": ["a", "b"]}), json!({"args": ["a"]}), &[".args"]);
    check(json!({"env": []}), json!({"env": [{"name": "a"}]}), &[".env"]);
}

#[test]
fn what_the_server_keeps_is_no_change() {
    check(
        json!({"metadata": {"resourceVersion": "1", "generation": 1, "managedFields": []}, "status": {"ready": 1}}),
        json!({"metadata": {"resourceVersion": "2", "generation": 2}}),
        &[],
    );
}
