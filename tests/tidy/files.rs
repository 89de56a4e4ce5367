//! A file is a page or two, and its first line says what it is.

use super::{named, sources};

/// Production lines that a file may have.
const LINES: usize = 500;

#[test]
fn no_file_is_longer_than_a_reader_s_patience() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| (std::fs::read_to_string(&path).expect("a readable file").lines().count(), named(&path)))
        .filter(|(lines, _)| *lines > LINES)
        .collect();
    assert!(long.is_empty(), "files of more than {LINES} lines: {long:#?}");
}

#[test]
fn every_file_opens_with_what_it_does() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .filter(|path| !std::fs::read_to_string(path).expect("a readable file").starts_with("//! "))
        .map(|path| named(&path))
        .collect();
    assert!(silent.is_empty(), "files that do not open with `//! `: {silent:#?}");
}

#[test]
fn unit_tests_live_beside_the_code_in_their_own_file() {
    let inline: Vec<_> = sources()
        .into_iter()
        .filter(|path| !path.ends_with("tidy/files.rs"))
        .filter(|path| std::fs::read_to_string(path).expect("a readable file").contains("mod tests {"))
        .map(|path| named(&path))
        .collect();
    assert!(inline.is_empty(), "files with their tests inside: {inline:#?}");
}
