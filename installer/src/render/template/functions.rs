//! The functions that templates may call: Go's own and those of Helm's library that charts of ours use.

mod compare;
mod encode;
mod lists;
mod maps;
mod numbers;
mod text;

use super::value::{Map, Value};

/// How a function was called wrongly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misuse {
    /// No function has that name.
    #[error("no such function")]
    Unknown,
    /// Too few or too many arguments.
    #[error("takes {wants}, was given {got} arguments")]
    Count {
        /// What it takes.
        wants: &'static str,
        /// How many came.
        got: usize,
    },
    /// An argument of another type than the function takes.
    #[error("wants {wants} where it was given {value} (a {got})")]
    Type {
        /// What it takes.
        wants: &'static str,
        /// What it got, printed.
        value: String,
        /// The type of that.
        got: &'static str,
    },
    /// Two values that have no order or equality.
    #[error("incompatible types for comparison: {left} and {right}")]
    Incomparable {
        /// The left one's type.
        left: &'static str,
        /// The right one's type.
        right: &'static str,
    },
    /// Past the end of a list.
    #[error("index {index} is outside a list of {length}")]
    Index {
        /// The index asked for.
        index: i64,
        /// The list's length.
        length: usize,
    },
    /// A format that cannot be printed.
    #[error("{0}")]
    Format(String),
}

/// What a function answers.
pub(crate) type Answer = Result<Value, Misuse>;

/// A function of templates.
type Function = fn(&[Value]) -> Answer;

/// Calls the function of that name.
pub(super) fn call(name: &str, arguments: &[Value]) -> Answer {
    find(name).ok_or(Misuse::Unknown)?(arguments)
}

fn find(name: &str) -> Option<Function> {
    compare::find(name)
        .or_else(|| text::find(name))
        .or_else(|| maps::find(name))
        .or_else(|| lists::find(name))
        .or_else(|| numbers::find(name))
        .or_else(|| encode::find(name))
}

/// Exactly `N` arguments.
fn exactly<const N: usize>(arguments: &[Value]) -> Result<&[Value; N], Misuse> {
    arguments.try_into().map_err(|_| Misuse::Count {
        wants: match N {
            1 => "one argument",
            2 => "two arguments",
            3 => "three arguments",
            _ => "another number of arguments",
        },
        got: arguments.len(),
    })
}

/// A first argument and any number of others.
fn first_and_rest(arguments: &[Value]) -> Result<(&Value, &[Value]), Misuse> {
    arguments.split_first().ok_or(Misuse::Count { wants: "at least one argument", got: 0 })
}

fn mismatch(wants: &'static str, value: &Value) -> Misuse {
    Misuse::Type { wants, value: value.to_string(), got: value.kind() }
}

fn as_text(value: &Value) -> Result<&str, Misuse> {
    if let Value::Text(text) = value { Ok(text) } else { Err(mismatch("a text", value)) }
}

fn as_map(value: &Value) -> Result<&Map, Misuse> {
    if let Value::Map(map) = value { Ok(map) } else { Err(mismatch("a map", value)) }
}

fn as_list(value: &Value) -> Result<&[Value], Misuse> {
    if let Value::List(items) = value { Ok(items) } else { Err(mismatch("a list", value)) }
}

fn as_int(value: &Value) -> Result<i64, Misuse> {
    if let Value::Int(number) = value { Ok(*number) } else { Err(mismatch("a whole number", value)) }
}
