//! Numbers: read out of what values hold, and the little arithmetic that charts do.

use super::{Answer, Function, Misuse, exactly};
use crate::render::template::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    let function: Function = match name {
        "int" | "int64" => |a| exactly(a).map(|[value]| Value::Int(to_int(value))),
        "float64" => |a| exactly(a).map(|[value]| Value::Float(to_float(value))),
        "add" => |a| fold(a, i64::checked_add),
        "sub" => |a| fold(a, i64::checked_sub),
        "mul" => |a| fold(a, i64::checked_mul),
        "div" => |a| fold(a, i64::checked_div),
        "mod" => |a| fold(a, i64::checked_rem),
        "max" => |a| fold(a, |left, right| Some(left.max(right))),
        "min" => |a| fold(a, |left, right| Some(left.min(right))),
        _ => return None,
    };
    Some(function)
}

/// What is not a number is 0, as Helm has it.
fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the fraction is meant to go; out of range, Rust gives the nearest"
        )]
        Value::Float(number) => *number as i64,
        Value::Bool(truth) => i64::from(*truth),
        Value::Text(text) => text.trim().parse().unwrap_or(0),
        Value::Nil | Value::List(_) | Value::Map(_) | Value::Object(_) | Value::Method(_) => 0,
    }
}

fn to_float(value: &Value) -> f64 {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "Go converts the same way")]
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::Text(text) => text.trim().parse().unwrap_or(0.0),
        Value::Nil | Value::List(_) | Value::Map(_) | Value::Object(_) | Value::Method(_) => 0.0,
    }
}

fn fold(arguments: &[Value], step: fn(i64, i64) -> Option<i64>) -> Answer {
    let mut numbers = arguments.iter().map(to_int);
    let first = numbers.next().unwrap_or(0);
    numbers
        .try_fold(first, step)
        .map(Value::Int)
        .ok_or_else(|| Misuse::Format("the result is not a number of 64 bits".to_owned()))
}
