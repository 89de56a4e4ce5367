use serde_json::json;

use super::*;

#[track_caller]
fn check_all(schema: &Value, value: &Value, want: &[&str]) {
    let found: Vec<String> = check(schema, value).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, want, "{schema} {value}");
}

#[test]
fn every_value_that_does_not_fit_is_named_with_what_would() {
    let schema = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "level": {"enum": ["info", "debug"]},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "hub": {"type": ["string", "null"], "pattern": "^[a-z]+$"},
            "list": {"items": {"type": "string", "minLength": 1}}
        }
    });
    check_all(&schema, &json!({"name": 1, "level": "info", "port": 80.0, "hub": null}), &[]);
    check_all(
        &schema,
        &json!({"level": "loud", "port": 0, "hub": "A", "list": ["a", "", 5]}),
        &[
            "`name` is missing",
            "level: \"loud\" is none of \"info\", \"debug\"",
            "port: 0 is less than 1",
            "hub: \"A\" does not match ^[a-z]+$",
            "list[1]: \"\" is shorter than 1",
            "list[2]: 5 where the chart wants string",
        ],
    );
}

#[test]
fn unknown_keys_are_refused_only_where_the_schema_is_closed() {
    let open = json!({"properties": {"a": {}}});
    let closed = json!({"properties": {"a": {}}, "patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": false});
    let typed = json!({"additionalProperties": {"type": "string"}});
    check_all(&open, &json!({"b": 1}), &[]);
    check_all(&closed, &json!({"a": 1, "x-y": "z"}), &[]);
    check_all(
        &closed,
        &json!({"b": 1, "x-y": 2}),
        &["b: the chart has no such value", "x-y: 2 where the chart wants string"],
    );
    check_all(&typed, &json!({"b": 1}), &["b: 1 where the chart wants string"]);
}

#[test]
fn schemas_are_combined_and_referred_to() {
    let either = json!({"anyOf": [{"$ref": "#/$defs/text"}, {"type": "boolean"}], "$defs": {"text": {"type": "string"}}});
    check_all(&either, &json!("x"), &[]);
    check_all(&either, &json!(1), &["1 where the chart wants string"]);
    let one = json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]});
    check_all(&one, &json!(1), &[]);
    check_all(&one, &json!(3), &["3 has more than one meaning"]);
    let when = json!({"if": {"properties": {"on": {"const": true}}}, "then": {"required": ["path"]}});
    check_all(&when, &json!({"on": true}), &["`path` is missing"]);
    check_all(&when, &json!({"on": false}), &[]);
    check_all(&json!({"not": {"const": 1}}), &json!(1), &["1 is not allowed"]);
    check_all(
        &json!({"allOf": [{"maxItems": 1}, false]}),
        &json!([1, 2]),
        &["a list is longer than 1", "nothing may stand here"],
    );
}

#[test]
fn a_keyword_that_is_not_known_is_not_passed_over() {
    let found = check(&json!({"properties": {"a": {"contains": {}}}}), &json!({"a": []}));
    assert_eq!(found, Err(SchemaError::Keyword("contains".to_owned())));
    let found = check(&json!({"$ref": "#/$defs/no"}), &json!(1));
    assert_eq!(found, Err(SchemaError::Reference("#/$defs/no".to_owned())));
}
