//! What was given: variables as text, read in one place, with every mistake collected instead of the first one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::ConfigError;

/// Where variables come from: the process environment, or a table in a test.
pub trait Vars {
    /// The variable's value, if it is set and is Unicode.
    fn get(&self, key: &str) -> Option<String>;

    /// All variables whose name begins with `prefix`, as (rest of the name, value), sorted by name.
    fn with_prefix(&self, prefix: &str) -> Vec<(String, String)>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessVars;

impl Vars for ProcessVars {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn get(&self, key: &str) -> Option<String> {
        std::env::var(key).ok()
    }

    fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        // `vars()` panics on a name or value that is not Unicode; such a variable is none of ours.
        let mut found: Vec<_> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v)))
            .collect();
        found.sort();
        found
    }
}

/// Reads variables as typed values and keeps every mistake.
pub(super) struct Reader<'a> {
    vars: &'a dyn Vars,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(vars: &'a dyn Vars) -> Self {
        Self { vars, errors: Vec::new() }
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    pub(super) fn refuse(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// The text as it stands, set or not.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.vars.get(key)
    }

    pub(super) fn text_or(&self, key: &'static str, default: &str) -> String {
        self.text(key).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(String, String)> {
        self.vars.with_prefix(prefix)
    }

    /// Exactly `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.optional_flag(key).unwrap_or(default)
    }

    /// Exactly `true` or `false`, or not set.
    pub(super) fn optional_flag(&mut self, key: &'static str) -> Option<bool> {
        self.parse_with(key, |value| value.parse::<bool>().map_err(|_| "want true or false".to_owned()))
    }

    pub(super) fn number<T>(&mut self, key: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.parse_with(key, |value| value.parse::<T>().map_err(|e| format!("want a whole number: {e}")))
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parse_with(key, parse_duration)
    }

    /// Reads `key` with `parse`; a value that does not parse is kept as an error and counts as not set.
    pub(super) fn parse_with<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.vars.get(key)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.errors.push(ConfigError::Variable { name: key, value, why });
                None
            }
        }
    }
}

/// A sum of numbers with units, such as `5s`, `1m30s`, `3m+10s`, `250ms`; a bare whole number is seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("want a duration such as 5s, 1m30s or 250ms, not {text:?}");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wanted());
    }
    if let Ok(seconds) = rest.parse::<u64>() {
        return bounded(Duration::from_secs(seconds)).ok_or_else(wanted);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c: char| c == '+' || c.is_whitespace());
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wanted())?;
        let part = unit_of(unit).ok_or_else(wanted)?;
        let part = u32::try_from(number).ok().and_then(|n| part.checked_mul(n)).ok_or_else(wanted)?;
        total = total.checked_add(part).ok_or_else(wanted)?;
        rest = after;
    }
    bounded(total).ok_or_else(wanted)
}

/// A century: what is longer is a mistake, and would overflow the clocks it is added to.
fn bounded(duration: Duration) -> Option<Duration> {
    (duration <= Duration::from_secs(36_500 * 86_400)).then_some(duration)
}

fn unit_of(unit: &str) -> Option<Duration> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ns" | "nsec" => Duration::from_nanos(1),
        "us" | "µs" | "usec" => Duration::from_micros(1),
        "ms" | "msec" => Duration::from_millis(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Duration::from_secs(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_secs(60),
        "h" | "hr" | "hour" | "hours" => Duration::from_secs(3_600),
        "d" | "day" | "days" => Duration::from_secs(86_400),
        "w" | "week" | "weeks" => Duration::from_secs(604_800),
        _ => return None,
    })
}

/// A Kubernetes CPU quantity (`2`, `1.5`, `500m`), rounded up to whole CPUs.
pub(super) fn parse_cpus(text: &str) -> Result<usize, String> {
    let wanted = || "want a CPU quantity such as 2, 1.5 or 500m".to_owned();
    let millis = if let Some(millis) = text.strip_suffix('m') {
        millis.parse::<usize>().map_err(|_| wanted())?
    } else {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let whole: usize = whole.parse().map_err(|_| wanted())?;
        let mut thousandths = 0;
        for (digit, scale) in part.chars().zip([100, 10, 1]) {
            thousandths +=
                usize::try_from(digit.to_digit(10).ok_or_else(wanted)?).map_err(|_| wanted())? * scale;
        }
        whole.checked_mul(1_000).and_then(|m| m.checked_add(thousandths)).ok_or_else(wanted)?
    };
    Ok(millis.div_ceil(1_000))
}
