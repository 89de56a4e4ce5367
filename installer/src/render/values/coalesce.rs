//! Lays given values over a chart's defaults and hands subcharts their part, by Helm's rules for `null` and `global`.

use serde_json::{Map, Value};

use crate::render::chart::Package;

type Values = Map<String, Value>;

/// The values a chart and its subcharts are rendered with: defaults below what was given, `null` taking a default away.
pub(in crate::render) fn coalesce(chart: &Package, given: Values) -> Values {
    let mut values = given;
    chart_values(chart, &mut values, false);
    subchart_values(chart, &mut values, false);
    values
}

/// A chart's defaults with those of its subcharts laid under them, `null`s kept: Helm replaces a parent's defaults by these.
pub(in crate::render) fn defaults_with_subcharts(chart: &Package) -> Values {
    let mut values = Values::new();
    chart_values(chart, &mut values, true);
    subchart_values(chart, &mut values, true);
    values
}

fn subchart_values(chart: &Package, values: &mut Values, keep_null: bool) {
    for subchart in &chart.dependencies {
        let globals = values.get("global").cloned();
        let part = values.entry(subchart.name.clone()).or_insert_with(|| Value::Object(Values::new()));
        // What is not a map was refused before, by `Package::enabled`.
        if let Value::Object(part) = part {
            hand_down_globals(part, globals);
            chart_values(subchart, part, keep_null);
            subchart_values(subchart, part, keep_null);
        }
    }
}

/// The parent's globals win over the subchart's.
fn hand_down_globals(part: &mut Values, globals: Option<Value>) {
    let globals = match globals {
        None => Values::new(),
        Some(Value::Object(globals)) => globals,
        Some(_) => return,
    };
    let held = part.entry("global").or_insert_with(|| Value::Object(Values::new()));
    let Value::Object(held) = held else { return };
    for (key, value) in globals {
        let value = match (value, held.get(&key)) {
            (Value::Object(mut above), Some(Value::Object(below))) => {
                tables(&mut above, below.clone(), true);
                Value::Object(above)
            }
            (Value::Object(_), Some(_)) => continue,
            (value @ Value::Object(_), None) => value,
            (_, Some(Value::Object(_))) => continue,
            (value, _) => value,
        };
        held.insert(key, value);
    }
}

fn chart_values(chart: &Package, values: &mut Values, keep_null: bool) {
    for (key, default) in &chart.values {
        let Some(given) = values.get_mut(key) else {
            if keep_null {
                values.insert(key.clone(), default.clone());
            } else if !default.is_null() {
                values.insert(key.clone(), without_null(default.clone()));
            }
            continue;
        };
        match (given, default) {
            (Value::Null, _) if !keep_null => {
                values.shift_remove(key);
            }
            (Value::Object(given), Value::Object(default)) => {
                let keep_null = keep_null || chart.dependencies.iter().any(|d| d.name == *key);
                let mut default = default.clone();
                if !keep_null {
                    strip_null(&mut default);
                }
                tables(given, default, keep_null);
            }
            _ => {}
        }
    }
}

/// Lays `over` on `under`, the result in `over`.
fn tables(over: &mut Values, mut under: Values, keep_null: bool) {
    let set: Vec<String> =
        under.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.clone()).collect();
    for (key, value) in over.iter() {
        if value.is_null() {
            under.insert(key.clone(), Value::Null);
        }
    }
    for (key, below) in under {
        match (over.get_mut(&key), below) {
            (None, below) => {
                over.insert(key, below);
            }
            (Some(Value::Null), _) if !keep_null && set.contains(&key) => {
                over.shift_remove(&key);
            }
            (Some(Value::Object(above)), Value::Object(below)) => tables(above, below, keep_null),
            (Some(_), _) => {}
        }
    }
}

fn without_null(value: Value) -> Value {
    let mut value = value;
    if let Value::Object(entries) = &mut value {
        strip_null(entries);
    }
    value
}

fn strip_null(entries: &mut Values) {
    entries.retain(|_, value| !value.is_null());
    for value in entries.values_mut() {
        if let Value::Object(inner) = value {
            strip_null(inner);
        }
    }
}
