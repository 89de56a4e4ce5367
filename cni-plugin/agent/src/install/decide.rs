//! Decides what the CNI directory should hold, from what it holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Document, LIST, Unusable};

/// What is in the directory, as far as runtimes look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub files: BTreeMap<String, File>,
    /// All other names, which tell who else works here.
    pub others: BTreeSet<String>,
}

/// A file as it is or should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    #[serde(flatten)]
    pub content: Content,
    pub mode: u32,
    /// User and group; a new file gets those of this process.
    pub owner: Option<(u32, u32)>,
}

/// Readable in the journal wherever it can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    Text(String),
    Bytes(Vec<u8>),
}

/// How the plugin gets into the node's network configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the last plugin of the chain that the node has already.
    Chained,
    /// In a copy of that chain, in a file of ours that runtimes load first.
    Owned,
    /// Alone in a file, for those that call plugins by name (Multus).
    Standalone,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub mode: Mode,
    /// The file that the user named. What we find ourselves is never written here: a file that later comes before it
    /// would go unnoticed.
    pub conf_name: Option<String>,
    pub owned_name: String,
    /// The mode of files that are ours.
    pub file_mode: u32,
    /// Our plugin as JSON on one line.
    pub entry: String,
    /// The same for [`Mode::Standalone`], where nobody else says name and version.
    pub alone: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The file whose chain is ours too.
    pub primary: Option<String>,
    pub standing: Standing,
    pub changes: Vec<Change>,
    /// Files that runtimes pass over, and why.
    pub skipped: Vec<(String, Unusable)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    InOrder,
    Wrong(Fault),
    Waiting(Wait),
}

/// What is wrong; all but the last are repaired by the plan's changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{file} is without our plugin")]
    NotInChain { file: String },
    #[error("{file} has our plugin with other settings")]
    Outdated { file: String },
    #[error("{file} does not say what {primary} says")]
    CopyDiffers { file: String, primary: String },
    #[error("{by} is now loaded before {file}, which has our plugin")]
    Preempted { by: String, file: String },
    #[error("{file} is left over and would be loaded")]
    LeftOver { file: String },
    #[error("no name of ours comes before {by}: rename it, or choose chained mode")]
    CannotComeFirst { by: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    #[error("no network configuration is there yet that a runtime would load")]
    Primary,
    #[error("{file} is not there yet, and CNI_CONF_NAME names it")]
    Named { file: String },
    #[error("{file} cannot be read at the moment: {why}")]
    Unusable { file: String, why: Unusable },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    /// `None` takes the file away.
    pub to: Option<File>,
}

/// What should be done. `before` is the primary of the last time.
#[must_use]
pub fn decide(seen: &Seen, settings: &Settings, before: Option<&str>) -> Plan {
    let mut documents = BTreeMap::new();
    let mut skipped = Vec::new();
    for (name, file) in &seen.files {
        match Document::read(name, file.content.bytes()) {
            Ok(document) => drop(documents.insert(name.as_str(), document)),
            Err(why) => skipped.push((name.clone(), why)),
        }
    }
    let view = View { seen, settings, documents, before };
    let (primary, standing, changes) = match view.unusable(&skipped) {
        Some(wait) if settings.mode != Mode::Standalone => {
            (before.map(str::to_owned), Standing::Waiting(wait), Vec::new())
        }
        _ => match settings.mode {
            Mode::Chained => view.chained(),
            Mode::Owned => view.owned(),
            Mode::Standalone => view.standalone(),
        },
    };
    Plan { primary, standing, changes, skipped }
}

type Decided = (Option<String>, Standing, Vec<Change>);

struct View<'a> {
    seen: &'a Seen,
    settings: &'a Settings,
    documents: BTreeMap<&'a str, Document>,
    before: Option<&'a str>,
}

