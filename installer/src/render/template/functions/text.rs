//! Text: printing, quoting, indenting, cutting and replacing.

use super::{Answer, Function, Misuse, as_int, as_text, exactly, first_and_rest};
use crate::render::template::value::Value;

pub(super) fn find(name: &str) -> Option<Function> {
    let function: Function = match name {
        "print" => print,
        "printf" => printf,
        "quote" => |a| quoted(a, |text| go("printf", &[Value::text("%q"), Value::text(text)])),
        "squote" => |a| quoted(a, |text| Ok(Value::text(format!("'{text}'")))),
        "toString" => |a| exactly(a).map(|[value]| Value::text(value.to_string())),
        "indent" => indent,
        "nindent" => nindent,
        "trim" => |a| one(a, str::trim),
        "upper" => |a| exactly(a).and_then(|[v]| Ok(Value::text(as_text(v)?.to_uppercase()))),
        "lower" => |a| exactly(a).and_then(|[v]| Ok(Value::text(as_text(v)?.to_lowercase()))),
        "trimSuffix" => |a| two(a, |end, text| text.strip_suffix(end).unwrap_or(text)),
        "trimPrefix" => |a| two(a, |start, text| text.strip_prefix(start).unwrap_or(text)),
        "trimAll" => |a| two(a, |set, text| text.trim_matches(|c| set.contains(c))),
        "contains" => |a| test(a, |part, text| text.contains(part)),
        "hasPrefix" => |a| test(a, |start, text| text.starts_with(start)),
        "hasSuffix" => |a| test(a, |end, text| text.ends_with(end)),
        "replace" => replace,
        "repeat" => repeat,
        "trunc" => trunc,
        "splitList" => split_list,
        "join" => join,
        _ => return None,
    };
    Some(function)
}

/// Printing as Go prints, by the template library's own functions.
fn go(name: &str, arguments: &[Value]) -> Answer {
    let mut source = format!("{{{{{name}");
    for index in 0..arguments.len() {
        source.push_str(&format!(" (index . {index})"));
    }
    source.push_str("}}");
    let values: Vec<gotmpl::Value> = arguments.iter().map(Value::to_go).collect();
    gotmpl::execute(&source, &gotmpl::Value::List(values.into()))
        .map(Value::text)
        .map_err(|error| Misuse::Format(error.to_string()))
}

/// A space stands between two values of which none is a text.
fn print(arguments: &[Value]) -> Answer {
    let mut out = String::new();
    let mut after_text = true;
    for value in arguments {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            out.push(' ');
        }
        out.push_str(&value.to_string());
        after_text = is_text;
    }
    Ok(Value::text(out))
}

/// Floats go to verbs that are made for them as they are, and to all others as Go prints them.
fn printf(arguments: &[Value]) -> Answer {
    let (format, values) = first_and_rest(arguments)?;
    let for_floats = verbs(as_text(format)?).any(|verb| matches!(verb, 'e' | 'f' | 'g' | 'E' | 'F' | 'G'));
    let mut all = vec![format.clone()];
    all.extend(values.iter().map(|value| match value {
        Value::Float(_) if for_floats => value.clone(),
        Value::Float(_) | Value::List(_) | Value::Map(_) => Value::text(value.to_string()),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Text(_)
        | Value::Object(_)
        | Value::Method(_) => value.clone(),
    }));
    go("printf", &all)
}

/// The letters that say how a value is printed.
fn verbs(format: &str) -> impl Iterator<Item = char> {
    format.split('%').skip(1).filter_map(|rest| rest.chars().find(|c| c.is_ascii_alphabetic()))
}

/// What is missing is not quoted, it is left out.
fn quoted(arguments: &[Value], quote: fn(String) -> Answer) -> Answer {
    let mut parts = Vec::new();
    for value in arguments {
        if !matches!(value, Value::Nil) {
            parts.push(quote(value.to_string())?.to_string());
        }
    }
    Ok(Value::text(parts.join(" ")))
}

fn one(arguments: &[Value], change: fn(&str) -> &str) -> Answer {
    let [text] = exactly(arguments)?;
    Ok(Value::text(change(as_text(text)?)))
}

fn two(arguments: &[Value], change: for<'a> fn(&str, &'a str) -> &'a str) -> Answer {
    let [with, text] = exactly(arguments)?;
    Ok(Value::text(change(as_text(with)?, as_text(text)?)))
}

fn test(arguments: &[Value], holds: fn(&str, &str) -> bool) -> Answer {
    let [with, text] = exactly(arguments)?;
    Ok(Value::Bool(holds(as_text(with)?, as_text(text)?)))
}

fn indent(arguments: &[Value]) -> Answer {
    let [spaces, text] = exactly(arguments)?;
    let pad = " ".repeat(usize::try_from(as_int(spaces)?).unwrap_or(0));
    let text = as_text(text)?.replace('\n', &format!("\n{pad}"));
    Ok(Value::text(format!("{pad}{text}")))
}

fn nindent(arguments: &[Value]) -> Answer {
    Ok(Value::text(format!("\n{}", indent(arguments)?)))
}

fn replace(arguments: &[Value]) -> Answer {
    let [old, new, text] = exactly(arguments)?;
    let text = as_text(text)?.replace(as_text(old)?, as_text(new)?);
    Ok(Value::text(text))
}

fn repeat(arguments: &[Value]) -> Answer {
    let [count, text] = exactly(arguments)?;
    let count = usize::try_from(as_int(count)?).unwrap_or(0);
    Ok(Value::text(as_text(text)?.repeat(count)))
}

/// The first bytes of a text, or the last where the count is negative; never half a character.
fn trunc(arguments: &[Value]) -> Answer {
    let [count, text] = exactly(arguments)?;
    let (count, text) = (as_int(count)?, as_text(text)?);
    let length = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if length >= text.len() {
        return Ok(Value::text(text));
    }
    let mut ends = text.char_indices().map(|(at, _)| at);
    let cut = if count < 0 {
        ends.find(|at| text.len() - at <= length).and_then(|at| text.get(at..))
    } else {
        ends.take_while(|at| *at <= length).last().and_then(|at| text.get(..at))
    };
    Ok(Value::text(cut.unwrap_or_default()))
}

fn split_list(arguments: &[Value]) -> Answer {
    let [separator, text] = exactly(arguments)?;
    let parts = as_text(text)?.split(as_text(separator)?);
    Ok(Value::list(parts.map(Value::text).collect()))
}

fn join(arguments: &[Value]) -> Answer {
    let [separator, items] = exactly(arguments)?;
    let parts: Vec<String> = match items {
        Value::List(items) => {
            items.iter().filter(|item| !matches!(item, Value::Nil)).map(ToString::to_string).collect()
        }
        Value::Nil => Vec::new(),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Map(_)
        | Value::Object(_)
        | Value::Method(_) => vec![items.to_string()],
    };
    Ok(Value::text(parts.join(as_text(separator)?)))
}
