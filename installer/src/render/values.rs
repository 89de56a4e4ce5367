//! Values as Helm takes them: files in order, then `--set-json`, `--set`, `--set-string` and `--set-file`.

mod coalesce;
mod set;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};

pub(super) use self::coalesce::{coalesce, defaults_with_subcharts};
use self::set::Kind;
pub use self::set::SetProblem;

/// Where values come from, as on Helm's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Sources {
    /// Take values from this YAML file (`-` reads standard input); later files win
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Set values as Helm does: `a.b=1,c={x,y}`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Set values that stay text: `tag=1.10`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_string: Vec<String>,
    /// Set values from files: `key=path`
    #[arg(long, value_name = "KEY=PATH")]
    pub set_file: Vec<String>,
    /// Set values from JSON: `key={"a": 1}`, or a whole object
    #[arg(long, value_name = "JSON")]
    pub set_json: Vec<String>,
}

/// Why values could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not YAML.
    #[error("{} is not YAML: {source}", path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// A file that holds something other than keys and values.
    #[error("{} holds {found} where values need keys, such as `logLevel: debug`", path.display())]
    NotAMap {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
    },
    /// An argument that cannot be read.
    #[error("{flag} {argument}: {problem}")]
    Set {
        /// The flag it came with.
        flag: &'static str,
        /// The argument as given.
        argument: String,
        /// What is wrong with it.
        problem: SetProblem,
    },
}

/// Reads and merges values; nothing given is an empty map.
///
/// # Errors
///
/// A file that cannot be read or is not a map, or an argument that cannot be parsed; each names what it was.
pub fn load(sources: &Sources) -> Result<Value, ValuesError> {
    let mut values = Map::new();
    for path in &sources.files {
        let text = read(path).map_err(|source| ValuesError::Unreadable { path: path.clone(), source })?;
        merge(&mut values, parse_file(path, &text)?);
    }
    for (flag, kind, arguments) in [
        ("--set-json", Kind::Json, &sources.set_json),
        ("--set", Kind::Typed, &sources.set),
        ("--set-string", Kind::Text, &sources.set_string),
        ("--set-file", Kind::File, &sources.set_file),
    ] {
        for argument in arguments {
            set::apply(&mut values, argument, kind).map_err(|problem| ValuesError::Set {
                flag,
                argument: argument.clone(),
                problem,
            })?;
        }
    }
    Ok(Value::Object(values))
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}

/// All documents of a file, later ones over earlier ones.
fn parse_file(path: &Path, text: &str) -> Result<Map<String, Value>, ValuesError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|source| ValuesError::NotYaml { path: path.to_owned(), source: Box::new(source) })?;
    let mut values = Map::new();
    for document in documents {
        let found = match floats(document) {
            Value::Object(document) => {
                merge(&mut values, document);
                continue;
            }
            Value::Null => continue,
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
        };
        return Err(ValuesError::NotAMap { path: path.to_owned(), found });
    }
    Ok(values)
}

/// One YAML document of rendered text, whole numbers whole, as the API server wants them.
pub(super) fn parse_whole(text: &str) -> Result<Value, Box<serde_saphyr::Error>> {
    serde_saphyr::from_str_with_options(text, options()).map_err(Box::new)
}

/// One YAML document, read as Helm reads: YAML 1.1, the last of two equal keys wins, and every number is a float.
pub(super) fn parse(text: &str) -> Result<Value, Box<serde_saphyr::Error>> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options()).map(floats).map_err(Box::new)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: false,
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    }
}

/// Helm reads YAML by way of JSON, where a number is a float; only `--set` gives whole numbers.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(floats).collect()),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, floats(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// Maps merge, everything else is replaced, and `null` stays to take a default away later.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(held)), Value::Object(value)) => merge(held, value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
