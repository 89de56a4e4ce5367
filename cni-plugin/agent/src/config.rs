//! What the agent was told, checked: every mistake is reported at once, each naming its setting.

mod backend;
mod enrollment;
mod install;
mod kubernetes;
mod probing;
mod serving;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cni_plugin_redirect::{Settings, Wish};
use cni_plugin_wire::paths;

use crate::eligible::{self, Policy};
use crate::selector;

pub use self::backend::RawBackend;
pub use self::enrollment::{Canary, RawEnrollment, Unproved};
pub use self::install::{Install, RawInstall};
pub use self::kubernetes::{Kubernetes, Raw as RawKubernetes, Server};
pub use self::probing::{Probing, RawProbing};
pub use self::serving::{Endpoint, RawServing, Serving};

/// The settings as given, none of them looked at; `None` means not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Raw {
    /// Name of this node; pods of other nodes are ignored.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Directory of Kubernetes YAML (Pods and Namespaces) that is followed.
    #[arg(long, env = "PODS_DIR", value_name = "DIR")]
    pub pods_dir: Option<String>,
    /// Directory that receives one file per pod with its redirection annotation.
    #[arg(long, env = "STATUS_DIR", value_name = "DIR")]
    pub status_dir: Option<String>,
    /// Socket on which proxies are served [default: /var/run/ztunnel/ztunnel.sock]
    #[arg(long, env = "ZTUNNEL_UDS_ADDRESS", value_name = "PATH")]
    pub zds_socket: Option<String>,
    /// Directory of the plugin's socket and of what the agent keeps for it [default: /var/run/adit]
    #[arg(long, env = "CNI_AGENT_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<String>,
    /// File that tells the plugin which namespaces are selected while the agent is away; on a disk it outlives a reboot, and
    /// the plugin's `selected_namespaces_file` must name the same [default: selected-namespaces.json in the run dir]
    #[arg(long, env = "SELECTED_NAMESPACES_FILE", value_name = "PATH")]
    pub selected_namespaces_file: Option<String>,
    /// YAML list of {podSelector, namespaceSelector}; empty text selects nothing [default: as Istio's chart]
    #[arg(long, env = "AMBIENT_ENABLEMENT_SELECTOR", value_name = "YAML")]
    pub enablement_selector: Option<String>,
    /// Namespaces whose pods are never enrolled, separated by commas [default: kube-system]
    #[arg(long, env = "EXCLUDE_NAMESPACES", value_name = "NAMES")]
    pub exclude_namespaces: Option<String>,
    /// Namespace in which the proxies run [default: istio-system]
    #[arg(long, env = "SYSTEM_NAMESPACE", value_name = "NAME")]
    pub system_namespace: Option<String>,
    /// Capture IPv6 where a pod has it [default: true]
    #[arg(long, env = "AMBIENT_IPV6", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub ipv6: Option<String>,
    /// Capture DNS where the proxy takes it [default: true]
    #[arg(long, env = "AMBIENT_DNS_CAPTURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub dns: Option<String>,
    /// Source address of kubelet probes, which are not captured [default: 169.254.7.127]
    #[arg(long, env = "HOST_PROBE_SNAT_IP", value_name = "IPV4")]
    pub probe_source: Option<String>,
    /// The same for IPv6 [default: fd16:9254:7127:1337:ffff:ffff:ffff:ffff]
    #[arg(long, env = "HOST_PROBE_SNAT_IPV6", value_name = "IPV6")]
    pub probe_source_v6: Option<String>,
    #[command(flatten)]
    pub backend: RawBackend,
    #[command(flatten)]
    pub probing: RawProbing,
    /// The host's /proc, as this process sees it [default: /proc]
    #[arg(long, env = "PROC_ROOT", value_name = "DIR")]
    pub proc_root: Option<String>,
    /// Directory of network namespaces named `<namespace>_<pod>`, looked at before /proc
    #[arg(long, env = "NETNS_DIR", value_name = "DIR")]
    pub netns_dir: Option<String>,
    /// How often enrolled pods are measured and repaired; 0s never [default: 30s]
    #[arg(long, env = "MEASURE_INTERVAL", value_name = "DURATION")]
    pub measure_interval: Option<String>,
    /// How long a pod that leaves the mesh stays captured, so that its peers can learn of it; and then for how long its
    /// proxy goes on with what it carries [default: 1s]
    #[arg(long, env = "WITHDRAW_GRACE", value_name = "DURATION")]
    pub withdraw_grace: Option<String>,
    /// How long a plugin call waits for its pod to become known [default: 3s]
    #[arg(long, env = "POD_WAIT", value_name = "DURATION")]
    pub pod_wait: Option<String>,
    /// How long a plugin call may take in all; plugins wait for 20 seconds [default: 15s]
    #[arg(long, env = "PLUGIN_DEADLINE", value_name = "DURATION")]
    pub plugin_deadline: Option<String>,
    #[command(flatten)]
    pub enrollment: RawEnrollment,
    #[command(flatten)]
    pub serving: RawServing,
    #[command(flatten)]
    pub install: RawInstall,
    /// Enroll pods at all; `false` takes out those that are enrolled [default: true]
    #[arg(long, env = "AMBIENT_ENABLED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub ambient_enabled: Option<String>,
    #[command(flatten)]
    pub kubernetes: RawKubernetes,
}

