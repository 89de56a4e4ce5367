//! The ways to load a plan: native nftables or one of the iptables. One plan, and whichever loads it leaves nothing of the
//! others.

use std::fmt;
use std::str::FromStr;

use tracing::warn;

use crate::drift::{Drift, Finding};
use crate::error::{RedirectError, Trial};
use crate::iptables::{Iptables, Programs, Variant};
use crate::nftables::{self, Nftables};
use crate::plan::Plan;
use crate::refusal;
use crate::rule::Family;
use crate::traces::{Engine, Traces};

/// How rules are loaded on this node; found once and then used for every pod.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Native nftables.
    Nftables(Nftables),
    /// One of the iptables.
    Iptables(Iptables),
}

/// Which backend, by the name that settings, records and logs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Native nftables.
    Nftables,
    /// One of the iptables.
    Iptables(Variant),
}

impl Kind {
    /// All, the one that costs least first.
    pub const ALL: [Self; 4] = [
        Self::Nftables,
        Self::Iptables(Variant::Nft),
        Self::Iptables(Variant::Legacy),
        Self::Iptables(Variant::Plain),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables(Variant::Nft) => "iptables-nft",
            Self::Iptables(Variant::Legacy) => "iptables-legacy",
            Self::Iptables(Variant::Plain) => "iptables",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of nftables, iptables-nft, iptables-legacy, iptables")]
pub struct KindError(pub String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| KindError(text.to_owned()))
    }
}

impl Backend {
    /// The one that was asked for, if it can load everything that any pod may want into a namespace made for that. Blocking.
    ///
    /// # Errors
    ///
    /// What was tried, and why it will not do.
    pub fn try_out(kind: Kind) -> Result<Self, Trial> {
        match kind {
            Kind::Nftables => Nftables::try_out().map(Self::Nftables),
            Kind::Iptables(variant) => Iptables::try_out(variant).map(Self::Iptables),
        }
    }

    /// Which one this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Nftables(_) => Kind::Nftables,
            Self::Iptables(iptables) => Kind::Iptables(iptables.variant()),
        }
    }

    /// Whether IPv6 rules can be loaded.
    ///
    /// # Errors
    ///
    /// Why they cannot.
    pub fn ipv6(&self) -> Result<(), &Trial> {
        match self {
            Self::Nftables(nftables) => nftables.v6(),
            Self::Iptables(iptables) => iptables.v6(),
        }
    }

    /// Brings the current namespace to the plan, then takes away what other backends have left. In this order no
    /// connection that begins meanwhile goes around the proxy.
    pub(crate) fn load(&self, plan: &Plan, traces: Traces) -> Result<(), RedirectError> {
        match self {
            Self::Nftables(nftables) => nftables.load(plan, &traces)?,
            Self::Iptables(iptables) => {
                plan.families().try_for_each(|family| iptables.load(plan, family, &traces))?;
            }
        }
        for (engine, family, programs) in self.others(plan, &traces) {
            // The rules that count are in place; these can only be double.
            if let Err(error) = programs.unload() {
                warn!(%error, %engine, %family, "rules of another backend are left in the pod");
            }
        }
        match self {
            Self::Nftables(_) => Ok(()),
            Self::Iptables(_) => nftables::unload(traces, Traces::native),
        }
    }

    /// Leaves nothing of ours, nor of istio-cni's, by any backend.
    pub(crate) fn unload(&self, traces: Traces) -> Vec<RedirectError> {
        let mut errors = Vec::new();
        for (_, _, programs) in self.installed(&traces) {
            errors.extend(programs.unload_all().err());
        }
        errors.extend(nftables::unload(traces, |traces| [traces.native(), refused(traces)].concat()).err());
        errors
    }

    pub(crate) fn drift(&self, plan: &Plan, traces: &Traces) -> Result<Drift, RedirectError> {
        let mut all = Drift::default();
        match self {
            Self::Nftables(nftables) => all.findings.extend(nftables.drift(plan, traces)?),
            Self::Iptables(iptables) => {
                for family in plan.families() {
                    all.findings.extend(iptables.drift(plan, family, traces)?.findings);
                }
                let stray = crate::rule::Table::ALL.into_iter();
                let stray = stray.filter(|table| traces.has_inet(table.nft_name()));
                all.findings.extend(stray.map(Finding::TableStray));
            }
        }
        for (engine, family, programs) in self.others(plan, traces) {
            if programs.finds_ours()? {
                all.findings.push(Finding::Leftover(engine, family));
            }
        }
        Ok(all)
    }

    /// See [`refusal`].
    pub(crate) fn refuse(&self, families: &[Family], traces: &Traces) -> Result<(), RedirectError> {
        match self {
            Self::Nftables(nftables) => nftables.refuse(),
            Self::Iptables(iptables) => {
                families.iter().try_for_each(|family| iptables.refuse(*family, traces))
            }
        }
    }

    /// Ends a refusal by any backend.
    pub(crate) fn allow(&self, traces: Traces) -> Result<(), RedirectError> {
        for (_, _, programs) in self.installed(&traces) {
            programs.allow()?;
        }
        nftables::unload(traces, refused)
    }

    /// Programs for rules that may be of ours but are not the plan's.
    fn others(&self, plan: &Plan, traces: &Traces) -> Vec<(Engine, Family, Programs)> {
        let mut all = self.installed(traces);
        if let Self::Iptables(iptables) = self {
            let planned: Vec<Family> = plan.families().collect();
            all.retain(|(engine, family, _)| *engine != iptables.engine() || !planned.contains(family));
        }
        all
    }

    /// Programs for every kind of iptables rules that may be ours in a namespace.
    fn installed(&self, traces: &Traces) -> Vec<(Engine, Family, Programs)> {
        let all = Engine::ALL.into_iter().flat_map(|engine| Family::ALL.map(|family| (engine, family)));
        all.filter(|(engine, family)| traces.maybe_ours(*engine, *family))
            .filter_map(|(engine, family)| {
                let own = match self {
                    Self::Iptables(iptables) if iptables.engine() == engine => iptables.programs(family).cloned(),
                    Self::Iptables(_) | Self::Nftables(_) => None,
                };
                let programs = own.or_else(|| Programs::of(engine, family));
                if programs.is_none() {
                    warn!(%engine, %family, "no iptables here can see whether the pod has rules of ours there");
                }
                Some((engine, family, programs?))
            })
            .collect()
    }
}

fn refused(traces: &Traces) -> Vec<&'static str> {
    if traces.has_inet(refusal::TABLE) { vec![refusal::TABLE] } else { Vec::new() }
}
