//! Which backend a node uses. The order of trials is pure; the trials themselves leave no trace, for they run in namespaces
//! made for them.

#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use tracing::warn;

use crate::backend::{Backend, Kind};
use crate::error::{RedirectError, Trial};
use crate::iptables::{Programs, Variant};
use crate::netns::in_netns;
use crate::rule::Family;
use crate::traces::{Engine, Traces};

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Native nftables and nothing else.
    Nftables,
    /// Iptables, of this variant if one is named.
    Iptables(Option<Variant>),
    /// What an earlier deployment on this node used, or else what costs least.
    Auto,
}

/// What the node's own namespace shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Rules, not only tables: asking for rules is enough to make tables.
    pub legacy_rules: bool,
    /// The backend of an istio-cni or of an agent of ours whose rules for probes are there.
    pub deployed: Option<Kind>,
}

/// The backend, and why it is this one.
#[derive(Debug)]
pub struct Chosen {
    /// Ready for use.
    pub backend: Backend,
    /// For people.
    pub why: String,
}

/// Tries one backend after the other and takes the first that can load rules for both families, else the first that can load
/// any. `recorded` is the choice of an earlier start under the same wish: only the operator changes it, or its failing.
/// Blocking.
///
/// # Errors
///
/// [`RedirectError::NoBackend`], with what was tried.
pub fn choose(
    wish: Wish,
    recorded: Option<Kind>,
    host: Option<BorrowedFd<'_>>,
) -> Result<Chosen, RedirectError> {
    let evidence = match host {
        Some(host) => in_netns(host, Evidence::here).and_then(|evidence| evidence),
        None => Evidence::here(),
    };
    let evidence = evidence.unwrap_or_else(|error| {
        warn!(%error, "cannot tell what the node uses; going on as if it used nothing yet");
        Evidence::default()
    });
    let (mut tried, mut second_best) = (Vec::new(), None);
    for (kind, why) in order(wish, recorded, evidence) {
        match Backend::try_out(kind) {
            Ok(backend) => {
                let why = explain(why, &tried);
                match backend.ipv6() {
                    Ok(()) => return Ok(Chosen { backend, why }),
                    Err(trial) => tried.push(trial.clone()),
                }
                second_best.get_or_insert(Chosen { backend, why });
            }
            Err(trial) => tried.push(trial),
        }
    }
    let Some(Chosen { backend, why }) = second_best else { return Err(RedirectError::NoBackend { tried }) };
    Ok(Chosen { backend, why: format!("{why}; nothing here can load IPv6 rules") })
}

/// What to try, each once, and why.
fn order(wish: Wish, recorded: Option<Kind>, evidence: Evidence) -> Vec<(Kind, &'static str)> {
    let legacy = Kind::Iptables(Variant::Legacy);
    let mut order = Vec::new();
    let mut add = |kind, why| {
        if !order.iter().any(|(known, _)| *known == kind) {
            order.push((kind, why));
        }
    };
    match wish {
        Wish::Nftables => add(Kind::Nftables, ASKED),
        Wish::Iptables(Some(variant)) => add(Kind::Iptables(variant), ASKED),
        Wish::Iptables(None) | Wish::Auto => {
            let allowed = |kind: Kind| wish == Wish::Auto || kind != Kind::Nftables;
            if let Some(kind) = recorded.filter(|kind| allowed(*kind)) {
                add(kind, "it was chosen before");
            }
            if let Some(kind) = evidence.deployed.filter(|kind| allowed(*kind)) {
                add(kind, "an earlier deployment used it");
            }
            // Where native nftables may be used, foreign legacy rules of the node say nothing about its pods.
            if evidence.legacy_rules && wish != Wish::Auto {
                add(legacy, "the node has legacy rules");
            }
            for kind in Kind::ALL.into_iter().filter(|kind| allowed(*kind)) {
                add(kind, "it costs least of those that work");
            }
        }
    }
    order
}

fn explain(why: &str, tried: &[Trial]) -> String {
    let failed: Vec<String> = tried.iter().map(ToString::to_string).collect();
    if failed.is_empty() { why.to_owned() } else { format!("{why}; {}", failed.join("; ")) }
}

impl Evidence {
    /// Looks at the namespace of the calling thread, without making anything in it.
    fn here() -> Result<Self, RedirectError> {
        let traces = Traces::read()?;
        let (mut legacy_rules, mut deployed) = (false, None);
        if !traces.native().is_empty() {
            deployed = Some(Kind::Nftables);
        }
        for family in Family::ALL {
            if traces.has_host_chain(family) {
                deployed = deployed.or(Some(Kind::Iptables(Variant::Nft)));
            }
            let programs = Programs::of(Engine::Legacy, family);
            let Some(programs) = programs.filter(|_| traces.in_use(Engine::Legacy, family)) else { continue };
            let saved = programs.save()?;
            legacy_rules |= saved.lines().any(|line| line.starts_with("-A "));
            if saved.contains(HOST_CHAIN) {
                deployed = deployed.or(Some(Kind::Iptables(Variant::Legacy)));
            }
        }
        Ok(Self { legacy_rules, deployed })
    }
}

/// The chain in the node's own table `nat` that gives kubelet's probes their source.
pub(crate) const HOST_CHAIN: &str = "ISTIO_POSTRT";
const ASKED: &str = "the operator asked for it";