/// The settings as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub source: Source,
    pub zds_socket: PathBuf,
    pub run_dir: PathBuf,
    /// What the plugin reads while the agent is away.
    pub selected_namespaces_file: PathBuf,
    pub serving: Serving,
    pub install: Box<Install>,
    pub policy: Policy,
    pub redirect: Settings,
    /// How rules are loaded.
    pub backend: Wish,
    pub probing: Probing,
    pub places: Places,
    pub timing: Timing,
}

/// Where pods are read, and where it is written which of them are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files: pods are Kubernetes YAML, statuses are patches.
    Directory {
        pods: PathBuf,
        /// Without one, no status is written anywhere.
        status: Option<PathBuf>,
    },
    Kubernetes(Kubernetes),
}

/// Where network namespaces are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub proc_root: PathBuf,
    pub netns_dir: Option<PathBuf>,
}

/// How long things take and how often they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub canary: Canary,
    pub unproved: Unproved,
    /// Between two measurements of one enrolled pod; `None` never measures.
    pub measure: Option<Duration>,
    /// Between taking a pod's status away and ending its capture, and between that and its proxy's end.
    pub withdraw_grace: Duration,
    /// How long a plugin call waits for its pod to appear in the source.
    pub pod_wait: Duration,
    /// From a plugin call to its answer, the wait for its pod included.
    pub plugin_deadline: Duration,
}

