//! Certificates as a table: each chain's leaf and what is above it, and its roots.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::dump::Dump;
use crate::object::{list, text};
use crate::output::{Style, Table};

/// `now` in seconds since 1970.
pub(super) fn table(dump: &Dump, now: i64) -> Table {
    let mut table = Table::new([
        "CERTIFICATE NAME",
        "TYPE",
        "STATUS",
        "VALID CERT",
        "SERIAL NUMBER",
        "NOT AFTER",
        "NOT BEFORE",
    ]);
    for entry in dump.certificates() {
        let (chain, roots) = (list(entry, "/certChain"), list(entry, "/rootCerts"));
        if chain.is_empty() && roots.is_empty() {
            table.push(absent(entry));
        }
        let kinds = std::iter::once("Leaf").chain(std::iter::repeat("Intermediate"));
        for (certificate, kind) in chain.iter().zip(kinds) {
            table.push(row(entry, certificate, kind, now));
        }
        for root in roots {
            table.push(row(entry, root, "Root", now));
        }
    }
    table
}

fn row(entry: &Value, certificate: &Value, kind: &str, now: i64) -> Vec<(Style, String)> {
    let (from, to) = (text(certificate, "/validFrom"), text(certificate, "/expirationTime"));
    let valid = is_valid(from, to, now);
    let validity = if valid { Style::Plain } else { Style::Bad };
    let cell = |text: &str| (Style::Plain, text.to_owned());
    vec![
        cell(text(entry, "/identity")),
        cell(kind),
        status(entry),
        (validity, valid.to_string()),
        cell(&hexadecimal(text(certificate, "/serialNumber"))),
        cell(to),
        cell(from),
    ]
}

/// An identity without a certificate.
fn absent(entry: &Value) -> Vec<(Style, String)> {
    let cell = |text: &str| (Style::Plain, text.to_owned());
    vec![
        cell(text(entry, "/identity")),
        cell("NA"),
        status(entry),
        (Style::Bad, "false".to_owned()),
        cell("NA"),
        cell("NA"),
        cell("NA"),
    ]
}

/// The state's first word: why something is not available is told by the whole dump.
fn status(entry: &Value) -> (Style, String) {
    let state = text(entry, "/state");
    if state.starts_with("Unavailable") {
        (Style::Bad, "Unavailable".to_owned())
    } else {
        (Style::Plain, state.to_owned())
    }
}

fn is_valid(from: &str, to: &str, now: i64) -> bool {
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp);
    matches!((at(from), at(to)), (Ok(from), Ok(to)) if from <= now && now < to)
}

/// A decimal number of any length, as openssl prints serial numbers; what is no number stays as it is.
pub(super) fn hexadecimal(decimal: &str) -> String {
    // Digits to base 16, the lowest first.
    let mut digits: Vec<u32> = vec![0];
    for character in decimal.chars() {
        let Some(mut carry) = character.to_digit(10) else {
            return decimal.to_owned();
        };
        for digit in &mut digits {
            let value = digit.saturating_mul(10).saturating_add(carry);
            *digit = value % 16;
            carry = value / 16;
        }
        while carry > 0 {
            digits.push(carry % 16);
            carry /= 16;
        }
    }
    digits.iter().rev().filter_map(|digit| char::from_digit(*digit, 16)).collect()
}
