//! YAML, JSON, base64 and digests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Answer, Function, Misuse, as_text, exactly};
use crate::render::template::value::Value;
use crate::render::template::yaml;
use crate::render::values;

pub(super) fn find(name: &str) -> Option<Function> {
    let function: Function = match name {
        "toYaml" | "mustToYaml" => |a| exactly(a).map(|[v]| Value::text(yaml::print(&v.to_json()))),
        "fromYaml" | "fromJson" => from_yaml,
        "fromYamlArray" | "fromJsonArray" => from_yaml_array,
        "toJson" | "mustToJson" => |a| exactly(a).map(|[v]| Value::text(json(v))),
        "b64enc" => |a| exactly(a).and_then(|[v]| Ok(Value::text(STANDARD.encode(as_text(v)?)))),
        "b64dec" => b64dec,
        "sha256sum" => sha256sum,
        _ => return None,
    };
    Some(function)
}

/// What cannot be read becomes a map with the one key `Error`, as in Helm.
fn from_yaml(arguments: &[Value]) -> Answer {
    let [text] = exactly(arguments)?;
    let problem = match values::parse(as_text(text)?) {
        Ok(serde_json::Value::Null) => return Ok(Value::map(BTreeMap::new())),
        Ok(json @ serde_json::Value::Object(_)) => return Ok(Value::from(&json)),
        Ok(_) => "not a map".to_owned(),
        Err(error) => error.to_string(),
    };
    Ok(Value::map(BTreeMap::from([("Error".to_owned(), Value::text(problem))])))
}

/// What cannot be read becomes a list of the one text that says why.
fn from_yaml_array(arguments: &[Value]) -> Answer {
    let [text] = exactly(arguments)?;
    let problem = match values::parse(as_text(text)?) {
        Ok(serde_json::Value::Null) => return Ok(Value::list(Vec::new())),
        Ok(json @ serde_json::Value::Array(_)) => return Ok(Value::from(&json)),
        Ok(_) => "not a list".to_owned(),
        Err(error) => error.to_string(),
    };
    Ok(Value::list(vec![Value::text(problem)]))
}

/// As Go writes it: what would end a script in a page is escaped, and a number has an exponent only when it is extreme.
fn json(value: &Value) -> String {
    match value {
        Value::Float(number) => json_number(*number),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(json).collect();
            format!("[{}]", items.join(","))
        }
        Value::Map(map) => {
            let map = map.borrow();
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}:{}", json_text(key), json(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Text(text) => json_text(text),
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Object(_) | Value::Method(_) => {
            value.to_json().to_string()
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn json_number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return if size > 1.0 { text.replace('e', "e+") } else { text };
    }
    number.to_string()
}

fn b64dec(arguments: &[Value]) -> Answer {
    let [text] = exactly(arguments)?;
    let bytes = STANDARD.decode(as_text(text)?).map_err(|error| Misuse::Format(error.to_string()))?;
    String::from_utf8(bytes).map(Value::text).map_err(|error| Misuse::Format(error.to_string()))
}

fn sha256sum(arguments: &[Value]) -> Answer {
    let [text] = exactly(arguments)?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, as_text(text)?.as_bytes());
    let mut hex = String::new();
    for byte in digest.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(Value::text(hex))
}
