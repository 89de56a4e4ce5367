//! Lists: made, asked and extended; a list never changes in place.

use super::{Answer, Function, as_list, as_text, exactly};
use crate::render::template::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    let function: Function = match name {
        "list" => |a| Ok(Value::list(a.to_vec())),
        "append" => append,
        "prepend" => prepend,
        "concat" => concat,
        "first" => |a| edge(a, <[Value]>::first),
        "last" => |a| edge(a, <[Value]>::last),
        "rest" => rest,
        "has" => has,
        "without" => without,
        "uniq" => uniq,
        "compact" => compact,
        "sortAlpha" => sort_alpha,
        _ => return None,
    };
    Some(function)
}

fn append(arguments: &[Value]) -> Answer {
    let [items, item] = exactly(arguments)?;
    let mut items = as_list(items)?.to_vec();
    items.push(item.clone());
    Ok(Value::list(items))
}

fn prepend(arguments: &[Value]) -> Answer {
    let [items, item] = exactly(arguments)?;
    let mut all = vec![item.clone()];
    all.extend_from_slice(as_list(items)?);
    Ok(Value::list(all))
}

fn concat(arguments: &[Value]) -> Answer {
    let mut all = Vec::new();
    for items in arguments {
        all.extend_from_slice(as_list(items)?);
    }
    Ok(Value::list(all))
}

fn edge(arguments: &[Value], take: fn(&[Value]) -> Option<&Value>) -> Answer {
    let [items] = exactly(arguments)?;
    Ok(take(as_list(items)?).cloned().unwrap_or(Value::Nil))
}

fn rest(arguments: &[Value]) -> Answer {
    let [items] = exactly(arguments)?;
    let rest = as_list(items)?.get(1..).unwrap_or_default();
    Ok(Value::list(rest.to_vec()))
}

fn has(arguments: &[Value]) -> Answer {
    let [item, items] = exactly(arguments)?;
    if matches!(items, Value::Nil) {
        return Ok(Value::Bool(false));
    }
    Ok(Value::Bool(as_list(items)?.iter().any(|held| same(held, item))))
}

fn without(arguments: &[Value]) -> Answer {
    let (items, unwanted) = super::first_and_rest(arguments)?;
    let kept = as_list(items)?
        .iter()
        .filter(|item| !unwanted.iter().any(|other| same(item, other)))
        .cloned()
        .collect();
    Ok(Value::list(kept))
}

fn uniq(arguments: &[Value]) -> Answer {
    let [items] = exactly(arguments)?;
    let mut kept: Vec<Value> = Vec::new();
    for item in as_list(items)? {
        if !kept.iter().any(|held| same(held, item)) {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn compact(arguments: &[Value]) -> Answer {
    let [items] = exactly(arguments)?;
    let kept = as_list(items)?.iter().filter(|item| item.is_true());
    Ok(Value::list(kept.cloned().collect()))
}

fn sort_alpha(arguments: &[Value]) -> Answer {
    let [items] = exactly(arguments)?;
    let mut texts: Vec<String> = as_list(items)?
        .iter()
        .map(|item| as_text(item).map_or_else(|_| item.to_string(), str::to_owned))
        .collect();
    texts.sort();
    Ok(Value::list(texts.into_iter().map(Value::text).collect()))
}

/// Deep equality, a whole number never being a fraction.
fn same(left: &Value, right: &Value) -> bool {
    left.to_json() == right.to_json()
}
