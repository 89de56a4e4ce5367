//! Equality, order, truth and choice.

use std::cmp::Ordering;

use super::{Answer, Function, Misuse, as_text, exactly, first_and_rest};
use crate::render::template::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    let function: Function = match name {
        "eq" => eq,
        "ne" => ne,
        "lt" => |a| order(a, Ordering::is_lt),
        "le" => |a| order(a, Ordering::is_le),
        "gt" => |a| order(a, Ordering::is_gt),
        "ge" => |a| order(a, Ordering::is_ge),
        "not" => |a| exactly(a).map(|[value]| Value::Bool(!value.is_true())),
        "empty" => |a| exactly(a).map(|[value]| Value::Bool(!value.is_true())),
        "default" => default,
        "coalesce" => coalesce,
        "ternary" => ternary,
        "kindIs" => kind_is,
        "kindOf" => |a| exactly(a).map(|[value]| Value::text(kind(value))),
        _ => return None,
    };
    Some(function)
}

fn eq(arguments: &[Value]) -> Answer {
    let (first, others) = first_and_rest(arguments)?;
    if others.is_empty() {
        return Err(Misuse::Count { wants: "at least two arguments", got: 1 });
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn ne(arguments: &[Value]) -> Answer {
    let [left, right] = exactly(arguments)?;
    Ok(Value::Bool(!equal(left, right)?))
}

/// Go's equality: of one kind only, a whole number and a fraction being two kinds.
fn equal(left: &Value, right: &Value) -> Result<bool, Misuse> {
    match (left, right) {
        (Value::Nil, other) | (other, Value::Nil) => Ok(matches!(other, Value::Nil)),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Int(left), Value::Int(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        _ => Err(incomparable(left, right)),
    }
}

fn order(arguments: &[Value], wanted: fn(Ordering) -> bool) -> Answer {
    let [left, right] = exactly(arguments)?;
    let order = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => None,
    };
    order.map(|order| Value::Bool(wanted(order))).ok_or_else(|| incomparable(left, right))
}

fn incomparable(left: &Value, right: &Value) -> Misuse {
    Misuse::Incomparable { left: left.kind(), right: right.kind() }
}

fn default(arguments: &[Value]) -> Answer {
    // With one argument only, the value was piped in and is missing.
    Ok(match arguments {
        [default, value] if !value.is_true() => default.clone(),
        [_, value] => value.clone(),
        [default] => default.clone(),
        _ => {
            return Err(Misuse::Count { wants: "a default and a value", got: arguments.len() });
        }
    })
}

fn coalesce(arguments: &[Value]) -> Answer {
    Ok(arguments.iter().find(|value| value.is_true()).cloned().unwrap_or(Value::Nil))
}

fn ternary(arguments: &[Value]) -> Answer {
    let [yes, no, choice] = exactly(arguments)?;
    Ok(if choice.is_true() { yes } else { no }.clone())
}

fn kind_is(arguments: &[Value]) -> Answer {
    let [wanted, value] = exactly(arguments)?;
    Ok(Value::Bool(as_text(wanted)? == kind(value)))
}

/// Go's name of a value's kind.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::Text(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Object(_) => "ptr",
        Value::Method(_) => "func",
    }
}
