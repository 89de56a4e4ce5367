//! How long, as people type it: `90s`, `5m`, `1h`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration; write 90s, 5m or 1h")]
pub struct NoDuration(pub String);

/// Reads a duration; a number alone is of seconds.
///
/// # Errors
/// The text is none.
pub fn parse(text: &str) -> Result<Duration, NoDuration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return Err(NoDuration(text.to_owned())),
    };
    let number: u64 = digits.parse().map_err(|_| NoDuration(text.to_owned()))?;
    let seconds = number.checked_mul(seconds).ok_or_else(|| NoDuration(text.to_owned()))?;
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
