//! The host's side of probes: the kubelet's connections to declared probe ports get a source address that pods let past
//! the proxy, and nothing else does.
//!
//! What is wanted is derived (`plan`), written for nft or for iptables with ipset (`nft`, `ipset`), and compared with
//! what the kernel holds; only differences are written. Who owns which element is kept by the caller: the kernel's sets are
//! derived state. Everything here blocks.

mod cgroup;
mod error;
mod foreign;
mod ipset;
mod kubelet;
mod nft;
mod plan;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::backend::Kind;
use crate::netns::in_netns;

pub use error::HostError;
pub use kubelet::{Cgroup, Kubelet};
pub use plan::{Change, Found, Rule, Wanted, Who};

use ipset::Ipset;
use nft::Nft;

/// An address of a pod with a port that the kubelet connects to.
pub type Target = (IpAddr, u16);

/// What the host's rules are made of.
#[derive(Debug)]
pub struct HostSettings {
    /// The source address that pods see of probes.
    pub probe_v4: Ipv4Addr,
    /// The same for IPv6.
    pub probe_v6: Ipv6Addr,
    /// Whether pods may have IPv6.
    pub ipv6: bool,
    /// The host's /proc, in which the kubelet is looked for.
    pub proc_root: PathBuf,
    /// The host's network namespace; `None` is the one this process runs in.
    pub netns: Option<OwnedFd>,
    /// Ways to load the rules, the best first; with iptables, sets are loaded by ipset.
    pub kinds: Vec<Kind>,
}

/// The rules and sets of one host.
#[derive(Debug)]
pub struct Host {
    settings: HostSettings,
    backend: Backend,
    ipv6: bool,
    /// Whether this kernel can tell sockets by their cgroup, as seen from here.
    cgroups: bool,
    kubelet: Mutex<Option<Kubelet>>,
}

/// How rules get into the kernel.
#[derive(Debug)]
enum Backend {
    Nft(Nft),
    Ipset(Box<Ipset>),
}

/// What came of bringing the host to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How the kubelet's connections are told from others.
    pub who: Who,
    /// What had to be changed; `None` when everything was there.
    pub change: Option<Change>,
}

/// What became of our rules when the host was handed to another agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedBack {
    /// The other agent's rules cover every probe: ours are gone.
    Removed,
    /// They do not, or not yet: ours stay, so that no probe fails.
    Kept,
}

impl Host {
    /// Finds a way to load the host's rules by loading them into a network namespace made for that.
    ///
    /// # Errors
    ///
    /// [`HostError::NoBackend`], which says what to install.
    pub fn detect(settings: HostSettings) -> Result<Self, HostError> {
        let mut tried = Vec::new();
        // A kernel without IPv6 refuses the rules of it, with all others of the transaction.
        for ipv6 in if settings.ipv6 { vec![true, false] } else { vec![false] } {
            let wanted = wanted(&settings, ipv6, Who::Uid(0), &BTreeSet::new());
            for kind in &settings.kinds {
                let found = match kind {
                    Kind::Nftables => {
                        Nft::try_out(&wanted).map(|nft| (cgroup::tried_out(&nft), Backend::Nft(nft)))
                    }
                    Kind::Iptables(variant) => Ipset::try_out(*variant, &wanted)
                        .map(|ipset| (false, Backend::Ipset(Box::new(ipset)))),
                };
                match found {
                    Ok((cgroups, backend)) => {
                        let kubelet = Mutex::new(None);
                        return Ok(Self { settings, backend, ipv6, cgroups, kubelet });
                    }
                    Err(trial) => tried.push(trial),
                }
            }
        }
        Err(HostError::NoBackend { tried })
    }