impl View<'_> {
    /// A file that is being written is not a reason to go to the next one.
    fn unusable(&self, skipped: &[(String, Unusable)]) -> Option<Wait> {
        let (file, why) = skipped.iter().find(|(name, _)| Some(name.as_str()) == self.before)?.clone();
        Some(Wait::Unusable { file, why })
    }

    fn chained(&self) -> Decided {
        let stale = self.settings.owned_names().into_iter().filter(|name| self.is_ours(name));
        let stale: Vec<_> = stale.collect();
        let (name, document) = match self.primary(&stale).or_else(|wait| self.primary(&[]).map_err(|_| wait))
        {
            Ok(found) => found,
            Err(wait) => return (None, Standing::Waiting(wait), Vec::new()),
        };
        let target = list_name(name);
        let mut changes = Vec::new();
        let fault = self.fault(name, document);
        if fault.is_some() {
            changes.extend(self.with_ours(document).map(|text| self.edited(name, &target, text)));
        }
        if name != target {
            changes.push(Change { name: name.to_owned(), to: None });
        }
        let left: Vec<_> = stale.into_iter().filter(|stale| stale != name).collect();
        changes.extend(left.iter().map(|name| Change { name: name.clone(), to: None }));
        let left = left.into_iter().next().map(|file| Fault::LeftOver { file });
        let standing = fault.or(left).map_or(Standing::InOrder, Standing::Wrong);
        (Some(target), standing, changes)
    }

    /// What is wrong with the chain in `name`.
    fn fault(&self, name: &str, document: &Document) -> Option<Fault> {
        let has_ours = document.has(OURS) && !document.has(THEIRS) && name.ends_with(LIST);
        if !has_ours {
            let before = self.before.filter(|before| *before != name && *before != list_name(name));
            let preempted = before.filter(|before| self.documents.get(before).is_some_and(|d| d.has(OURS)));
            return Some(match preempted {
                Some(file) => Fault::Preempted { by: name.to_owned(), file: file.to_owned() },
                None => Fault::NotInChain { file: name.to_owned() },
            });
        }
        let is_once = document.kinds().iter().filter(|kind| **kind == OURS).count() == 1;
        (!is_once || !self.is_current(document)).then(|| Fault::Outdated { file: name.to_owned() })
    }

    fn owned(&self) -> Decided {
        let names = self.settings.owned_names();
        let (primary, document) = match self.primary(&names) {
            Ok(found) => found,
            Err(wait) => return self.owned_alone(&names, wait),
        };
        let first = self.documents.keys().copied().find(|name| !names.iter().any(|own| own == name));
        let mut free = names.iter().filter(|name| first.is_none_or(|first| name.as_str() < first));
        let Some(name) = free.next() else {
            let fault = Fault::CannotComeFirst { by: first.unwrap_or_default().to_owned() };
            return (Some(primary.to_owned()), Standing::Wrong(fault), Vec::new());
        };
        let mut changes = Vec::new();
        let mut faults = Vec::new();
        if let Some(text) = self.with_ours(document)
            && self.seen.files.get(name).is_none_or(|file| file.content.bytes() != text.as_bytes())
        {
            faults.push(Fault::CopyDiffers { file: name.clone(), primary: primary.to_owned() });
            changes.push(Change { name: name.clone(), to: Some(self.new_file(text)) });
        }
        for left in names.iter().filter(|left| *left != name && self.is_ours(left)) {
            faults.push(Fault::LeftOver { file: left.clone() });
            changes.push(Change { name: left.clone(), to: None });
        }
        if document.has(OURS)
            && let Some(text) = document.without(&[OURS])
        {
            faults.push(Fault::LeftOver { file: primary.to_owned() });
            changes.push(self.edited(primary, primary, text));
        }
        let standing = faults.into_iter().next().map_or(Standing::InOrder, Standing::Wrong);
        (Some(primary.to_owned()), standing, changes)
    }

    /// The chain we copied has gone, as it does over a reboot: the copy keeps pods from starting without us.
    fn owned_alone(&self, names: &[String], wait: Wait) -> Decided {
        let found = names.iter().find_map(|name| Some((name, self.documents.get(name.as_str())?)));
        let Some((name, document)) = found.filter(|(_, document)| document.has(OURS)) else {
            return (None, Standing::Waiting(wait), Vec::new());
        };
        match self.with_ours(document).filter(|_| !self.is_current(document)) {
            None => (None, Standing::InOrder, Vec::new()),
            Some(text) => {
                let fault = Fault::Outdated { file: name.clone() };
                (None, Standing::Wrong(fault), vec![self.edited(name, name, text)])
            }
        }
    }

    fn standalone(&self) -> Decided {
        let name = self.settings.conf_name.clone().unwrap_or_else(|| STANDALONE_NAME.to_owned());
        let file = self.seen.files.get(&name);
        if file.is_some_and(|file| file.content.bytes() == self.settings.alone.as_bytes()) {
            return (Some(name), Standing::InOrder, Vec::new());
        }
        let to = Some(self.new_file(self.settings.alone.clone()));
        let change = Change { name: name.clone(), to };
        (Some(name.clone()), Standing::Wrong(Fault::NotInChain { file: name }), vec![change])
    }

    /// The file that runtimes load, or that the user named, without `except`.
    fn primary(&self, except: &[String]) -> Result<(&str, &Document), Wait> {
        let usable = |(name, document): &(&&str, &Document)| {
            let only_ours = document.kinds().iter().all(|kind| [OURS, THEIRS].contains(kind));
            !only_ours && !except.iter().any(|other| other == *name)
        };
        let mut candidates = self.documents.iter().filter(usable).map(|(name, document)| (*name, document));
        let Some(named) = &self.settings.conf_name else {
            return candidates.next().ok_or(Wait::Primary);
        };
        let twin = twin(named);
        let found: Vec<_> = candidates.collect();
        let find = |wanted: &str| found.iter().find(|(name, _)| *name == wanted).copied();
        find(named).or_else(|| find(&twin?)).ok_or_else(|| Wait::Named { file: named.clone() })
    }

    /// The chain of `document` with our plugin, and without an earlier one of ours or theirs.
    fn with_ours(&self, document: &Document) -> Option<String> {
        let text = document.clone().into_list().without(&[OURS, THEIRS])?;
        Document::read(LIST, text.as_bytes()).ok()?.with(&self.settings.entry)
    }

    fn is_current(&self, document: &Document) -> bool {
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        document.entry(OURS).and_then(value) == value(&self.settings.entry)
    }

    fn is_ours(&self, name: &str) -> bool {
        self.documents.get(name).is_some_and(|document| document.has(OURS) || document.has(THEIRS))
    }

    /// `target` with the mode and owner of `name`.
    fn edited(&self, name: &str, target: &str, text: String) -> Change {
        let new = self.new_file(text);
        let to = match self.seen.files.get(name) {
            Some(like) => File { content: new.content, ..like.clone() },
            None => new,
        };
        Change { name: target.to_owned(), to: Some(to) }
    }

    fn new_file(&self, text: String) -> File {
        File { content: Content::Text(text), mode: self.settings.file_mode, owner: None }
    }
}

impl Settings {
    /// The name in [`Mode::Owned`], and the one to take when another file comes before it.
    #[must_use]
    pub fn owned_names(&self) -> Vec<String> {
        vec![self.owned_name.clone(), format!("{FIRST}{}", self.owned_name)]
    }
}

impl Content {
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Runtimes call a file with one plugin otherwise than one with a chain.
pub(super) fn list_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, "conf" | "json")) => format!("{stem}{LIST}"),
        _ => name.to_owned(),
    }
}

fn twin(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    match extension {
        "conf" => Some(format!("{stem}{LIST}")),
        "conflist" => Some(format!("{stem}.conf")),
        _ => None,
    }
}

/// Type of our plugin, and name of its binary.
pub const OURS: &str = "adit-cni";
/// Type of the plugin whose place we take.
pub const THEIRS: &str = "istio-cni";
/// Multus finds a plugin by file names and by the name within; both are those of Istio's chart.
pub const STANDALONE_NAME: &str = "YYY-istio-cni.conf";
/// Sorts before every name that starts with a letter or a digit.
const FIRST: &str = "0+";

#[cfg(test)]
mod tests;
