//! Why a call failed, and what the runtime is told: code, message, details.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use cni_plugin_wire::cache::CacheError;
use cni_plugin_wire::event::EventError;
use serde_json::{Value, json};

use crate::version;

/// A failed call. Codes below 100 are the CNI specification's.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// The configuration is of a version nobody here knows.
    #[error("cniVersion {got:?} is not supported; supported are {}", version::list())]
    VersionUnknown {
        /// The version.
        got: String,
    },
    /// The command is younger than the configuration's version.
    #[error("{command} needs cniVersion {needs} or newer, and the configuration has {got}")]
    VersionTooOld {
        /// The command.
        command: &'static str,
        /// The first version with that command.
        needs: &'static str,
        /// The configuration's version.
        got: &'static str,
    },
    /// Environment variables are missing.
    #[error("{command} needs the environment variables {}", missing.join(", "))]
    VariablesMissing {
        /// The command.
        command: &'static str,
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// An environment variable has a value that it cannot have.
    #[error("the environment variable {variable} cannot hold {value:?}")]
    VariableInvalid {
        /// Its name.
        variable: &'static str,
        /// What it holds, or the part of it that is wrong.
        value: String,
    },
    /// Stdin could not be read.
    #[error("read the network configuration from stdin")]
    Stdin(#[source] io::Error),
    /// Stdin is not the JSON of a network configuration.
    #[error("the network configuration on stdin cannot be decoded")]
    ConfigUndecodable(#[source] serde_json::Error),
    /// The previous result is none.
    #[error("prevResult cannot be decoded")]
    PrevResultUndecodable(#[source] serde_json::Error),
    /// The previous result has an address that is none.
    #[error("prevResult holds the address {address:?}, which is none")]
    PrevResultAddress {
        /// What stands there.
        address: String,
    },
    /// The configuration has no name.
    #[error("the network configuration lacks its name")]
    NameMissing,
    /// The configuration has a name that breaks the rules.
    #[error("the network configuration's name {name:?} is invalid: letters and digits, then also . _ -")]
    NameInvalid {
        /// The name.
        name: String,
    },
    /// The container's network namespace cannot be opened.
    #[error("open the network namespace {path}", path = path.display())]
    NetnsUnreadable {
        /// `CNI_NETNS`
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The container's network namespace is the plugin's or the host's.
    #[error("the network namespace {path} is that of the host; a pod on the host's network is never enrolled", path = path.display())]
    NetnsIsHost {
        /// `CNI_NETNS`
        path: PathBuf,
    },
    /// The agent gave no answer, and the pod belongs to the mesh.
    #[error(
        "pod {pod} belongs to the mesh and waits for the node agent, which gives no answer on {socket}: the pod starts \
         by itself once the agent's pod on this node is back", socket = socket.display()
    )]
    AgentAway {
        /// Where it should listen.
        socket: PathBuf,
        /// `namespace/name`
        pod: String,
        /// What was heard instead.
        #[source]
        source: EventError,
    },
    /// The agent gave no answer, and the file of selected namespaces cannot be used.
    #[error(
        "the node agent gives no answer on {socket}, and whether pod {pod} belongs to the mesh cannot be told: the pod \
         starts by itself once the agent's pod on this node is back", socket = socket.display()
    )]
    AgentAwayAndCacheUnusable {
        /// Where it should listen.
        socket: PathBuf,
        /// `namespace/name`
        pod: String,
        /// What is wrong with the file.
        #[source]
        source: CacheError,
    },
    /// The agent could not do it now.
    #[error("the node agent asks to try pod {pod} again later: {message}")]
    AgentBusy {
        /// `namespace/name`
        pod: String,
        /// The agent's words.
        message: String,
    },
    /// The agent will not do it.
    #[error("the node agent refuses pod {pod}: {message}")]
    AgentRefused {
        /// `namespace/name`
        pod: String,
        /// The agent's words.
        message: String,
    },
    /// The agent's answer does not fit the question.
    #[error("the node agent's answer does not fit the question: plugin and agent differ")]
    AgentConfused,
    /// STATUS: the agent gives no answer.
    #[error("the node agent gives no answer on {socket}", socket = socket.display())]
    NotAvailable {
        /// Where it should listen.
        socket: PathBuf,
        /// What was heard instead.
        #[source]
        source: EventError,
    },
    /// STATUS: the agent cannot serve an ADD.
    #[error("the node agent cannot serve pods: {message}")]
    NotReady {
        /// Its words.
        message: String,
    },
    /// STATUS: the agent decides, but traffic of captured pods goes nowhere.
    #[error("captured pods of this node reach nobody: {message}")]
    Limited {
        /// Its words.
        message: String,
    },
    /// A bug of ours.
    #[error("the plugin panicked; its stderr says where")]
    Panicked,
}

impl CniError {
    /// The specification's code; 999 for what it has no code for.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::VersionUnknown { .. } | Self::VersionTooOld { .. } => 1,
            Self::VariablesMissing { .. } | Self::VariableInvalid { .. } => 4,
            Self::Stdin(_) | Self::NetnsUnreadable { .. } => 5,
            Self::ConfigUndecodable(_) | Self::PrevResultUndecodable(_) | Self::PrevResultAddress { .. } => 6,
            Self::NameMissing | Self::NameInvalid { .. } => 7,
            Self::NetnsIsHost { .. } => 8,
            Self::AgentAway { .. } | Self::AgentAwayAndCacheUnusable { .. } | Self::AgentBusy { .. } => 11,
            Self::NotAvailable { .. } | Self::NotReady { .. } => 50,
            Self::Limited { .. } => 51,
            Self::AgentRefused { .. } | Self::AgentConfused | Self::Panicked => 999,
        }
    }

    /// The document for the runtime. The causes are its details.
    #[must_use]
    pub fn document(&self, version: &str) -> Value {
        let mut document = json!({ "cniVersion": version, "code": self.code(), "msg": self.to_string() });
        if let (Some(object), Some(cause)) = (document.as_object_mut(), self.source()) {
            object.insert("details".to_owned(), chain(cause).into());
        }
        document
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
