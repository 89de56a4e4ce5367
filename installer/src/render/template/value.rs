//! What templates compute with: Go's dynamic values, where a map is shared and `set` is seen by everybody who holds it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::{Number, Value as Json};

/// A map that several values may hold; Go's maps are references.
pub(crate) type Map = Rc<RefCell<BTreeMap<String, Value>>>;

/// A method of an object that Helm gives to templates, such as `.Files.Get`.
pub(crate) type Method = Rc<dyn Fn(&[Value]) -> Result<Value, String>>;

/// One value of a template.
#[derive(Clone)]
pub(crate) enum Value {
    /// Nothing: a key that is missing or `null`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number: a literal of a template, or one that `--set` gave.
    Int(i64),
    /// A number of a values file; YAML reaches Helm as JSON, where every number is one of these.
    Float(f64),
    /// Text.
    Text(Rc<str>),
    /// A list.
    List(Rc<Vec<Self>>),
    /// A map.
    Map(Map),
    /// An object with methods, which prints as the text.
    Object(Rc<Object>),
    /// A method, not yet called.
    Method(Method),
}

/// An object of Helm's with fields, methods and a way to print itself.
pub(crate) struct Object {
    /// Fields and methods by name.
    pub(crate) fields: BTreeMap<&'static str, Value>,
    /// What it prints as.
    pub(crate) text: String,
}

impl Value {
    /// Text as a value.
    pub(crate) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A list as a value.
    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(items))
    }

    /// A new map that nobody else holds.
    pub(crate) fn map(entries: BTreeMap<String, Self>) -> Self {
        Self::Map(Rc::new(RefCell::new(entries)))
    }

    /// Whether `if` and `with` take it: Go's rule.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.borrow().is_empty(),
            Self::Object(_) | Self::Method(_) => true,
        }
    }

    /// The type's name as Go's messages have it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Object(_) => "object",
            Self::Method(_) => "func",
        }
    }

    /// A copy that shares nothing with this value.
    pub(crate) fn deep_copy(&self) -> Self {
        match self {
            Self::List(items) => Self::list(items.iter().map(Self::deep_copy).collect()),
            Self::Map(map) => {
                Self::map(map.borrow().iter().map(|(key, value)| (key.clone(), value.deep_copy())).collect())
            }
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Object(_)
            | Self::Method(_) => self.clone(),
        }
    }

    /// The same as JSON; objects and methods have no form there and read as `null`.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Nil | Self::Object(_) | Self::Method(_) => Json::Null,
            Self::Bool(truth) => Json::Bool(*truth),
            Self::Int(number) => Json::Number((*number).into()),
            Self::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
            Self::Text(text) => Json::String(text.to_string()),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(map) => {
                Json::Object(map.borrow().iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// For Go's own way of printing, which the template library has.
    pub(crate) fn to_go(&self) -> gotmpl::Value {
        match self {
            Self::Nil | Self::Method(_) => gotmpl::Value::Nil,
            Self::Bool(truth) => gotmpl::Value::Bool(*truth),
            Self::Int(number) => gotmpl::Value::Int(*number),
            Self::Float(number) => gotmpl::Value::Float(*number),
            Self::Text(text) => gotmpl::Value::String(text.as_ref().into()),
            Self::Object(object) => gotmpl::Value::String(object.text.as_str().into()),
            Self::List(items) => {
                gotmpl::Value::List(items.iter().map(Self::to_go).collect::<Vec<_>>().into())
            }
            Self::Map(map) => gotmpl::Value::Map(
                map.borrow()
                    .iter()
                    .map(|(key, value)| (key.as_str().into(), value.to_go()))
                    .collect::<BTreeMap<_, _>>()
                    .into(),
            ),
        }
    }
}

/// Whole numbers stay whole: only what was read from YAML is a float, and values say which they are.
impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(truth) => Self::Bool(*truth),
            Json::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_f64().map(Self::Float))
                .unwrap_or(Self::Nil),
            Json::String(text) => Self::text(text.as_str()),
            Json::Array(items) => Self::list(items.iter().map(Self::from).collect()),
            Json::Object(entries) => {
                Self::map(entries.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}

/// As Go's `fmt.Sprint` prints one value.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil | Self::Method(_) => f.write_str("<nil>"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => f.write_str(&float(*number)),
            Self::Text(text) => f.write_str(text),
            Self::Object(object) => f.write_str(&object.text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(" "))
            }
            Self::Map(map) => {
                let map = map.borrow();
                let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                write!(f, "map[{}]", entries.join(" "))
            }
        }
    }
}

/// A float as Go's `%v` has it: the fewest digits, and an exponent for what is very large or very small.
pub(super) fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        // Not a number, or not finite: no YAML or JSON holds one.
        return number.to_string();
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..PLAIN_BELOW).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// From this exponent on Go prints one.
const PLAIN_BELOW: i32 = 6;
