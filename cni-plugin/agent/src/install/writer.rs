//! Names who else writes the node's network configuration, from the traces in it: the kernel's notices name nobody.

use std::fmt;

use super::decide::{Fault, OURS, Seen, Standing, THEIRS};
use super::document::Document;

/// Another program that writes here, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    /// The file that was written, or taken away.
    pub(super) file: String,
    /// The plugins that stand in it now.
    pub(super) plugins: Vec<String>,
    /// The name that the file has been given.
    pub(super) moved_to: Option<String>,
    pub(super) owner: Option<(u32, u32)>,
    known: Option<&'static Known>,
}

/// A program that is known to do so.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    /// Part of a plugin's type, or of a file's name.
    trace: &'static str,
    name: &'static str,
    advice: &'static str,
}

/// Who made `standing` what it is.
pub(super) fn writer(standing: &Standing, seen: &Seen) -> Option<Writer> {
    let Standing::Wrong(fault) = standing else { return None };
    let file = match fault {
        Fault::NotInChain { file }
        | Fault::Outdated { file }
        | Fault::CopyDiffers { file, primary: _ }
        | Fault::LeftOver { file }
        | Fault::Preempted { by: file, file: _ }
        | Fault::CannotComeFirst { by: file } => file.clone(),
    };
    let found = seen.files.get(&file);
    let document = found.and_then(|found| Document::read(&file, found.content.bytes()).ok());
    let plugins: Vec<_> =
        document.iter().flat_map(Document::kinds).filter(|kind| *kind != OURS).map(str::to_owned).collect();
    let moved_to = seen.others.iter().find(|name| found.is_none() && name.starts_with(&file)).cloned();
    // Who takes files away leaves its trace in what it did to them, or in its own file.
    let traces = plugins.iter().chain(&moved_to).chain([&file]).chain(seen.files.keys());
    let known = traces.filter_map(|trace| KNOWN.iter().find(|known| trace.contains(known.trace))).next();
    Some(Writer { file, plugins, moved_to, owner: found.and_then(|found| found.owner), known })
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known {
            Some(known) => f.write_str(known.name)?,
            None => f.write_str("a program that left no name")?,
        }
        write!(f, " ({}", self.file)?;
        if !self.plugins.is_empty() {
            write!(f, " with plugins {}", self.plugins.join(", "))?;
        }
        if let Some(name) = &self.moved_to {
            write!(f, " moved to {name}")?;
        }
        if let Some((user, group)) = self.owner {
            write!(f, ", owner {user}:{group}")?;
        }
        f.write_str(")")
    }
}

impl Writer {
    /// What a person can do about it.
    pub(super) fn advice(&self) -> &'static str {
        self.known.map_or(OWN_FILE, |known| known.advice)
    }
}

const OWN_FILE: &str = "let the mesh have a file of its own (istioOwnedCNIConfig: true)";
const KNOWN: [Known; 10] = [
    known("cilium", "Cilium", "set its value cni.exclusive=false"),
    known(THEIRS, "another istio-cni agent", "let only one of the two run on this node"),
    known("kindnet", "kindnetd", OWN_FILE),
    known("calico", "Calico", OWN_FILE),
    known("flannel", "Flannel", OWN_FILE),
    known("aws", "the AWS VPC CNI", OWN_FILE),
    known("azure", "the Azure CNI", OWN_FILE),
    known("antrea", "Antrea", OWN_FILE),
    known("ovn", "OVN-Kubernetes", OWN_FILE),
    known("multus", "Multus", "let it call the plugin by name (chained: false, provider: multus)"),
];

const fn known(trace: &'static str, name: &'static str, advice: &'static str) -> Known {
    Known { trace, name, advice }
}

#[cfg(test)]
mod tests;
