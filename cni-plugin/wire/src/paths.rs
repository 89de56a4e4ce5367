//! Where the sockets and files of a node are unless an option says otherwise.

use std::path::{Path, PathBuf};

/// ZDS: the agent listens, proxies connect.
pub const DEFAULT_ZDS_SOCKET: &str = "/var/run/ztunnel/ztunnel.sock";

/// Directory of the agent's own socket and cache (`CNI_AGENT_RUN_DIR`).
pub const DEFAULT_RUN_DIR: &str = "/var/run/adit";

/// Plugin events: the agent listens, each plugin call connects once.
pub const DEFAULT_EVENT_SOCKET: &str = "/var/run/adit/plugin.sock";

/// Name of the event socket inside the run directory.
pub const EVENT_SOCKET_NAME: &str = "plugin.sock";

/// Name of the file of selected namespaces inside the run directory.
pub const SELECTED_NAMESPACES_NAME: &str = "selected-namespaces.json";

/// The file of selected namespaces that lies beside the event socket `socket`.
#[must_use]
pub fn selected_namespaces_beside(socket: &Path) -> PathBuf {
    socket.with_file_name(SELECTED_NAMESPACES_NAME)
}
