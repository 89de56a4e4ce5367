//! What a node is like, for whoever wants to know before anything is installed: read and tried out, and nothing is left
//! behind. `adit check --node-probe` reads the document.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use cni_plugin_redirect::host::{Host, HostSettings};
use cni_plugin_redirect::{Backend, Kind, choose, in_netns};
use serde::Serialize;

use crate::config::Config;
use crate::redirect::chain;

mod cni;
mod node;

pub use cni::{Binaries, Cni, Passed};
pub use node::{Limits, cgroups, firewalls, modules};

/// One node. Programs of other versions read it: fields are added, not changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// Grows when a reader of the old shape would be misled.
    pub format: u32,
    /// Of this program.
    pub version: &'static str,
    pub node: String,
    /// The node's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    pub kernel: String,
    /// `v2`, `v1` or `hybrid`.
    pub cgroups: &'static str,
    /// Loaded modules among those that redirection may use; what is built in is not listed.
    pub modules: Vec<String>,
    /// Each way to redirect pods, tried out.
    pub redirection: Vec<Tried>,
    /// The way that the agent would take.
    pub chosen: Outcome,
    /// The way in which kubelet's probes would get past the proxy.
    pub probes: Outcome,
    pub cni: Cni,
    pub binaries: Vec<Binaries>,
    pub limits: Limits,
    /// Programs that run on the host and keep its rules as they want them.
    pub firewalls: Vec<String>,
}

/// A way to load rules, and whether it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    pub backend: String,
    pub works: bool,
    pub ipv6: bool,
    /// What stands in the way of either.
    pub why: Option<String>,
}

/// What a choice led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// None where nothing on the node will do.
    pub backend: Option<String>,
    pub why: String,
}

impl Facts {
    /// Looks at the node that this process runs on, as the agent with these settings would. Blocking; rules are loaded into
    /// namespaces made for that.
    #[must_use]
    pub fn gather(config: &Config) -> Self {
        let proc_root = &config.places.proc_root;
        let read = |path: &str| fs::read_to_string(proc_root.join(path)).unwrap_or_default();
        let (chosen, kind) = chosen(config);
        let binaries = &config.install.site.binaries.targets;
        Self {
            format: 1,
            version: env!("CARGO_PKG_VERSION"),
            node: config.policy.node.clone(),
            clock_ms: now(),
            kernel: read("sys/kernel/osrelease").trim().to_owned(),
            // Of this process: its own control group is named alike on the host.
            cgroups: cgroups(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()),
            modules: modules(&read("modules")),
            redirection: Kind::ALL.into_iter().map(try_out).collect(),
            chosen,
            probes: probes(config, kind),
            cni: Cni::look(&config.install.site),
            binaries: binaries.iter().map(|dir| Binaries::look(dir)).collect(),
            limits: Limits::read(&read),
            firewalls: firewalls(&running(proc_root)),
        }
    }
}

fn try_out(kind: Kind) -> Tried {
    let backend = kind.to_string();
    match Backend::try_out(kind) {
        Ok(found) => {
            let why = found.ipv6().err().map(ToString::to_string);
            Tried { backend, works: true, ipv6: why.is_none(), why }
        }
        Err(trial) => Tried { backend, works: false, ipv6: false, why: Some(trial.to_string()) },
    }
}

/// As the agent's first start would choose.
fn chosen(config: &Config) -> (Outcome, Option<Kind>) {
    let host = File::open(config.places.proc_root.join("1/ns/net")).ok();
    let host = host.filter(|host| in_netns(host.as_fd(), || ()).is_ok());
    match choose(config.backend, None, host.as_ref().map(AsFd::as_fd)) {
        Ok(chosen) => {
            let kind = chosen.backend.kind();
            (Outcome { backend: Some(kind.to_string()), why: chosen.why }, Some(kind))
        }
        Err(error) => (Outcome { backend: None, why: chain(&error) }, None),
    }
}

fn probes(config: &Config, kind: Option<Kind>) -> Outcome {
    let mut kinds = vec![Kind::Nftables];
    kinds.extend(kind.filter(|kind| *kind != Kind::Nftables));
    let found = Host::detect(HostSettings {
        probe_v4: config.redirect.probe_v4,
        probe_v6: config.redirect.probe_v6,
        ipv6: config.redirect.ipv6,
        proc_root: config.places.proc_root.clone(),
        netns: None,
        kinds,
    });
    match found {
        Ok(host) => Outcome { backend: Some(host.kind().to_string()), why: "it works".to_owned() },
        Err(error) => Outcome { backend: None, why: chain(&error) },
    }
}

/// The names of the programs that run.
fn running(proc_root: &Path) -> Vec<String> {
    let entries = fs::read_dir(proc_root).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
