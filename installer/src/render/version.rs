//! Versions of Kubernetes: as servers write them, and what a chart asks of them.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// The version of an API server, such as `v1.33.1-gke.100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    text: String,
}

/// A version that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of Kubernetes; write it as v1.33.0")]
pub struct NoVersion(pub String);

impl FromStr for KubeVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let mut parts = numbers.splitn(3, '.');
        // A minor version may end in a plus sign.
        let mut number = || {
            let part = parts.next()?;
            let digits = part.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor, text: format!("v{numbers}") }),
            _ => Err(NoVersion(text.to_owned())),
        }
    }
}

impl fmt::Display for KubeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl KubeVersion {
    /// Whether it is what a chart wants, written as `>=1.27.0-0`; nothing wanted is always met.
    ///
    /// # Errors
    /// The chart writes it in another way.
    pub(super) fn meets(&self, wanted: &str) -> Result<bool, NoVersion> {
        let wanted = wanted.trim();
        if wanted.is_empty() {
            return Ok(true);
        }
        let least = wanted.strip_prefix(">=").ok_or_else(|| NoVersion(wanted.to_owned()))?;
        let least: Self = least.trim().parse()?;
        Ok((self.major, self.minor) >= (least.major, least.minor))
    }
}
