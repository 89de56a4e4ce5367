//! Gives the node back: the network configuration as it was, and of the plugin only what running sandboxes still need.

use std::io;
use std::path::PathBuf;

use cni_plugin_wire::attachments;

use super::Site;
use super::decide::OURS;
use super::leave::{Heir, leave};
use super::node::{self, ConfDir, NodeError, Step};
use crate::redirect::chain;

/// What counts on the node outside the directories of plugins and their configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Without it the plugin lets every pod start that finds no agent.
    pub selected_namespaces_file: PathBuf,
    /// Where the runtime keeps what it will end.
    pub cni_cache: PathBuf,
}

/// What stays of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stub {
    /// No sandbox needs it.
    Removed,
    /// Runtimes end these with the chain that they began with, and fail where a plugin of it is missing. Without a file of
    /// selected namespaces and an agent it does nothing: DEL succeeds, and a pod started with a chain from before starts.
    /// The next install takes it over; an uninstall that is called again takes it away once nobody needs it.
    Kept { attachments: Option<usize> },
}

/// The steps that restore the configuration. Each leaves a node on which pods start.
///
/// # Errors
/// The directory cannot be read.
pub fn steps(site: &Site, heir: Heir) -> Result<Vec<Step>, NodeError> {
    let dir = ConfDir(site.conf_dir.clone());
    let seen = dir.look()?;
    let journal = dir.journal()?;
    let mut steps: Vec<_> =
        leave(&seen, &site.settings, &journal, heir).into_iter().map(Step::Change).collect();
    if site.conf_dir.is_dir() {
        steps.push(Step::Forget);
    }
    Ok(steps)
}

/// Restores the configuration and takes away what nobody needs. May be done again, also after half of it. Blocking.
///
/// # Errors
/// Everything that failed; the rest is done.
pub fn give_back(site: &Site, traces: &Traces, heir: Heir) -> Result<Stub, Vec<NodeError>> {
    let mut errors = Vec::new();
    // First of all nobody may be told to wait for an agent that does not come back.
    if heir == Heir::Nobody {
        errors.extend(node::remove(&traces.selected_namespaces_file).err());
    }
    let dir = ConfDir(site.conf_dir.clone());
    let restored = steps(site, heir).and_then(|steps| steps.iter().try_for_each(|step| dir.carry_out(step)));
    let is_restored = restored.is_ok();
    errors.extend(restored.err());
    errors.extend(site.binaries.sweep().err());
    let stub = if is_restored { needed(traces) } else { Stub::Kept { attachments: None } };
    if stub == Stub::Removed {
        errors.extend(site.binaries.remove().err());
    }
    if errors.is_empty() { Ok(stub) } else { Err(errors) }
}

fn needed(traces: &Traces) -> Stub {
    match attachments::with_plugin(&traces.cni_cache, OURS) {
        Ok(0) => Stub::Removed,
        Ok(attachments) => Stub::Kept { attachments: Some(attachments) },
        Err(error) => {
            if error.source.kind() != io::ErrorKind::NotFound {
                let error = chain(&error);
                tracing::warn!(error, "it cannot be told which sandboxes need the plugin");
            }
            Stub::Kept { attachments: None }
        }
    }
}

#[cfg(test)]
mod tests;
