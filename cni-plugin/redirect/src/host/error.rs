//! Why the host's probe rules are not as they should be.

use std::io;
use std::path::PathBuf;

use crate::error::{RedirectError, Trial};

/// One failed step.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A program or the way into the namespace failed.
    #[error(transparent)]
    Step(#[from] RedirectError),
    /// The host's network namespace cannot be opened.
    #[error("open the host's network namespace {path}")]
    Netns {
        /// Where it is shown.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// What a program printed cannot be read.
    #[error("read what {program} printed: {text:?} is no element of a set of addresses with ports")]
    Unreadable {
        /// Who printed it.
        program: &'static str,
        /// The part that is not understood.
        text: String,
    },
    /// Nothing on this node can load the rules.
    #[error(
        "nothing on this node can load the rules that let the kubelet's probes past the proxy: install the package \
         nftables (1.0.1 or newer), or ipset beside iptables; tried {}",
        list(tried)
    )]
    NoBackend {
        /// What was tried and what came of it.
        tried: Vec<Trial>,
    },
}

fn list(tried: &[Trial]) -> String {
    tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
