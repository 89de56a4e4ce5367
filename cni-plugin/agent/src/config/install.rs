//! What the agent does to its node: the plugin's binary and configuration, under the names of Istio's chart.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni_plugin_wire::paths;
use serde_json::{Map, Value};

use super::{Errors, Key};
use crate::install::Site;
use crate::install::binaries::Binaries;
use crate::install::decide::{Mode, OURS, Settings};
use crate::install::give_back::Traces;

/// As given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RawInstall {
    /// Keep the plugin installed on the node [default: true with Kubernetes, false with --pods-dir]
    #[arg(long, env = "INSTALL_CNI", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub install_cni: Option<String>,
    /// The node's CNI directory, as this process sees it [default: /host/etc/cni/net.d]
    #[arg(long, env = "MOUNTED_CNI_NET_DIR", value_name = "DIR")]
    pub mounted_cni_net_dir: Option<String>,
    /// Directory from which the plugin's binary is taken [default: /opt/cni/bin]
    #[arg(long, env = "CNI_BIN_SOURCE_DIR", value_name = "DIR")]
    pub cni_bin_source_dir: Option<String>,
    /// The node's directories of plugins as this process sees them, separated by commas [default: /host/opt/cni/bin]
    #[arg(long, env = "CNI_BIN_TARGET_DIRS", value_name = "DIRS")]
    pub cni_bin_target_dirs: Option<String>,
    /// Where the node's runtime keeps what it will end, as this process sees it [default: /host/var/lib/cni]
    #[arg(long, env = "CNI_CACHE_DIR", value_name = "DIR")]
    pub cni_cache_dir: Option<String>,
    /// File of the network configuration that gets the plugin [default: the one that runtimes load]
    #[arg(long, env = "CNI_CONF_NAME", value_name = "NAME")]
    pub cni_conf_name: Option<String>,
    /// Make the plugin the last of the node's chain; `false` gives it a file for itself (Multus) [default: true]
    #[arg(long, env = "CHAINED_CNI_PLUGIN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub chained_cni_plugin: Option<String>,
    /// Chain the plugin in a copy of the node's chain that runtimes load first [default: false]
    #[arg(long, env = "ISTIO_OWNED_CNI_CONFIG", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub istio_owned_cni_config: Option<String>,
    /// Name of that copy [default: 02-istio-cni.conflist]
    #[arg(long, env = "ISTIO_OWNED_CNI_CONFIG_FILENAME", value_name = "NAME")]
    pub istio_owned_cni_config_filename: Option<String>,
    /// The same, as Istio's chart spells it
    #[arg(long, env = "ISTIO_OWNED_CNI_CONF_FILENAME", value_name = "NAME")]
    pub istio_owned_cni_conf_filename: Option<String>,
    /// Let the group read the files that are ours [default: false]
    #[arg(long, env = "CNI_CONF_GROUP_READ", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub cni_conf_group_read: Option<String>,
    /// What the plugin logs: debug, info, warn, error or none [default: info]
    #[arg(long, env = "CNI_PLUGIN_LOG_LEVEL", value_name = "LEVEL")]
    pub cni_plugin_log_level: Option<String>,
    /// Let the plugin's STATUS fail while the agent is away; only for an agent on the host's network [default: false]
    #[arg(long, env = "CNI_STATUS_NEEDS_AGENT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub cni_status_needs_agent: Option<String>,
    /// Uninstall whenever the agent ends, also for an upgrade [default: false]
    #[arg(
        long,
        env = "AMBIENT_DISABLE_SAFE_UPGRADE",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub ambient_disable_safe_upgrade: Option<String>,
    /// How long pods may take to leave the mesh before the node is given back [default: 15s]
    #[arg(long, env = "UNINSTALL_WITHIN", value_name = "DURATION")]
    pub uninstall_within: Option<String>,
}

/// As meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Whether the plugin is kept installed.
    pub keep: bool,
    pub site: Site,
    pub traces: Traces,
    /// Whether an agent that ends tells an upgrade from an uninstall.
    pub safe_upgrade: bool,
    pub within: Duration,
}

/// What other parts of the configuration say of the plugin.
pub(super) struct Given<'a> {
    pub(super) in_cluster: bool,
    pub(super) run_dir: &'a Path,
    pub(super) selected_namespaces_file: &'a Path,
    pub(super) exclude_namespaces: Vec<String>,
    pub(super) pod_namespace: Option<String>,
}

