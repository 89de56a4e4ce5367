//! How a text is written in YAML: plain, in single or double quotes, or as a block of lines.

/// A key of a map; it stays on its line.
pub(super) fn key(text: &str) -> String {
    if text.contains('\n') || text.chars().count() > 128 {
        return double_quoted(text, 0, None);
    }
    match style(text) {
        Style::Plain => text.to_owned(),
        Style::Single => format!("'{}'", text.replace('\'', "''")),
        Style::Double | Style::Block => double_quoted(text, 0, None),
    }
}

/// A text that begins at `column`, whose further lines stand `indent` deep.
pub(super) fn text(text: &str, indent: usize, column: usize) -> String {
    match style(text) {
        Style::Plain => folded(text, indent, column),
        Style::Single => {
            let folded = folded(&text.replace('\'', "''"), indent, column + 1);
            format!("'{folded}'")
        }
        Style::Double => double_quoted(text, indent, Some(column)),
        Style::Block => block(text, indent),
    }
}

enum Style {
    Plain,
    Single,
    Double,
    Block,
}

fn style(text: &str) -> Style {
    let special = text.chars().any(|c| !printable(c));
    let breaks = text.contains('\n');
    let ends_in_space = text.ends_with(' ');
    if special || text.contains(" \n") || (breaks && ends_in_space) {
        return Style::Double;
    }
    if breaks {
        return Style::Block;
    }
    if !reads_as_text(text) {
        return Style::Double;
    }
    // Breaks that only Unicode knows.
    let breaks = text.contains(['\u{2028}', '\u{2029}']);
    if breaks || text.starts_with(' ') || ends_in_space || has_indicator(text) {
        return Style::Single;
    }
    Style::Plain
}

/// What can stand in YAML without an escape.
fn printable(c: char) -> bool {
    c == '\n' || (' '..='~').contains(&c) || (c >= '\u{a0}' && c != '\u{feff}')
}

/// Whether a plain text would be taken for a mark of YAML's.
fn has_indicator(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let mut before = None;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let space_follows = letters.peek().is_none_or(|next| *next == ' ');
        let marks = match before {
            None => match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`' => true,
                '?' | ':' | '-' => space_follows,
                _ => false,
            },
            Some(before) => match c {
                ':' => space_follows,
                '#' => before == ' ',
                _ => false,
            },
        };
        if marks {
            return true;
        }
        before = Some(c);
    }
    false
}

/// Whether a plain text would come back as text, and not as nothing, a truth value, a number or a date.
fn reads_as_text(text: &str) -> bool {
    const WORDS: [&str; 30] = [
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "true",
        "True", "TRUE", "false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", ".nan", ".NaN",
        ".NAN",
    ];
    !(WORDS.contains(&text) || is_number(text) || is_base_60(text) || is_date(text))
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) {
        return true;
    }
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0o", 8), ("0O", 8), ("0B", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        }
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    is_decimal(digits)
}

fn is_decimal(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let exponent_holds = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit())
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    exponent_holds && all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// `1:20`, which old YAML takes for minutes.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (text, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && !rest.is_empty()
        && rest.iter().all(|part| {
            !part.is_empty() && part.len() <= 2 && part.parse::<u8>().is_ok_and(|number| number < 60)
        })
}

/// A date, with or without a time of day.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digits = |part: &str, lengths: [usize; 2]| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    let day: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let time = rest.get(day.len()..).unwrap_or_default();
    digits(year, [4, 4])
        && digits(month, [1, 2])
        && digits(&day, [1, 2])
        && (time.is_empty() || is_time(time))
}

/// What may stand after a date: a time of day and its zone.
fn is_time(text: &str) -> bool {
    text.starts_with(['T', 't', ' '])
        && text.contains(':')
        && text.ends_with(|c: char| c.is_ascii_digit() || c == 'Z')
        && text.chars().all(|c| c.is_ascii_digit() || "Tt :.+-Z".contains(c))
}

/// Breaks a long line at its next space.
fn folded(text: &str, indent: usize, mut column: usize) -> String {
    let mut out = String::new();
    let letters: Vec<char> = text.chars().collect();
    let mut in_spaces = false;
    for (at, &c) in letters.iter().enumerate() {
        let next_is_space = letters.get(at + 1).is_none_or(|next| *next == ' ');
        if c == ' ' && !in_spaces && column > WIDTH && at > 0 && !next_is_space {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(c);
            column += 1;
        }
        in_spaces = c == ' ';
    }
    out
}

fn double_quoted(text: &str, indent: usize, column: Option<usize>) -> String {
    let mut out = String::from('"');
    let letters: Vec<char> = text.chars().collect();
    let mut column = column.map(|column| column + 1);
    let mut in_spaces = false;
    for (at, &c) in letters.iter().enumerate() {
        let inside = at > 0 && at + 1 < letters.len();
        if c == ' ' && !in_spaces && inside && column.is_some_and(|column| column > WIDTH) {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = column.map(|_| indent);
            if letters.get(at + 1) == Some(&' ') {
                out.push('\\');
                column = column.map(|column| column + 1);
            }
            in_spaces = true;
            continue;
        }
        let written = escaped(c);
        column = column.map(|column| column + written.chars().count());
        out.push_str(&written);
        in_spaces = c == ' ';
    }
    out.push('"');
    out
}

fn escaped(c: char) -> String {
    match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\0' => "\\0".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{1b}' => "\\e".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{feff}' => "\\uFEFF".to_owned(),
        c if printable(c) => c.to_string(),
        c if u32::from(c) <= 0xff => format!("\\x{:02X}", u32::from(c)),
        c => format!("\\u{:04X}", u32::from(c)),
    }
}

/// Lines as they are, with the marks that keep the first one's indent and the last one's breaks.
fn block(text: &str, indent: usize) -> String {
    let mut out = String::from('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let ending = if !text.ends_with('\n') {
        "-"
    } else if text.ends_with("\n\n") || text == "\n" {
        "+"
    } else {
        ""
    };
    out.push_str(ending);
    out.push('\n');
    let body = text.strip_suffix('\n').unwrap_or(text);
    for (number, line) in body.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
    if ending == "+" {
        out.push('\n');
    }
    out
}

/// Where the library begins to look for a space to break at.
const WIDTH: usize = 80;
