//! One file of the node's CNI directory, read so that it can be edited without moving a byte of anybody else's.

use std::ops::Range;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

/// A file that a runtime would load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// `.conflist`: a chain. `opens` is the byte behind the bracket that opens it.
    List { opens: usize, plugins: Vec<Plugin> },
    /// `.conf` and `.json`: one plugin, which cannot be chained.
    Single { kind: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Plugin {
    kind: String,
    span: Range<usize>,
}

/// Why a runtime would pass a file over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is no text in UTF-8")]
    NotText,
    #[error("it is no JSON: {0}")]
    NotJson(String),
    #[error("it is no JSON object")]
    NotAnObject,
    #[error("`name` is missing, empty, or no text")]
    Name,
    #[error("`cniVersion` is no text")]
    Version,
    #[error("`cniVersions` is no list of texts")]
    Versions,
    #[error("`plugins` is missing, empty, given twice, or no list")]
    Plugins,
    #[error("plugin {0} of the list is no object with a `type`")]
    PluginType(usize),
    #[error("`type` is missing, empty, or no text: a file of this extension holds one plugin")]
    Type,
}

impl Document {
    /// Reads `bytes` as runtimes read a file called `name`.
    ///
    /// # Errors
    /// A runtime would pass the file over.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, Unusable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unusable::NotText)?.to_owned();
        let value: Value =
            serde_json::from_str(&text).map_err(|error| Unusable::NotJson(error.to_string()))?;
        let object = value.as_object().ok_or(Unusable::NotAnObject)?;
        let shape = if name.ends_with(LIST) { list(&text, object)? } else { single(object)? };
        Ok(Self { text, shape })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The plugins' types in their order.
    #[must_use]
    pub fn kinds(&self) -> Vec<&str> {
        match &self.shape {
            Shape::List { plugins, .. } => plugins.iter().map(|plugin| plugin.kind.as_str()).collect(),
            Shape::Single { kind } => vec![kind],
        }
    }

    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.kinds().contains(&kind)
    }

    /// The text of the plugin of this type.
    #[must_use]
    pub fn entry(&self, kind: &str) -> Option<&str> {
        let Shape::List { plugins, .. } = &self.shape else { return None };
        let plugin = plugins.iter().find(|plugin| plugin.kind == kind)?;
        self.text.get(plugin.span.clone())
    }

    /// The same as a chain. One plugin alone becomes a chain of one that keeps its name and its version.
    #[must_use]
    pub fn into_list(self) -> Self {
        if matches!(self.shape, Shape::List { .. }) {
            return self;
        }
        let Ok(Value::Object(mut plugin)) = serde_json::from_str(&self.text) else { return self };
        let version = plugin.shift_remove("cniVersion").filter(Value::is_string);
        let name = plugin.get("name").filter(|name| name.as_str().is_some_and(|name| !name.is_empty()));
        let mut chain = Map::new();
        chain.insert("name".to_owned(), name.cloned().unwrap_or_else(|| LIST_NAME.into()));
        chain.insert("cniVersion".to_owned(), version.unwrap_or_else(|| LIST_VERSION.into()));
        chain.insert("plugins".to_owned(), Value::Array(vec![Value::Object(plugin)]));
        let text = format!("{:#}\n", Value::Object(chain.clone()));
        match list(&text, &chain) {
            Ok(shape) => Self { text, shape },
            Err(_) => self,
        }
    }

    /// The chain without the plugins of these types; none when nothing would be left.
    #[must_use]
    pub fn without(&self, kinds: &[&str]) -> Option<String> {
        let Shape::List { opens, plugins } = &self.shape else {
            return (!kinds.iter().any(|kind| self.has(kind))).then(|| self.text.clone());
        };
        let mut text = self.text.get(..*opens)?.to_owned();
        let mut behind = *opens;
        let mut kept = 0;
        let lead = self.text.get(*opens..plugins.first()?.span.start)?;
        for plugin in plugins {
            if !kinds.contains(&plugin.kind.as_str()) {
                let gap = self.text.get(behind..plugin.span.start)?;
                // What is first now stands where the first one stood.
                text.push_str(if kept == 0 { lead } else { gap });
                text.push_str(self.text.get(plugin.span.clone())?);
                kept += 1;
            }
            behind = plugin.span.end;
        }
        text.push_str(self.text.get(behind..)?);
        (kept > 0).then_some(text)
    }

    /// The chain with `entry` as its last plugin, indented as its neighbor is.
    #[must_use]
    pub fn with(&self, entry: &str) -> Option<String> {
        let Shape::List { opens, plugins } = &self.shape else { return None };
        let last = plugins.last()?;
        let behind = plugins.iter().rev().nth(1).map_or(*opens, |plugin| plugin.span.end);
        let gap = self.text.get(behind..last.span.start)?;
        let blank = gap.get(gap.find(',').map_or(0, |comma| comma + 1)..)?;
        let indent = blank.rfind('\n').and_then(|end| blank.get(end..));
        let entry = match (indent, serde_json::from_str::<Value>(entry)) {
            (Some(indent), Ok(entry)) => format!("{entry:#}").replace('\n', indent),
            (None, Ok(entry)) => entry.to_string(),
            (_, Err(_)) => return None,
        };
        let (head, tail) = self.text.split_at_checked(last.span.end)?;
        Some(format!("{head},{blank}{entry}{tail}"))
    }
}

