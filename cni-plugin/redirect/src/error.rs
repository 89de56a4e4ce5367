//! Why a pod's traffic could not be redirected, or not be inspected, or not be released.

use std::{fmt, io};

use crate::rule::Family;

/// One failed step.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// The namespace is the one this process lives in: rules there would capture the node or the agent itself.
    #[error("refuse to redirect the network namespace this process runs in")]
    OwnNamespace,
    /// The descriptor cannot be examined.
    #[error("examine the network namespace")]
    Examine(#[source] io::Error),
    /// No thread could be started to enter the namespace.
    #[error("start a thread to enter the network namespace")]
    Thread(#[source] io::Error),
    /// The descriptor is no network namespace, or this process may not enter it (`CAP_SYS_ADMIN`).
    #[error("enter the network namespace")]
    Enter(#[source] io::Error),
    /// Something else has been changing the namespace's rules for too long.
    #[error(
        "change the rules of the network namespace: something else has been changing them for ten seconds"
    )]
    Busy,
    /// The work inside the namespace panicked.
    #[error("the work inside the network namespace panicked")]
    Panicked,
    /// No netlink socket could be opened inside the namespace.
    #[error("open a netlink socket")]
    Netlink(#[source] io::Error),
    /// The kernel refused a change to policy rules or routes, or a question about them.
    #[error("{attempt} ({family})")]
    Routing {
        /// What was tried.
        attempt: &'static str,
        /// IP version.
        family: Family,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
    /// The namespace has no loopback interface.
    #[error("find the loopback interface lo: the network namespace has none")]
    NoLoopback,
    /// A program could not be run.
    #[error("run {program}")]
    Spawn {
        /// Its path.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{program} failed ({status}): {stderr}")]
    Command {
        /// Its path.
        program: String,
        /// How it ended.
        status: String,
        /// What it complained about.
        stderr: String,
    },
    /// The kernel would not tell or change what nf_tables holds.
    #[error("{attempt} of nf_tables")]
    Netfilter {
        /// What was tried.
        attempt: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Nothing on this node can load the rules.
    #[error(
        "nothing on this node can load the redirection rules: install nftables (0.9.3 or newer) or iptables (1.8 or \
         newer), and see that the kernel (5.4 or newer) has connection tracking, nat and marks; tried {}",
        list(tried)
    )]
    NoBackend {
        /// What was tried and what came of it.
        tried: Vec<Trial>,
    },
}

/// A program that was tried, and why it will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The program.
    pub program: String,
    /// What went wrong.
    pub why: String,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program, self.why)
    }
}

fn list(tried: &[Trial]) -> String {
    tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
