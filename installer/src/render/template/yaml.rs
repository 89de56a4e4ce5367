//! Prints YAML as Helm's `toYaml` does, to the byte: checksums of rendered text are part of what charts render.
//!
//! The rules are those of the Go library `sigs.k8s.io/yaml`: keys in its natural order, lists not indented below their key,
//! lines folded after 80 columns, and plain text wherever it reads back as text.

mod scalar;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde_json::{Number, Value as Json};

/// A value as YAML, without the newline at the end.
pub(in crate::render) fn print(value: &Json) -> String {
    let mut printer = Printer::default();
    match value {
        Json::Object(entries) if !entries.is_empty() => printer.map(entries, 0, true),
        Json::Array(items) if !items.is_empty() => printer.list(items, 0, true),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            printer.scalar(value, 0)
        }
    }
    printer.out.strip_suffix('\n').unwrap_or(&printer.out).to_owned()
}

/// A number without a fraction as a whole one: JSON in Go has no other form for it.
pub(super) fn whole(number: &Number) -> Option<i64> {
    if let Some(number) = number.as_i64() {
        return Some(number);
    }
    let float = number.as_f64()?;
    // The bound is that of Go's JSON, which turns to exponents there; i64 ends a little before.
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and lies within the range")]
    (float.fract() == 0.0 && float.abs() < 9.2e18).then_some(float as i64)
}

/// YAML so far.
#[derive(Default)]
struct Printer {
    out: String,
}

impl Printer {
    /// `inline` when the first entry goes on the line that is open.
    fn map(&mut self, entries: &serde_json::Map<String, Json>, indent: usize, inline: bool) {
        let mut keys: Vec<&String> = entries.keys().collect();
        keys.sort_by(|left, right| natural(left, right));
        for (number, key) in keys.into_iter().enumerate() {
            self.begin(indent, inline && number == 0);
            self.out.push_str(&scalar::key(key));
            self.out.push(':');
            match entries.get(key) {
                Some(Json::Object(inner)) if !inner.is_empty() => {
                    self.out.push('\n');
                    self.map(inner, indent + 2, false);
                }
                Some(Json::Array(items)) if !items.is_empty() => {
                    self.out.push('\n');
                    self.list(items, indent, false);
                }
                Some(value) => {
                    self.out.push(' ');
                    self.scalar(value, indent + 2);
                }
                None => {}
            }
        }
    }

    fn list(&mut self, items: &[Json], indent: usize, inline: bool) {
        for (number, item) in items.iter().enumerate() {
            self.begin(indent, inline && number == 0);
            self.out.push_str("- ");
            match item {
                Json::Object(entries) if !entries.is_empty() => {
                    self.map(entries, indent + 2, true);
                }
                Json::Array(inner) if !inner.is_empty() => self.list(inner, indent + 2, true),
                Json::Null
                | Json::Bool(_)
                | Json::Number(_)
                | Json::String(_)
                | Json::Array(_)
                | Json::Object(_) => self.scalar(item, indent + 2),
            }
        }
    }

    fn begin(&mut self, indent: usize, inline: bool) {
        if !inline {
            self.out.push_str(&" ".repeat(indent));
        }
    }

    /// A scalar or an empty collection, and the end of its line.
    fn scalar(&mut self, value: &Json, indent: usize) {
        let text = match value {
            Json::Null => "null".to_owned(),
            Json::Bool(truth) => truth.to_string(),
            Json::Number(number) => number_text(number),
            Json::Array(_) => "[]".to_owned(),
            Json::Object(_) => "{}".to_owned(),
            Json::String(text) => {
                let line = self.out.rfind('\n').map_or(0, |newline| newline + 1);
                let column = self.out.get(line..).unwrap_or_default().chars().count();
                scalar::text(text, indent, column)
            }
        };
        self.out.push_str(&text);
        // A text that keeps its last line breaks ends its own line.
        if !text.ends_with('\n') {
            self.out.push('\n');
        }
    }
}

fn number_text(number: &Number) -> String {
    match whole(number) {
        Some(whole) => whole.to_string(),
        None => super::value::float(number.as_f64().unwrap_or_default()),
    }
}

/// The library's order of keys: letters after everything else, runs of digits as numbers.
fn natural(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    for (at, (&l, &r)) in left.iter().zip(&right).enumerate() {
        if l == r {
            continue;
        }
        return match (l.is_alphabetic(), r.is_alphabetic()) {
            (true, true) => l.cmp(&r),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => by_number(&left, &right, at).then(l.cmp(&r)),
        };
    }
    left.len().cmp(&right.len())
}

/// Two runs of digits that differ from `at`: the smaller number first, then the shorter run.
fn by_number(left: &[char], right: &[char], at: usize) -> Ordering {
    let run = |text: &[char]| -> Vec<u32> { text.iter().skip(at).map_while(|c| c.to_digit(10)).collect() };
    let (l, r) = (run(left), run(right));
    // A nought does not lead where another digit stands before it.
    let begun = left.iter().take(at).rev().map_while(|c| c.to_digit(10)).any(|digit| digit != 0);
    let noughts = left.get(at) == Some(&'0') || right.get(at) == Some(&'0');
    let start = u64::from(begun && noughts);
    let value = |digits: &[u32]| {
        digits.iter().fold(start, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(*digit)))
    };
    value(&l).cmp(&value(&r)).then(l.len().cmp(&r.len()))
}
