//! What a proxy says of itself, as values: metrics and access-log lines.

use std::collections::BTreeMap;

use serde_json::Value;

/// One sample of the Prometheus text format.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// What `/metrics` answered.
#[derive(Debug, Clone, Default)]
pub struct Metrics(pub Vec<Sample>);

impl Metrics {
    /// Reads the text format; comments and lines that are none are passed over.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of the series of this name that have all these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|s| s.value).sum()
    }

    /// The series of this name that have all these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| labels.iter().all(|(k, v)| sample.labels.get(*k).is_some_and(|l| l == v));
        self.0.iter().filter(move |sample| sample.name == name && has(sample))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = match line.rfind('}') {
        Some(end) => (&line[..=end], line[end + 1..].trim()),
        None => line.split_once(' ')?,
    };
    let value = value.split(' ').next()?.parse().ok()?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}')?;
    while let Some((key, after)) = rest.split_once("=\"") {
        let end = closing_quote(after)?;
        let plain = after[..end].replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        labels.insert(key.trim_start_matches(',').to_owned(), plain);
        rest = &after[end + 1..];
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The position of the first quote that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLine(pub Value);

impl AccessLine {
    /// The lines of a log in JSON that tell how a connection ended, in order: `connection complete`, or `connection failed`
    /// when it ended before it was known where it goes.
    pub fn all(log: &str) -> Vec<Self> {
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["scope"] == "access")
            .filter(|line| line["message"] == "connection complete" || line["message"] == "connection failed")
            .map(Self)
            .collect()
    }

    /// A field as text; empty when it is absent.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// A field as a number; none when it is absent or no number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.0[field].as_u64()
    }

    /// Whether it is the line of the destination's side.
    pub fn is_inbound(&self) -> bool {
        self.text("direction") == "inbound"
    }
}

#[cfg(test)]
mod tests;
