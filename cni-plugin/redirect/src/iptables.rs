//! Which iptables programs to use, and what they are asked to do in the namespace of the calling thread.

use std::path::PathBuf;

use tracing::debug;

use crate::drift::{Drift, drift};
use crate::error::{RedirectError, Trial};
use crate::netns;
use crate::observe::Observed;
use crate::plan::{Plan, everything};
use crate::program::{find, run};
use crate::refusal;
use crate::render;
use crate::rule::Family;
use crate::traces::{Engine, Traces};

/// The two ways into the kernel that iptables has, and whatever the distribution made the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// `iptables-legacy`.
    Legacy,
    /// `iptables-nft`.
    Nft,
    /// `iptables`.
    Plain,
}

impl Variant {
    pub(crate) const fn infix(self) -> &'static str {
        match self {
            Self::Legacy => "-legacy",
            Self::Nft => "-nft",
            Self::Plain => "",
        }
    }
}

/// The programs that work on this node; found once and then used for every pod.
#[derive(Debug, Clone)]
pub struct Iptables {
    variant: Variant,
    engine: Engine,
    v4: Programs,
    v6: Result<Programs, Trial>,
}

/// The programs of one variant and family.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    restore: PathBuf,
    save: PathBuf,
}

impl Iptables {
    /// Loads everything that any pod may want into a namespace made for that: a trial elsewhere would leave tables behind
    /// that the next trial takes for somebody's.
    pub(crate) fn try_out(variant: Variant) -> Result<Self, Trial> {
        let (v4, engine) = Programs::try_out(variant, Family::V4)?;
        let v6 = Programs::try_out(variant, Family::V6).map(|(programs, _)| programs);
        Ok(Self { variant, engine, v4, v6 })
    }

    /// Which one it is.
    pub(crate) const fn variant(&self) -> Variant {
        self.variant
    }

    /// Where its rules are.
    pub(crate) const fn engine(&self) -> Engine {
        self.engine
    }

    /// Why IPv6 rules cannot be loaded, if they cannot.
    pub(crate) fn v6(&self) -> Result<(), &Trial> {
        self.v6.as_ref().map(drop)
    }

    /// One iptables-restore, unless all is as planned already; before it one iptables-save where there is anything to save.
    pub(crate) fn load(&self, plan: &Plan, family: Family, traces: &Traces) -> Result<(), RedirectError> {
        let Some(programs) = self.programs(family) else { return Ok(()) };
        let saved = self.saved(family, traces)?;
        if drift(plan, family, &saved).is_none() {
            return Ok(());
        }
        let restore =
            |saved: &str| programs.restore(&render::iptables_restore(plan, family, &Observed::parse(saved)));
        // What was saved may have changed when the payload meets the kernel, so it gets a second look.
        restore(&saved).or_else(|error| {
            debug!(%error, %family, "rules did not load; trying once more");
            restore(&programs.save()?)
        })
    }

    /// What differs in one family.
    pub(crate) fn drift(&self, plan: &Plan, family: Family, traces: &Traces) -> Result<Drift, RedirectError> {
        Ok(drift(plan, family, &self.saved(family, traces)?))
    }

    /// Refuses what would leave the pod past the proxy.
    pub(crate) fn refuse(&self, family: Family, traces: &Traces) -> Result<(), RedirectError> {
        let Some(programs) = self.programs(family) else { return Ok(()) };
        programs.restore(&refusal::iptables_restore(&self.saved(family, traces)?))
    }

    /// The programs for a family, `None` where this node has none.
    pub(crate) fn programs(&self, family: Family) -> Option<&Programs> {
        match family {
            Family::V4 => Some(&self.v4),
            Family::V6 => self.v6.as_ref().ok(),
        }
    }

    fn saved(&self, family: Family, traces: &Traces) -> Result<String, RedirectError> {
        match self.programs(family) {
            Some(programs) if traces.in_use(self.engine, family) => programs.save(),
            _ => Ok(String::new()),
        }
    }
}

impl Programs {
    /// The programs for rules of that engine, whichever variant rules are loaded with otherwise.
    pub(crate) fn of(engine: Engine, family: Family) -> Option<Self> {
        let variant = match engine {
            Engine::NfTables => Variant::Nft,
            Engine::Legacy => Variant::Legacy,
        };
        Self::find(variant, family)
    }

    fn find(variant: Variant, family: Family) -> Option<Self> {
        let find = |job: &str| find(&format!("{}{}-{job}", stem(family), variant.infix()));
        Some(Self { restore: find("restore")?, save: find("save")? })
    }

    fn try_out(variant: Variant, family: Family) -> Result<(Self, Engine), Trial> {
        let failed = |why| Trial { program: format!("{}{}-restore", stem(family), variant.infix()), why };
        let programs = Self::find(variant, family).ok_or_else(|| failed("not installed".to_owned()))?;
        let payload = render::iptables_restore(&everything(), family, &Observed::default());
        let engine = netns::in_new_netns(|| {
            programs.restore(&payload)?;
            programs.save()?;
            let legacy = Traces::read()?.in_use(Engine::Legacy, family);
            Ok(if legacy { Engine::Legacy } else { Engine::NfTables })
        })
        .and_then(|outcome| outcome)
        .map_err(|error: RedirectError| failed(error.to_string()))?;
        Ok((programs, engine))
    }

    /// Takes chains and jumps of ours away; nothing is asked of the kernel when there are none.
    pub(crate) fn unload(&self) -> Result<(), RedirectError> {
        self.clear(|saved| render::iptables_remove(&Observed::parse(saved)))
    }

    /// Takes those away and refuses nothing any more.
    pub(crate) fn unload_all(&self) -> Result<(), RedirectError> {
        self.clear(|saved| {
            let rules = render::iptables_remove(&Observed::parse(saved)).unwrap_or_default();
            let all = rules + &refusal::iptables_remove(saved).unwrap_or_default();
            (!all.is_empty()).then_some(all)
        })
    }

    /// Refuses nothing any more.
    pub(crate) fn allow(&self) -> Result<(), RedirectError> {
        self.clear(refusal::iptables_remove)
    }

    fn clear(&self, payload: impl Fn(&str) -> Option<String>) -> Result<(), RedirectError> {
        let attempt = || payload(&self.save()?).map_or(Ok(()), |payload| self.restore(&payload));
        attempt().or_else(|error| {
            debug!(%error, "rules were not removed; trying once more");
            attempt()
        })
    }

    /// Whether chains of ours are there.
    pub(crate) fn finds_ours(&self) -> Result<bool, RedirectError> {
        Ok(render::iptables_remove(&Observed::parse(&self.save()?)).is_some())
    }

    /// What iptables-save prints.
    pub(crate) fn save(&self) -> Result<String, RedirectError> {
        run(&self.save, &[], None)
    }

    /// Feeds iptables-restore. Each table is taken whole or not at all.
    fn restore(&self, payload: &str) -> Result<(), RedirectError> {
        run(&self.restore, &["--noflush", "--wait", LOCK_WAIT_SECONDS], Some(payload)).map(drop)
    }
}

const fn stem(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// Only legacy programs lock; see [`run`] for what.
const LOCK_WAIT_SECONDS: &str = "30";
