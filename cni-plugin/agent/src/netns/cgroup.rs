//! Reads which pod and container a process belongs to from its cgroup paths.

/// A container and the pod it is part of, as cgroup paths name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    /// The pod's UID, its groups separated by dashes where the path separates them at all.
    pub(super) pod: String,
    pub(super) id: String,
}

/// The container of a process whose `/proc/<pid>/cgroup` reads `text`; `None` when no line names one, or when two
/// lines disagree.
pub(super) fn container(text: &str) -> Option<Container> {
    let mut agreed: Option<Container> = None;
    for line in text.lines() {
        let path = line.splitn(3, ':').nth(2)?;
        let Some(here) = of_path(path) else { continue };
        match &agreed {
            None => agreed = Some(here),
            Some(before) if *before == here => {}
            Some(_) => return None,
        }
    }
    agreed
}

/// Such as `/kubepods/burstable/pod<uid>/<id>` or `/kubepods-pod<uid>.slice/cri-containerd-<id>.scope`.
fn of_path(path: &str) -> Option<Container> {
    let path = path.strip_suffix(".scope").unwrap_or(path);
    path.match_indices("pod").find_map(|(at, word)| {
        let before = path.get(..at)?;
        if !before.chars().next_back().is_some_and(|letter| letter.is_ascii_punctuation()) {
            return None;
        }
        let (pod, rest) = uid(path.get(at + word.len()..)?)?;
        let rest = rest.strip_prefix(|letter: char| letter.is_ascii_punctuation())?;
        let mut last = "";
        for part in rest.split(|letter: char| letter.is_ascii_punctuation()) {
            if part.is_empty() {
                return None;
            }
            last = part;
        }
        Some(Container { pod, id: last.to_owned() })
    })
}

/// Takes a UID off the front: groups of 8, 4, 4, 4 and 12 hexadecimal digits, perhaps separated. A static pod's
/// has no separators and keeps none, for its UID has none either.
fn uid(text: &str) -> Option<(String, &str)> {
    let mut canonical = String::new();
    let mut rest = text;
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        let separated = rest.strip_prefix(|letter: char| letter.is_ascii_punctuation());
        if let Some(after) = separated.filter(|_| index > 0) {
            canonical.push('-');
            rest = after;
        }
        let (group, after) = rest.split_at_checked(length)?;
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        canonical.push_str(group);
        rest = after;
    }
    Some((canonical, rest))
}

#[cfg(test)]
mod tests;
