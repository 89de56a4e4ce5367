//! Maps: made, asked, changed in place and merged.

use std::collections::BTreeMap;

use super::{Answer, Function, Misuse, as_int, as_list, as_map, as_text, exactly, first_and_rest};
use crate::render::template::value::{Map, Value};

pub(super) fn find(name: &str) -> Option<Function> {
    let function: Function = match name {
        "dict" => dict,
        "set" => set,
        "unset" => unset,
        "get" => get,
        "hasKey" => has_key,
        "keys" => keys,
        "pick" => |a| picked(a, true),
        "omit" => |a| picked(a, false),
        "merge" | "mustMerge" => |a| merge(a, false),
        "mergeOverwrite" | "mustMergeOverwrite" => |a| merge(a, true),
        "deepCopy" | "mustDeepCopy" => |a| exactly(a).map(|[value]| value.deep_copy()),
        "dig" => dig,
        "index" => index,
        "len" => len,
        // There is no cluster to look things up in while a chart is rendered.
        "lookup" => |_| Ok(Value::map(BTreeMap::new())),
        _ => return None,
    };
    Some(function)
}

fn dict(arguments: &[Value]) -> Answer {
    let mut entries = BTreeMap::new();
    for pair in arguments.chunks(2) {
        let (key, value) = match pair {
            [key, value] => (key, value.clone()),
            [key] => (key, Value::text("")),
            _ => continue,
        };
        entries.insert(key.to_string(), value);
    }
    Ok(Value::map(entries))
}

fn set(arguments: &[Value]) -> Answer {
    let [map, key, value] = exactly(arguments)?;
    as_map(map)?.borrow_mut().insert(as_text(key)?.to_owned(), value.clone());
    Ok(map.clone())
}

fn unset(arguments: &[Value]) -> Answer {
    let [map, key] = exactly(arguments)?;
    as_map(map)?.borrow_mut().remove(as_text(key)?);
    Ok(map.clone())
}

fn get(arguments: &[Value]) -> Answer {
    let [map, key] = exactly(arguments)?;
    let found = as_map(map)?.borrow().get(as_text(key)?).cloned();
    Ok(found.unwrap_or_else(|| Value::text("")))
}

fn has_key(arguments: &[Value]) -> Answer {
    let [map, key] = exactly(arguments)?;
    Ok(Value::Bool(as_map(map)?.borrow().contains_key(as_text(key)?)))
}

/// In order of the alphabet, where Go's order is a matter of chance.
fn keys(arguments: &[Value]) -> Answer {
    let mut all = Vec::new();
    for map in arguments {
        all.extend(as_map(map)?.borrow().keys().map(|key| Value::text(key.as_str())));
    }
    Ok(Value::list(all))
}

fn picked(arguments: &[Value], wanted: bool) -> Answer {
    let (map, names) = first_and_rest(arguments)?;
    let names: Vec<&str> = names.iter().map(as_text).collect::<Result<_, _>>()?;
    let kept = as_map(map)?
        .borrow()
        .iter()
        .filter(|(key, _)| names.contains(&key.as_str()) == wanted)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Ok(Value::map(kept))
}

/// Merges every further map into the first, which is changed and returned.
fn merge(arguments: &[Value], overwrite: bool) -> Answer {
    let (first, others) = first_and_rest(arguments)?;
    for other in others {
        merge_into(as_map(first)?, as_map(other)?, overwrite);
    }
    Ok(first.clone())
}

/// Without `overwrite` a value that is empty by Go's rule counts as missing, `false` and `0` too.
fn merge_into(into: &Map, from: &Map, overwrite: bool) {
    if std::rc::Rc::ptr_eq(into, from) {
        return;
    }
    for (key, value) in from.borrow().iter() {
        let held = into.borrow().get(key).cloned();
        let replaces = match (&held, value) {
            (_, Value::Nil) => overwrite,
            (Some(Value::Map(inner)), Value::Map(other)) => {
                merge_into(inner, other, overwrite);
                false
            }
            (Some(held), _) => overwrite || !held.is_true(),
            (None, _) => true,
        };
        if replaces {
            into.borrow_mut().insert(key.clone(), value.clone());
        }
    }
}

/// `dig "a" "b" default map`.
fn dig(arguments: &[Value]) -> Answer {
    let [path @ .., default, map] = arguments else {
        return Err(Misuse::Count { wants: "keys, a default and a map", got: arguments.len() });
    };
    let mut value = map.clone();
    for key in path {
        let found = as_map(&value)?.borrow().get(as_text(key)?).cloned();
        match found {
            Some(found) => value = found,
            None => return Ok(default.clone()),
        }
    }
    Ok(value)
}

fn index(arguments: &[Value]) -> Answer {
    let (first, path) = first_and_rest(arguments)?;
    let mut value = first.clone();
    for key in path {
        let found = if let Value::Map(map) = &value {
            map.borrow().get(as_text(key)?).cloned().unwrap_or(Value::Nil)
        } else {
            let (items, index) = (as_list(&value)?, as_int(key)?);
            let item = usize::try_from(index).ok().and_then(|i| items.get(i));
            item.cloned().ok_or(Misuse::Index { index, length: items.len() })?
        };
        value = found;
    }
    Ok(value)
}

fn len(arguments: &[Value]) -> Answer {
    let [value] = exactly(arguments)?;
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.borrow().len(),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Object(_)
        | Value::Method(_) => return Err(super::mismatch("a text, a list or a map", value)),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}
