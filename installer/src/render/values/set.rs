//! Helm's syntax of `--set`: `a.b=1,c[0].d=x,e={1,2}`, with a backslash before what is meant literally.

use std::fs;
use std::io;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Value};

/// How the right side of an argument is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole numbers, `true`, `false` and `null` are what they look like.
    Typed,
    /// All text.
    Text,
    /// The name of a file that holds the text.
    File,
    /// JSON.
    Json,
}

/// What is wrong with an argument.
#[derive(Debug, thiserror::Error)]
pub enum SetProblem {
    /// A key without `=`.
    #[error("key `{0}` has no value; write `{0}=value`")]
    NoValue(String),
    /// An index that is not a small number.
    #[error("`[{0}]` is no index; write a number from 0 to 65536")]
    Index(String),
    /// Something between `]` and what may follow it.
    #[error("`{0}` stands after `]`, where only `.`, `[` or `=` may")]
    AfterIndex(String),
    /// A list without its end.
    #[error("the list that begins with `{{` has no `}}`")]
    OpenList,
    /// A key below something that has no keys.
    #[error("`{0}` holds no map, so nothing can be set below it")]
    NotAMap(String),
    /// An index into something that is no list.
    #[error("`{0}` holds no list, so it takes no index")]
    NotAList(String),
    /// Keys within keys without end.
    #[error("more than 30 keys within each other")]
    TooDeep,
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// JSON that cannot be read.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Sets what `argument` says in `values`.
pub(super) fn apply(values: &mut Map<String, Value>, argument: &str, kind: Kind) -> Result<(), SetProblem> {
    if kind == Kind::Json && argument.trim_start().starts_with('{') {
        let whole: Map<String, Value> = serde_json::from_str(argument)?;
        super::merge(values, whole.into_iter().map(|(k, v)| (k, super::floats(v))).collect());
        return Ok(());
    }
    let mut parser = Parser { rest: argument.chars().peekable(), kind };
    while parser.rest.peek().is_some() {
        parser.entry(values, 0)?;
    }
    Ok(())
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    kind: Kind,
}

impl Parser<'_> {
    /// One `key=value` below `into`, and the comma after it.
    fn entry(&mut self, into: &mut Map<String, Value>, depth: usize) -> Result<(), SetProblem> {
        if depth > MAX_DEPTH {
            return Err(SetProblem::TooDeep);
        }
        let (key, stop) = self.until("=[,.");
        match stop {
            Some('=') => {
                let value = self.value()?;
                put(into, key, value);
                Ok(())
            }
            Some('.') => {
                let mut inner = match into.get(&key) {
                    Some(Value::Object(map)) => map.clone(),
                    Some(_) => return Err(SetProblem::NotAMap(key)),
                    None => Map::new(),
                };
                self.entry(&mut inner, depth + 1)?;
                put(into, key, Value::Object(inner));
                Ok(())
            }
            Some('[') => {
                let list = match into.get(&key) {
                    Some(Value::Array(items)) => items.clone(),
                    Some(_) => return Err(SetProblem::NotAList(key)),
                    None => Vec::new(),
                };
                let list = self.item(list, &key, depth)?;
                put(into, key, Value::Array(list));
                Ok(())
            }
            _ => Err(SetProblem::NoValue(key)),
        }
    }

    /// What stands after `[`: an index, and then a value, keys or another index.
    fn item(&mut self, mut list: Vec<Value>, key: &str, depth: usize) -> Result<Vec<Value>, SetProblem> {
        if depth > MAX_DEPTH {
            return Err(SetProblem::TooDeep);
        }
        let (index, stop) = self.until("]");
        let at = index.parse::<usize>().ok().filter(|at| *at <= MAX_INDEX);
        let Some(at) = at.filter(|_| stop.is_some()) else {
            return Err(SetProblem::Index(index));
        };
        if list.len() <= at {
            list.resize(at + 1, Value::Null);
        }
        let held = list.get(at).cloned().unwrap_or(Value::Null);
        let (between, stop) = self.until("[.=");
        if !between.is_empty() {
            return Err(SetProblem::AfterIndex(between));
        }
        let value = match stop {
            Some('=') => self.value()?,
            Some('.') => {
                let mut inner = match held {
                    Value::Object(map) => map,
                    Value::Null => Map::new(),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                        return Err(SetProblem::NotAMap(format!("{key}[{at}]")));
                    }
                };
                self.entry(&mut inner, depth + 1)?;
                Value::Object(inner)
            }
            Some(_) => {
                let inner = match held {
                    Value::Array(items) => items,
                    Value::Null => Vec::new(),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                        return Err(SetProblem::NotAList(format!("{key}[{at}]")));
                    }
                };
                Value::Array(self.item(inner, &format!("{key}[{at}]"), depth + 1)?)
            }
            None => return Err(SetProblem::NoValue(format!("{key}[{at}]"))),
        };
        if let Some(slot) = list.get_mut(at) {
            *slot = value;
        }
        Ok(list)
    }

    fn value(&mut self) -> Result<Value, SetProblem> {
        if self.kind == Kind::Json {
            return self.json();
        }
        if self.rest.next_if_eq(&'{').is_none() {
            let (text, _) = self.until(",");
            return self.typed(text);
        }
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(",}");
            match stop {
                Some(',') => items.push(self.typed(text)?),
                Some(_) => {
                    items.push(self.typed(text)?);
                    self.rest.next_if_eq(&',');
                    return Ok(Value::Array(items));
                }
                None => return Err(SetProblem::OpenList),
            }
        }
    }

    /// The JSON value that comes next; nothing is `null`.
    fn json(&mut self) -> Result<Value, SetProblem> {
        let rest: String = self.rest.clone().collect();
        let rest = rest.trim_start();
        let mut read = 0;
        let mut value = Value::Null;
        if !rest.is_empty() && !rest.starts_with(',') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            value = values.next().transpose()?.map_or(Value::Null, super::floats);
            read = values.byte_offset();
        }
        let left = rest.get(read..).unwrap_or_default();
        let left = left.trim_start();
        let left = left.strip_prefix(',').unwrap_or(left).chars().count();
        while self.rest.clone().count() > left {
            self.rest.next();
        }
        Ok(value)
    }

    fn typed(&self, text: String) -> Result<Value, SetProblem> {
        if self.kind == Kind::File {
            return match fs::read_to_string(&text) {
                Ok(text) => Ok(Value::String(text)),
                Err(source) => Err(SetProblem::File { path: text, source }),
            };
        }
        if self.kind == Kind::Text {
            return Ok(Value::String(text));
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            "0" => Value::from(0),
            // `08` and `1.10` stay text: they are versions more often than numbers.
            lower if !lower.starts_with('0') => text.parse::<i64>().map_or(Value::String(text), Value::from),
            _ => Value::String(text),
        })
    }

    /// Text up to one of `stops`, which is taken and returned; a backslash makes the next letter plain text.
    fn until(&mut self, stops: &str) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(c) = self.rest.next() {
            if stops.contains(c) {
                return (text, Some(c));
            }
            if c == '\\' {
                text.extend(self.rest.next());
            } else {
                text.push(c);
            }
        }
        (text, None)
    }
}

/// An empty key is left out, as Helm leaves it out.
fn put(into: &mut Map<String, Value>, key: String, value: Value) {
    if !key.is_empty() {
        into.insert(key, value);
    }
}

/// Helm's bounds.
const MAX_DEPTH: usize = 30;
const MAX_INDEX: usize = 65_536;
