//! Checks values against `values.schema.json`: the keywords that our charts use, and no schema that uses others.
//!
//! The library that knows all of JSON Schema would bring more code than the rest of this tool's rendering.

#[cfg(test)]
mod tests;

use std::fmt;

use regex::Regex;
use serde_json::{Map, Value};

/// A value that does not fit, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The value's keys, joined by dots; empty for all values.
    pub path: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

/// A schema that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A keyword that is not known here.
    #[error("the keyword `{0}` is not supported")]
    Keyword(String),
    /// A keyword with a value that has no meaning.
    #[error("the keyword `{0}` has a value it cannot have")]
    Meaning(&'static str),
    /// A reference to nothing.
    #[error("`$ref` to {0}, which is not in the schema")]
    Reference(String),
}

/// Everything in `value` that `schema` does not allow.
pub(super) fn check(schema: &Value, value: &Value) -> Result<Vec<Mismatch>, SchemaError> {
    let mut checker = Checker { root: schema, found: Vec::new() };
    checker.any(schema, value, "")?;
    Ok(checker.found)
}

struct Checker<'a> {
    root: &'a Value,
    found: Vec<Mismatch>,
}

impl<'a> Checker<'a> {
    fn any(&mut self, schema: &'a Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => {
                self.found(path, "nothing may stand here".to_owned());
                return Ok(());
            }
            Value::Object(schema) => schema,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(SchemaError::Meaning("a schema"));
            }
        };
        for (keyword, argument) in schema {
            match keyword.as_str() {
                "$schema" | "$id" | "$comment" | "title" | "description" | "default" | "examples"
                | "deprecated" | "$defs" | "definitions" | "then" | "else" => {}
                "$ref" => self.reference(argument, value, path)?,
                "type" => self.kind(argument, value, path)?,
                "enum" => self.one_of_values(argument, value, path)?,
                "const" if argument == value => {}
                "const" => self.found(path, format!("{} is not {argument}", shown(value))),
                "properties"
                | "additionalProperties"
                | "patternProperties"
                | "required"
                | "propertyNames" => {}
                "items" => self.items(argument, value, path)?,
                "anyOf" | "oneOf" => self.some(keyword == "oneOf", argument, value, path)?,
                "allOf" => {
                    for schema in list(argument, "allOf")? {
                        self.any(schema, value, path)?;
                    }
                }
                "not" if self.fits(argument, value)? => {
                    self.found(path, format!("{} is not allowed", shown(value)));
                }
                "not" => {}
                "if" => self.choice(schema, argument, value, path)?,
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                    self.bound(keyword, argument, value, path)?;
                }
                "minLength" | "maxLength" | "minItems" | "maxItems" => {
                    self.length(keyword, argument, value, path)?
                }
                "pattern" => self.pattern(argument, value, path)?,
                other => return Err(SchemaError::Keyword(other.to_owned())),
            }
        }
        if let Value::Object(entries) = value {
            self.entries(schema, entries, path)?;
        }
        Ok(())
    }

    fn found(&mut self, path: &str, problem: String) {
        self.found.push(Mismatch { path: path.to_owned(), problem });
    }

    /// Whether a value fits, and nothing noted.
    fn fits(&self, schema: &'a Value, value: &Value) -> Result<bool, SchemaError> {
        let mut inner = Checker { root: self.root, found: Vec::new() };
        inner.any(schema, value, "")?;
        Ok(inner.found.is_empty())
    }

    fn reference(&mut self, to: &Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let to = to.as_str().ok_or(SchemaError::Meaning("$ref"))?;
        let target = to.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let target = target.ok_or_else(|| SchemaError::Reference(to.to_owned()))?;
        self.any(target, value, path)
    }

    fn kind(&mut self, wanted: &Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let wanted: Vec<&str> = match wanted {
            Value::String(one) => vec![one],
            Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(SchemaError::Meaning("type"));
            }
        };
        if !wanted.iter().any(|wanted| is_of(value, wanted)) {
            self.found(path, format!("{} where the chart wants {}", shown(value), wanted.join(" or ")));
        }
        Ok(())
    }

    fn one_of_values(&mut self, wanted: &Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let wanted = list(wanted, "enum")?;
        if !wanted.contains(value) {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            self.found(path, format!("{} is none of {}", shown(value), wanted.join(", ")));
        }
        Ok(())
    }

    fn items(&mut self, schema: &'a Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.any(schema, item, &format!("{path}[{index}]"))?;
        }
        Ok(())
    }

    fn some(
        &mut self,
        only_one: bool,
        schemas: &'a Value,
        value: &Value,
        path: &str,
    ) -> Result<(), SchemaError> {
        let schemas = list(schemas, if only_one { "oneOf" } else { "anyOf" })?;
        let mut fitting = 0;
        let mut closest: Option<Vec<Mismatch>> = None;
        for schema in schemas {
            let mut inner = Checker { root: self.root, found: Vec::new() };
            inner.any(schema, value, path)?;
            if inner.found.is_empty() {
                fitting += 1;
            } else if closest.as_ref().is_none_or(|best| depth(&inner.found) > depth(best)) {
                closest = Some(inner.found);
            }
        }
        match (fitting, closest) {
            (0, Some(closest)) => self.found.extend(closest),
            (0 | 1, _) => {}
            (_, _) if only_one => self.found(path, format!("{} has more than one meaning", shown(value))),
            (_, _) => {}
        }
        Ok(())
    }

    fn choice(
        &mut self,
        schema: &'a Map<String, Value>,
        condition: &'a Value,
        value: &Value,
        path: &str,
    ) -> Result<(), SchemaError> {
        let branch = if self.fits(condition, value)? { "then" } else { "else" };
        match schema.get(branch) {
            Some(branch) => self.any(branch, value, path),
            None => Ok(()),
        }
    }

    fn bound(&mut self, keyword: &str, bound: &Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let bound = bound.as_f64().ok_or(SchemaError::Meaning("minimum or maximum"))?;
        let Some(number) = value.as_f64() else { return Ok(()) };
        let (holds, words) = match keyword {
            "minimum" => (number >= bound, "less than"),
            "maximum" => (number <= bound, "more than"),
            "exclusiveMinimum" => (number > bound, "not more than"),
            _ => (number < bound, "not less than"),
        };
        if !holds {
            self.found(path, format!("{number} is {words} {bound}"));
        }
        Ok(())
    }

    fn length(&mut self, keyword: &str, bound: &Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let bound = bound.as_u64().ok_or(SchemaError::Meaning("a length"))?;
        let length = match value {
            Value::String(text) if keyword.ends_with("Length") => text.chars().count(),
            Value::Array(items) if keyword.ends_with("Items") => items.len(),
            Value::String(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Object(_) => {
                return Ok(());
            }
        };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        if keyword.starts_with("min") && length < bound {
            self.found(path, format!("{} is shorter than {bound}", shown(value)));
        } else if keyword.starts_with("max") && length > bound {
            self.found(path, format!("{} is longer than {bound}", shown(value)));
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &Value, value: &Value, path: &str) -> Result<(), SchemaError> {
        let pattern = expression(pattern.as_str().ok_or(SchemaError::Meaning("pattern"))?)?;
        if let Value::String(text) = value
            && !pattern.is_match(text)
        {
            self.found(path, format!("{} does not match {pattern}", shown(value)));
        }
        Ok(())
    }

    fn entries(
        &mut self,
        schema: &'a Map<String, Value>,
        entries: &Map<String, Value>,
        path: &str,
    ) -> Result<(), SchemaError> {
        for name in
            schema.get("required").map(|names| list(names, "required")).transpose()?.into_iter().flatten()
        {
            let name = name.as_str().ok_or(SchemaError::Meaning("required"))?;
            if !entries.contains_key(name) {
                self.found(path, format!("`{name}` is missing"));
            }
        }
        let known = object(schema, "properties")?;
        let patterns: Vec<(Regex, &Value)> = object(schema, "patternProperties")?
            .into_iter()
            .flatten()
            .map(|(pattern, schema)| Ok((expression(pattern)?, schema)))
            .collect::<Result<_, SchemaError>>()?;
        for (key, value) in entries {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if let Some(names) = schema.get("propertyNames") {
                self.any(names, &Value::String(key.clone()), &inner)?;
            }
            let mut described = false;
            if let Some(schema) = known.and_then(|known| known.get(key)) {
                self.any(schema, value, &inner)?;
                described = true;
            }
            for (pattern, schema) in &patterns {
                if pattern.is_match(key) {
                    self.any(schema, value, &inner)?;
                    described = true;
                }
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) if !described => {
                    self.found(&inner, "the chart has no such value".to_owned());
                }
                Some(others) if !described => self.any(others, value, &inner)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Null => wanted == "null",
        Value::Bool(_) => wanted == "boolean",
        Value::String(_) => wanted == "string",
        Value::Array(_) => wanted == "array",
        Value::Object(_) => wanted == "object",
        Value::Number(number) => {
            wanted == "number"
                || wanted == "integer" && number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
    }
}

/// A value in a message: short, with its type to be seen.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a map".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// How near a value came to what was wanted: the deeper the first thing wrong, the nearer.
fn depth(found: &[Mismatch]) -> usize {
    found.iter().map(|mismatch| mismatch.path.len()).min().unwrap_or(0)
}

fn list<'a>(value: &'a Value, keyword: &'static str) -> Result<&'a [Value], SchemaError> {
    value.as_array().map(Vec::as_slice).ok_or(SchemaError::Meaning(keyword))
}

fn object<'a>(
    schema: &'a Map<String, Value>,
    keyword: &'static str,
) -> Result<Option<&'a Map<String, Value>>, SchemaError> {
    match schema.get(keyword) {
        None => Ok(None),
        Some(value) => value.as_object().map(Some).ok_or(SchemaError::Meaning(keyword)),
    }
}

fn expression(pattern: &str) -> Result<Regex, SchemaError> {
    Regex::new(pattern).map_err(|_| SchemaError::Meaning("pattern"))
}
