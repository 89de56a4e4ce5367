//! Decides how the CNI directory becomes again what it was, and keeps in the journal what that needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decide::{Change, Content, File, OURS, Plan, Seen, Settings, THEIRS, list_name};
use super::document::Document;

/// What the directory held before our last edit of each file. It lies beside the files, since nothing else that the agent
/// can write outlives a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    /// `None`: there was no such file.
    originals: BTreeMap<String, Option<File>>,
    /// The plugin whose place we took.
    istio_cni: Option<String>,
}

/// To whom the node is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    Nobody,
    /// istio-cni comes back: its entries do so too, so that pods wait for it and none starts outside the mesh.
    IstioCni,
}

impl Journal {
    /// This journal with what `plan` is about to change.
    #[must_use]
    pub fn with(&self, plan: &Plan, seen: &Seen) -> Self {
        let mut journal = Self { version: VERSION, ..self.clone() };
        for change in &plan.changes {
            let Some(file) = seen.files.get(&change.name) else {
                journal.originals.entry(change.name.clone()).or_insert(None);
                continue;
            };
            let document = read(&change.name, file);
            if let Some(entry) = document.as_ref().and_then(|document| document.entry(THEIRS)) {
                journal.istio_cni = Some(entry.to_owned());
            }
            if !document.is_some_and(|document| document.has(OURS)) {
                journal.originals.insert(change.name.clone(), Some(file.clone()));
            }
        }
        journal
    }

    /// Reads what [`Journal::text`] wrote; `None` when it is of another version or damaged.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|journal: &Self| journal.version == VERSION)
    }

    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// The changes that take everything of ours away and bring back what was there.
#[must_use]
pub fn leave(seen: &Seen, settings: &Settings, journal: &Journal, heir: Heir) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, file) in &seen.files {
        match read(name, file) {
            Some(document) if document.has(OURS) => {
                changes.extend(restore(seen, settings, journal, heir, (name, file, &document)));
            }
            _ => {}
        }
    }
    if heir == Heir::IstioCni {
        let gone = journal.originals.iter().filter(|(name, _)| !seen.files.contains_key(*name));
        let theirs = gone.filter_map(|(name, file)| Some((name, file.as_ref()?)));
        let theirs = theirs.filter(|(name, file)| read(name, file).is_some_and(|d| d.has(THEIRS)));
        changes.extend(theirs.map(|(name, file)| Change { name: name.clone(), to: Some(file.clone()) }));
    }
    changes
}

fn restore(
    seen: &Seen,
    settings: &Settings,
    journal: &Journal,
    heir: Heir,
    (name, file, document): (&str, &File, &Document),
) -> Vec<Change> {
    let to = |to: Option<File>| Change { name: name.to_owned(), to };
    let original = journal.originals.get(name);
    if is_ours_alone(settings, name, document) {
        let theirs = |file: &&File| read(name, file).is_some_and(|document| document.has(THEIRS));
        let original = original.and_then(Option::as_ref);
        return vec![to(original.filter(|file| heir == Heir::IstioCni || !theirs(file)).cloned())];
    }
    if original == Some(&None)
        && let Some(changes) = unconvert(seen, journal, name, document)
    {
        return changes;
    }
    let original = original.and_then(Option::as_ref);
    let same = original
        .filter(|file| read(name, file).is_some_and(|original| foreign(&original) == foreign(document)));
    let (text, like) = match (same, heir) {
        (Some(file), Heir::IstioCni) => return vec![to(Some(file.clone()))],
        (Some(file), Heir::Nobody) => (read(name, file).and_then(|original| foreign(&original)), file),
        (None, Heir::Nobody) => (foreign(document), file),
        (None, Heir::IstioCni) => (with_theirs(document, journal), file),
    };
    vec![to(text.map(|text| File { content: Content::Text(text), ..like.clone() }))]
}

/// A single plugin that we made a chain of becomes one again, unless somebody has edited the chain.
fn unconvert(seen: &Seen, journal: &Journal, name: &str, document: &Document) -> Option<Vec<Change>> {
    let sources = journal.originals.iter().filter(|(source, _)| *source != name && list_name(source) == name);
    let (source, file) = sources.filter_map(|(source, file)| Some((source, file.as_ref()?))).next()?;
    let gone = Change { name: name.to_owned(), to: None };
    if seen.files.contains_key(source) {
        return Some(vec![gone]);
    }
    let made = read(source, file)?.into_list();
    let is_as_made = foreign(&made) == foreign(document);
    is_as_made.then(|| vec![Change { name: source.clone(), to: Some(file.clone()) }, gone])
}

/// A file in which nobody else has a word.
fn is_ours_alone(settings: &Settings, name: &str, document: &Document) -> bool {
    settings.owned_names().iter().any(|own| own == name) || foreign(document).is_none()
}

/// The part of a chain that is neither ours nor theirs.
fn foreign(document: &Document) -> Option<String> {
    document.without(&[OURS, THEIRS])
}

fn with_theirs(document: &Document, journal: &Journal) -> Option<String> {
    let text = foreign(document)?;
    let Some(theirs) = &journal.istio_cni else { return Some(text) };
    Document::read(".conflist", text.as_bytes()).ok()?.with(theirs)
}

fn read(name: &str, file: &File) -> Option<Document> {
    Document::read(name, file.content.bytes()).ok()
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
