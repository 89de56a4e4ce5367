//! Which fields of an object change, named by paths that people can read.

use serde::Serialize;
use serde_json::Value;

use crate::object::manifest;

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// As `.spec.template.spec.containers[istio-proxy].image`.
    pub field: String,
    /// As it is; none where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// As it will be; none where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Where two states of an object differ, what the server keeps in it left out.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare("", Some(&manifest(before)), Some(&manifest(after)), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<FieldChange>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
            for key in keys {
                compare(&field(path, key), before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if is_named(before) && is_named(after) => {
            let names = before.iter().chain(after).filter_map(name);
            let mut seen = Vec::new();
            for one in names {
                if !seen.contains(&one) {
                    seen.push(one);
                    let of = |items: &'_ [Value]| items.iter().position(|item| name(item) == Some(one));
                    let (was, is) = (of(before), of(after));
                    compare(
                        &format!("{path}[{one}]"),
                        was.and_then(|at| before.get(at)),
                        is.and_then(|at| after.get(at)),
                        found,
                    );
                }
            }
        }
        (before, after) => {
            let field = if path.is_empty() { ".".to_owned() } else { path.to_owned() };
            found.push(FieldChange { field, from: before.cloned(), to: after.cloned() });
        }
    }
}

/// Lists that the server merges by name: containers, variables, volumes, ports.
fn is_named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| name(item).is_some())
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

fn field(path: &str, key: &str) -> String {
    if key.contains(['.', '/']) { format!("{path}[{key}]") } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests;
