//! The real host: found at the first use, and again at every use until something on the node can load the rules.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use cni_plugin_redirect::host::{HandedBack, Host, HostError, HostSettings, Settled, Target};
use cni_plugin_redirect::{Kind, Settings};
use parking_lot::Mutex;

use super::HostRules;
use crate::config::{Places, Probing};

/// The rules of the node that this process runs on.
#[derive(Debug)]
pub struct KernelHost {
    probing: Probing,
    settings: Settings,
    places: Places,
    kinds: Vec<Kind>,
    found: Mutex<Option<Arc<Host>>>,
}

impl KernelHost {
    /// `pods` is how pods' own rules are loaded: if the host has no nft, its rules are loaded by the same programs.
    #[must_use]
    pub fn new(probing: Probing, settings: Settings, places: Places, pods: Kind) -> Self {
        let kinds = if pods == Kind::Nftables { vec![pods] } else { vec![Kind::Nftables, pods] };
        Self { probing, settings, places, kinds, found: Mutex::new(None) }
    }

    fn host(&self) -> Result<Arc<Host>, HostError> {
        let mut found = self.found.lock();
        if let Some(host) = &*found {
            return Ok(Arc::clone(host));
        }
        let netns = self.probing.switch_to_host.then(|| {
            let path = self.places.proc_root.join("1/ns/net");
            File::open(&path).map(Into::into).map_err(|source| HostError::Netns { path, source })
        });
        let host = Arc::new(Host::detect(HostSettings {
            probe_v4: self.settings.probe_v4,
            probe_v6: self.settings.probe_v6,
            ipv6: self.settings.ipv6,
            proc_root: self.places.proc_root.clone(),
            netns: netns.transpose()?,
            kinds: self.kinds.clone(),
        })?);
        tracing::info!(programs = %host.kind(), "the host's probe rules");
        if self.probing.branch_eni && may_have_branches(&self.places.proc_root) {
            tracing::warn!(
                "tcp_early_demux is off, as where pods are behind branch interfaces of AWS: the answers to their probes are \
                 not routed back past such an interface. If their probes fail, set POD_SECURITY_GROUP_ENFORCING_MODE=standard \
                 for the VPC CNI or leave those pods out of the mesh; AMBIENT_ENABLE_AWS_BRANCH_ENI_PROBE=false says that \
                 there are none"
            );
        }
        *found = Some(Arc::clone(&host));
        Ok(host)
    }
}

impl HostRules for KernelHost {
    fn targets(&self) -> Result<BTreeSet<Target>, HostError> {
        self.host()?.targets()
    }

    fn settle(&self, targets: &BTreeSet<Target>) -> Result<Settled, HostError> {
        self.host()?.settle(targets)
    }

    fn remove_foreign(&self) -> Result<bool, HostError> {
        self.host()?.remove_foreign()
    }

    fn remove(&self) -> Result<(), HostError> {
        self.host()?.remove()
    }

    fn hand_back(&self) -> Result<HandedBack, HostError> {
        self.host()?.hand_back()
    }

    fn kubelet_left(&self) -> bool {
        self.found.lock().as_ref().is_some_and(|host| host.kubelet_left())
    }
}

/// Whether the node is set up as the VPC CNI sets it up for security groups of pods.
fn may_have_branches(proc_root: &Path) -> bool {
    fs::read_to_string(proc_root.join("sys/net/ipv4/tcp_early_demux"))
        .is_ok_and(|value| value.starts_with('0'))
}

#[cfg(test)]
mod tests;