pub(super) fn check(errors: &mut Errors, raw: RawInstall, given: &Given<'_>) -> Install {
    let conf_name = raw.cni_conf_name.filter(|name| !name.is_empty());
    let spellings = [raw.istio_owned_cni_config_filename, raw.istio_owned_cni_conf_filename];
    let owned_name = spellings.into_iter().flatten().find(|name| !name.is_empty());
    let owned_name = owned_name.unwrap_or_else(|| OWNED_NAME.to_owned());
    let chained = errors.flag(raw.chained_cni_plugin, CHAINED, true);
    let owned = errors.flag(raw.istio_owned_cni_config, OWNED, false);
    let mode = match (chained, owned) {
        (false, _) => Mode::Standalone,
        (true, true) => Mode::Owned,
        (true, false) => Mode::Chained,
    };
    file_name(errors, CONF_NAME, conf_name.as_deref());
    file_name(errors, OWNED_FILE, Some(&owned_name));
    if mode == Mode::Owned && !owned_name.ends_with(LIST) {
        errors.malformed(OWNED_FILE, owned_name.clone(), "a name that ends in .conflist");
    }
    if mode == Mode::Standalone && conf_name.as_ref().is_some_and(|name| name.ends_with(LIST)) {
        let name = conf_name.clone().unwrap_or_default();
        errors.malformed(CONF_NAME, name, "a name for one plugin alone, such as istio-cni.conf");
    }
    let group_read = errors.flag(raw.cni_conf_group_read, GROUP_READ, false);
    let level = raw.cni_plugin_log_level.unwrap_or_else(|| "info".to_owned());
    if !LEVELS.contains(&level.as_str()) {
        errors.malformed(LOG_LEVEL, level.clone(), "debug, info, warn, error or none");
    }
    let status_needs_agent = errors.flag(raw.cni_status_needs_agent, STATUS, false);
    let entry = entry(given, level, status_needs_agent);
    let targets = raw.cni_bin_target_dirs.unwrap_or_else(|| "/host/opt/cni/bin".to_owned());
    let targets = targets.split(',').map(str::trim).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Install {
        keep: errors.flag(raw.install_cni, INSTALL, given.in_cluster),
        site: Site {
            conf_dir: errors.path(raw.mounted_cni_net_dir, NET_DIR, "/host/etc/cni/net.d"),
            binaries: Binaries {
                source: errors.path(raw.cni_bin_source_dir, BIN_SOURCE, "/opt/cni/bin"),
                targets: targets.collect(),
            },
            settings: Settings {
                mode,
                conf_name,
                owned_name,
                file_mode: if group_read { 0o640 } else { 0o600 },
                alone: alone(&entry),
                entry: Value::Object(entry).to_string(),
            },
        },
        traces: Traces {
            selected_namespaces_file: given.selected_namespaces_file.to_owned(),
            cni_cache: errors.path(raw.cni_cache_dir, CACHE, "/host/var/lib/cni"),
        },
        safe_upgrade: !errors.flag(raw.ambient_disable_safe_upgrade, UNSAFE_UPGRADE, false),
        within: errors.span(raw.uninstall_within, WITHIN, Duration::from_secs(15)),
    }
}

/// What the plugin reads.
fn entry(given: &Given<'_>, level: String, status_needs_agent: bool) -> Map<String, Value> {
    let text = |path: PathBuf| Value::from(path.display().to_string());
    let mut entry = Map::new();
    let mut set = |key: &str, value: Value| drop(entry.insert(key.to_owned(), value));
    set("type", OURS.into());
    set("agent_socket", text(given.run_dir.join(paths::EVENT_SOCKET_NAME)));
    set("selected_namespaces_file", text(given.selected_namespaces_file.to_owned()));
    set("exclude_namespaces", given.exclude_namespaces.clone().into());
    if let Some(namespace) = &given.pod_namespace {
        set("pod_namespace", namespace.clone().into());
    }
    set("log_level", level.into());
    set("status_needs_agent", status_needs_agent.into());
    entry
}

fn alone(entry: &Map<String, Value>) -> String {
    let mut alone = Map::new();
    alone.insert("cniVersion".to_owned(), ALONE_VERSION.into());
    alone.insert("name".to_owned(), ALONE_NAME.into());
    alone.extend(entry.clone());
    format!("{:#}\n", Value::Object(alone))
}

/// A name leads to no other directory.
fn file_name(errors: &mut Errors, key: Key, name: Option<&str>) {
    if let Some(name) =
        name.filter(|name| name.contains('/') || !EXTENSIONS.iter().any(|e| name.ends_with(e)))
    {
        let want = "the name of a file that runtimes load: .conflist, .conf or .json";
        errors.malformed(key, name.to_owned(), want);
    }
}

const OWNED_NAME: &str = "02-istio-cni.conflist";
/// Multus finds the plugin by this name.
const ALONE_NAME: &str = "istio-cni";
const ALONE_VERSION: &str = "0.3.1";
const LIST: &str = ".conflist";
const EXTENSIONS: [&str; 3] = [".conflist", ".conf", ".json"];
const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", "none"];
const INSTALL: Key = ("install-cni", "INSTALL_CNI");
const NET_DIR: Key = ("mounted-cni-net-dir", "MOUNTED_CNI_NET_DIR");
const BIN_SOURCE: Key = ("cni-bin-source-dir", "CNI_BIN_SOURCE_DIR");
const CACHE: Key = ("cni-cache-dir", "CNI_CACHE_DIR");
const CONF_NAME: Key = ("cni-conf-name", "CNI_CONF_NAME");
const CHAINED: Key = ("chained-cni-plugin", "CHAINED_CNI_PLUGIN");
const OWNED: Key = ("istio-owned-cni-config", "ISTIO_OWNED_CNI_CONFIG");
const OWNED_FILE: Key = ("istio-owned-cni-config-filename", "ISTIO_OWNED_CNI_CONFIG_FILENAME");
const GROUP_READ: Key = ("cni-conf-group-read", "CNI_CONF_GROUP_READ");
const LOG_LEVEL: Key = ("cni-plugin-log-level", "CNI_PLUGIN_LOG_LEVEL");
const STATUS: Key = ("cni-status-needs-agent", "CNI_STATUS_NEEDS_AGENT");
const UNSAFE_UPGRADE: Key = ("ambient-disable-safe-upgrade", "AMBIENT_DISABLE_SAFE_UPGRADE");
const WITHIN: Key = ("uninstall-within", "UNINSTALL_WITHIN");

#[cfg(test)]
mod tests;