fn list(text: &str, object: &Map<String, Value>) -> Result<Shape, Unusable> {
    let is_text = |value: &Value| value.is_string();
    if object.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Unusable::Name);
    }
    if !object.get("cniVersion").is_none_or(is_text) {
        return Err(Unusable::Version);
    }
    let versions = object.get("cniVersions");
    if !versions.is_none_or(|value| value.as_array().is_some_and(|list| list.iter().all(is_text))) {
        return Err(Unusable::Versions);
    }
    let (opens, spans) = elements(text).ok_or(Unusable::Plugins)?;
    let values = object.get("plugins").and_then(Value::as_array).ok_or(Unusable::Plugins)?;
    if values.is_empty() || values.len() != spans.len() {
        return Err(Unusable::Plugins);
    }
    let plugins = values.iter().zip(spans).enumerate().map(|(index, (value, span))| {
        let kind = value.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
        let kind = kind.ok_or(Unusable::PluginType(index))?.to_owned();
        Ok(Plugin { kind, span })
    });
    Ok(Shape::List { opens, plugins: plugins.collect::<Result<_, _>>()? })
}

fn single(object: &Map<String, Value>) -> Result<Shape, Unusable> {
    let kind = object.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
    Ok(Shape::Single { kind: kind.ok_or(Unusable::Type)?.to_owned() })
}

/// Where the one list called `plugins` begins in valid JSON, and where its elements are.
fn elements(text: &str) -> Option<(usize, Vec<Range<usize>>)> {
    let mut cursor = Cursor { text, at: 0 };
    let mut found = None;
    cursor.eat('{')?;
    if cursor.eat('}').is_some() {
        return None;
    }
    loop {
        let (key, _) = cursor.value::<String>()?;
        cursor.eat(':')?;
        if key != "plugins" {
            cursor.value::<IgnoredAny>()?;
        } else if found.replace(cursor.array()?).is_some() {
            return None;
        }
        if cursor.eat(',').is_none() {
            return found;
        }
    }
}

/// A place in valid JSON.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn eat(&mut self, wanted: char) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let left = rest.trim_start().strip_prefix(wanted)?;
        self.at = self.text.len() - left.len();
        Some(())
    }

    fn value<T: DeserializeOwned>(&mut self) -> Option<(T, Range<usize>)> {
        let rest = self.text.get(self.at..)?.trim_start();
        let start = self.text.len() - rest.len();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        let value = values.next()?.ok()?;
        self.at = start + values.byte_offset();
        Some((value, start..self.at))
    }

    fn array(&mut self) -> Option<(usize, Vec<Range<usize>>)> {
        self.eat('[')?;
        let opens = self.at;
        let mut spans = Vec::new();
        if self.eat(']').is_some() {
            return Some((opens, spans));
        }
        loop {
            spans.push(self.value::<IgnoredAny>()?.1);
            if self.eat(',').is_none() {
                self.eat(']')?;
                return Some((opens, spans));
            }
        }
    }
}

/// The extension of a chain; files of the others hold one plugin.
pub const LIST: &str = ".conflist";
const LIST_NAME: &str = "k8s-pod-network";
const LIST_VERSION: &str = "0.3.1";

#[cfg(test)]
mod tests;