    /// The way that was found.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match &self.backend {
            Backend::Nft(_) => Kind::Nftables,
            Backend::Ipset(ipset) => Kind::Iptables(ipset.variant()),
        }
    }

    /// The targets that an earlier agent of ours left exempted.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn targets(&self) -> Result<BTreeSet<Target>, HostError> {
        self.inside(|| Ok(self.observe()?.targets))
    }

    /// Brings the host to `targets`, from whatever is there, without taking anything away that stays wanted.
    ///
    /// # Errors
    ///
    /// The kernel refused; what was there before is still there.
    pub fn settle(&self, targets: &BTreeSet<Target>) -> Result<Settled, HostError> {
        let who = self.who();
        let wanted = wanted(&self.settings, self.ipv6, who.clone(), targets);
        let change = self.inside(|| {
            let attempt = || {
                let change = wanted.change(&self.observe()?, &self.rules(&wanted));
                if let Some(change) = &change {
                    self.write(&wanted, change)?;
                }
                Ok(change)
            };
            // What was observed may have changed when it is written, so it gets a second look.
            attempt().or_else(|_: HostError| attempt())
        })?;
        Ok(Settled { who, change })
    }

    /// Whether the kubelet that the rules are written for is gone, so that they match nobody until settled again. Cheap.
    #[must_use]
    pub fn kubelet_left(&self) -> bool {
        let known = self.kubelet.lock();
        known.as_ref().is_some_and(|kubelet| !kubelet.lives(&self.settings.proc_root))
    }

    /// Takes all of ours away: rules first, a set that a rule refers to cannot go.
    ///
    /// # Errors
    ///
    /// Something may have been left behind.
    pub fn remove(&self) -> Result<(), HostError> {
        self.inside(|| match &self.backend {
            Backend::Nft(nft) => nft.remove(),
            Backend::Ipset(ipset) => ipset.remove(),
        })
    }

    /// Takes away what istio-cni left: from here on only ours count. Whether there was anything.
    ///
    /// # Errors
    ///
    /// Something may have been left behind.
    pub fn remove_foreign(&self) -> Result<bool, HostError> {
        self.inside(foreign::remove)
    }

    /// Leaves the host to istio-cni: ours go once its rules cover every probe of ours.
    ///
    /// # Errors
    ///
    /// It cannot be told what is there, or ours cannot be removed.
    pub fn hand_back(&self) -> Result<HandedBack, HostError> {
        let covered = self.inside(|| {
            let ours = self.observe()?.targets;
            let theirs = foreign::addresses()?;
            Ok(theirs.is_some_and(|theirs| ours.iter().all(|(ip, _)| theirs.contains(ip))))
        })?;
        if !covered {
            return Ok(HandedBack::Kept);
        }
        self.remove()?;
        Ok(HandedBack::Removed)
    }

    /// How the kubelet's sockets are told from others: as narrowly as this node allows.
    fn who(&self) -> Who {
        let mut known = self.kubelet.lock();
        let root = &self.settings.proc_root;
        if known.as_ref().is_none_or(|kubelet| !kubelet.lives(root)) {
            // A kubelet that restarts is soon back; until then nobody is the kubelet but who was.
            if let Some(found) = Kubelet::find(root) {
                *known = Some(found);
            }
        }
        match known.as_ref() {
            None => Who::AssumedRoot,
            Some(Kubelet { uid, cgroup: Some(cgroup), .. }) if self.cgroups => {
                Who::Cgroup { uid: *uid, cgroup: cgroup.clone() }
            }
            Some(kubelet) => Who::Uid(kubelet.uid),
        }
    }

    fn observe(&self) -> Result<Found, HostError> {
        match &self.backend {
            Backend::Nft(nft) => nft.observe(),
            Backend::Ipset(ipset) => ipset.observe(),
        }
    }

    fn rules(&self, wanted: &Wanted) -> Vec<Rule> {
        match &self.backend {
            Backend::Nft(_) => nft::rules(wanted),
            Backend::Ipset(_) => ipset::rules(wanted),
        }
    }

    fn write(&self, wanted: &Wanted, change: &Change) -> Result<(), HostError> {
        match &self.backend {
            Backend::Nft(nft) => nft.write(wanted, change),
            Backend::Ipset(ipset) => ipset.write(wanted, change),
        }
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T, HostError> + Send) -> Result<T, HostError> {
        match &self.settings.netns {
            None => work(),
            Some(netns) => in_netns(netns.as_fd(), work)?,
        }
    }
}

fn wanted(settings: &HostSettings, ipv6: bool, who: Who, targets: &BTreeSet<Target>) -> Wanted {
    let targets = targets.iter().copied().filter(|(ip, _)| ipv6 || ip.is_ipv4()).collect();
    Wanted { probe_v4: settings.probe_v4, probe_v6: ipv6.then_some(settings.probe_v6), who, targets }
}
