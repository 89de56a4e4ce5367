//! The node's CNI directories, as the runtime and the agent would read them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::install::Site;
use crate::install::decide::{Standing, decide};
use crate::install::document::Document;
use crate::install::node::ConfDir;
use crate::redirect::chain;

/// The directory of network configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cni {
    /// As this process sees it.
    pub dir: String,
    pub exists: bool,
    /// Every file, also those that no runtime reads.
    pub files: Vec<String>,
    /// The file whose chain the plugin would join.
    pub primary: Option<String>,
    /// The types of the plugins in it.
    pub plugins: Vec<String>,
    /// Files that a runtime passes over.
    pub passed_over: Vec<Passed>,
    /// Why the plugin could not be put in place, as things are.
    pub trouble: Option<String>,
}

/// A file that a runtime does not load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passed {
    pub file: String,
    pub why: String,
}

impl Cni {
    pub(super) fn look(site: &Site) -> Self {
        let dir = site.conf_dir.display().to_string();
        let exists = site.conf_dir.is_dir();
        let seen = match ConfDir(site.conf_dir.clone()).look() {
            Ok(seen) => seen,
            Err(error) => return Self { dir, exists, trouble: Some(chain(&error)), ..Self::default() },
        };
        let plan = decide(&seen, &site.settings, None);
        let files: BTreeSet<&String> = seen.files.keys().chain(&seen.others).collect();
        let primary = plan.primary.as_ref().and_then(|name| Some((name, seen.files.get(name)?)));
        let chained = primary.and_then(|(name, file)| Document::read(name, file.content.bytes()).ok());
        let plugins = chained.iter().flat_map(Document::kinds).map(str::to_owned).collect();
        Self {
            dir,
            exists,
            files: files.into_iter().cloned().collect(),
            plugins,
            passed_over: plan
                .skipped
                .iter()
                .map(|(file, why)| Passed { file: file.clone(), why: why.to_string() })
                .collect(),
            trouble: match &plan.standing {
                Standing::Waiting(wait) => Some(wait.to_string()),
                // What is wrong is what an installation puts right.
                Standing::InOrder | Standing::Wrong(_) => None,
            },
            primary: plan.primary,
        }
    }
}

/// A directory of plugins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binaries {
    /// As this process sees it.
    pub dir: String,
    pub exists: bool,
    /// The programs in it.
    pub programs: Vec<String>,
}

impl Binaries {
    pub(super) fn look(dir: &Path) -> Self {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut programs: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        programs.sort();
        Self { dir: dir.display().to_string(), exists: dir.is_dir(), programs }
    }
}