/// One setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("--{flag} ({env}) must be given: {why}")]
    Missing { flag: &'static str, env: &'static str, why: &'static str },
    #[error("--{flag} ({env}) is {value:?}, which is not {want}")]
    Malformed { flag: &'static str, env: &'static str, value: String, want: &'static str },
    #[error("--enablement-selector (AMBIENT_ENABLEMENT_SELECTOR) cannot be used")]
    Selector(#[source] selector::SelectorError),
}

impl Config {
    /// Checks what was given and fills in the rest.
    ///
    /// # Errors
    /// All settings that are missing or malformed, not only the first.
    pub fn check(raw: Raw) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Errors(Vec::new());
        let run_dir = errors.path(raw.run_dir.clone(), RUN_DIR, paths::DEFAULT_RUN_DIR);
        let beside_socket = || run_dir.join(paths::SELECTED_NAMESPACES_NAME);
        let selected = raw.selected_namespaces_file.as_deref().filter(|file| !file.is_empty());
        let selected = selected.map_or_else(beside_socket, PathBuf::from);
        let policy = policy(&mut errors, &raw);
        let source = source(&mut errors, &raw);
        let given = install::Given {
            in_cluster: matches!(source, Source::Kubernetes(_)),
            run_dir: &run_dir,
            selected_namespaces_file: &selected,
            exclude_namespaces: policy.excluded_namespaces.iter().cloned().collect(),
            pod_namespace: raw.kubernetes.pod_namespace.clone().filter(|name| !name.is_empty()),
        };
        let config = Self {
            install: Box::new(install::check(&mut errors, raw.install.clone(), &given)),
            selected_namespaces_file: selected,
            policy,
            redirect: redirect(&mut errors, &raw),
            backend: backend::wish(&mut errors, &raw.backend),
            probing: probing::check(&mut errors, &raw.probing),
            timing: timing(&mut errors, &raw),
            source,
            serving: serving::check(&mut errors, raw.serving),
            zds_socket: errors.path(raw.zds_socket, ZDS_SOCKET, paths::DEFAULT_ZDS_SOCKET),
            run_dir,
            places: Places {
                proc_root: errors.path(raw.proc_root, ("proc-root", "PROC_ROOT"), "/proc"),
                netns_dir: raw.netns_dir.filter(|dir| !dir.is_empty()).map(PathBuf::from),
            },
        };
        if errors.0.is_empty() { Ok(config) } else { Err(errors.0) }
    }
}

/// A directory of pods comes first: whoever names one means it, and a cluster is named wherever a pod runs.
fn source(errors: &mut Errors, raw: &Raw) -> Source {
    let status = raw.status_dir.clone().filter(|dir| !dir.is_empty());
    let pods = raw.pods_dir.clone().filter(|dir| !dir.is_empty());
    match (pods, status) {
        (None, status) if raw.kubernetes.names_a_server() => {
            if let Some(dir) = status {
                errors.malformed(
                    STATUS_DIR,
                    dir,
                    "used with an API server: give --pods-dir with it, or neither",
                );
            }
            Source::Kubernetes(raw.kubernetes.check(errors))
        }
        (pods, status) => Source::Directory {
            pods: errors.required(pods, PODS_DIR, PODS_DIR_WHY).into(),
            status: status.map(PathBuf::from),
        },
    }
}

fn policy(errors: &mut Errors, raw: &Raw) -> Policy {
    let selectors = selector::parse(raw.enablement_selector.as_deref().unwrap_or(selector::DEFAULT))
        .map_err(|error| errors.0.push(ConfigError::Selector(error)))
        .unwrap_or_default();
    let enabled = errors.flag(raw.ambient_enabled.clone(), ("ambient-enabled", "AMBIENT_ENABLED"), true);
    Policy {
        selectors: if enabled { selectors } else { Vec::new() },
        excluded_namespaces: names(raw.exclude_namespaces.as_deref().unwrap_or("kube-system")),
        system_namespace: raw.system_namespace.clone().unwrap_or_else(|| "istio-system".to_owned()),
        node: errors.required(raw.node_name.clone(), NODE_NAME, "it decides whose pods are ours"),
    }
}

fn redirect(errors: &mut Errors, raw: &Raw) -> Settings {
    let usual = Settings::default();
    let v4 = ("probe-source", "HOST_PROBE_SNAT_IP");
    let v6 = ("probe-source-v6", "HOST_PROBE_SNAT_IPV6");
    Settings {
        ipv6: errors.flag(raw.ipv6.clone(), ("ipv6", "AMBIENT_IPV6"), true),
        dns: errors.flag(raw.dns.clone(), ("dns", "AMBIENT_DNS_CAPTURE"), true),
        probe_v4: errors.parsed(raw.probe_source.clone(), v4, "an IPv4 address", usual.probe_v4),
        probe_v6: errors.parsed(raw.probe_source_v6.clone(), v6, "an IPv6 address", usual.probe_v6),
    }
}

fn timing(errors: &mut Errors, raw: &Raw) -> Timing {
    let measure =
        errors.span(raw.measure_interval.clone(), ("measure-interval", "MEASURE_INTERVAL"), MEASURE);
    let grace = ("withdraw-grace", "WITHDRAW_GRACE");
    let deadline = ("plugin-deadline", "PLUGIN_DEADLINE");
    Timing {
        canary: enrollment::canary(errors, &raw.enrollment),
        unproved: enrollment::unproved(errors, &raw.enrollment),
        measure: Some(measure).filter(|every| !every.is_zero()),
        withdraw_grace: errors.span(raw.withdraw_grace.clone(), grace, WITHDRAW_GRACE),
        pod_wait: errors.span(raw.pod_wait.clone(), ("pod-wait", "POD_WAIT"), POD_WAIT),
        plugin_deadline: errors.span(raw.plugin_deadline.clone(), deadline, PLUGIN_DEADLINE),
    }
}

/// A setting's flag and environment variable.
type Key = (&'static str, &'static str);

/// Collects what is wrong while the rest is read on.
struct Errors(Vec<ConfigError>);

impl Errors {
    fn malformed(&mut self, key: Key, value: String, want: &'static str) {
        self.0.push(ConfigError::Malformed { flag: key.0, env: key.1, value, want });
    }

    fn required(&mut self, value: Option<String>, key: Key, why: &'static str) -> String {
        let value = value.unwrap_or_default();
        if value.is_empty() {
            self.0.push(ConfigError::Missing { flag: key.0, env: key.1, why });
        }
        value
    }

    fn parsed<T: FromStr>(&mut self, value: Option<String>, key: Key, want: &'static str, default: T) -> T {
        let Some(value) = value else { return default };
        value.parse().unwrap_or_else(|_| {
            self.malformed(key, value, want);
            default
        })
    }

    fn flag(&mut self, value: Option<String>, key: Key, default: bool) -> bool {
        let Some(value) = value else { return default };
        eligible::parse_bool(&value).unwrap_or_else(|| {
            self.malformed(key, value, "true or false");
            default
        })
    }

    fn span(&mut self, value: Option<String>, key: Key, default: Duration) -> Duration {
        let Some(value) = value else { return default };
        parse_duration(&value).unwrap_or_else(|| {
            self.malformed(key, value, "a duration such as 500ms, 30s or 2m");
            default
        })
    }

    fn path(&mut self, value: Option<String>, key: Key, default: &str) -> PathBuf {
        let value = value.unwrap_or_else(|| default.to_owned());
        if value.is_empty() {
            self.malformed(key, value.clone(), "a path");
        }
        value.into()
    }
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// One whole number with its unit: `ms`, `s` or `m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text.strip_prefix(digits)? {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

const NODE_NAME: Key = ("node-name", "NODE_NAME");
const PODS_DIR: Key = ("pods-dir", "PODS_DIR");
const PODS_DIR_WHY: &str =
    "outside of Kubernetes, without KUBERNETES_SERVICE_HOST or --kubeconfig, pods are read from files";
const STATUS_DIR: Key = ("status-dir", "STATUS_DIR");
const ZDS_SOCKET: Key = ("zds-socket", "ZTUNNEL_UDS_ADDRESS");
const RUN_DIR: Key = ("run-dir", "CNI_AGENT_RUN_DIR");
const MEASURE: Duration = Duration::from_secs(30);
const WITHDRAW_GRACE: Duration = Duration::from_secs(1);
const POD_WAIT: Duration = Duration::from_secs(3);
/// Below the time that the plugin waits: an answer says more than silence.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
