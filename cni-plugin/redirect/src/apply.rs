//! Puts a plan into a pod's network namespace, takes it out again, and looks what is there. Blocking.

use std::os::fd::BorrowedFd;

use tracing::{debug, warn};

use crate::drift::{Drift, Finding, drift};
use crate::error::RedirectError;
use crate::iptables::Iptables;
use crate::netns::{in_netns, refuse_own};
use crate::observe::Observed;
use crate::plan::Plan;
use crate::render;
use crate::routing;
use crate::rule::Family;

/// Brings the pod to the plan from whatever is there, also when it is there already. Policy rules and routes come
/// first: without them, captured connections would lose their replies. One iptables-restore a family; between its
/// tables, and between families, a new connection may briefly meet one without the other.
///
/// Connections that exist keep going: only those that begin are redirected.
///
/// # Errors
///
/// The first step that failed. What was done stays; call again, or [`remove`].
pub fn apply(iptables: &Iptables, netns: BorrowedFd<'_>, plan: &Plan) -> Result<(), RedirectError> {
    refuse_own(netns)?;
    in_netns(netns, || {
        let sides = sides(iptables, plan);
        routing::with_netlink(|handle| async move {
            for side in &sides {
                if side.route {
                    routing::add_route(&handle, side.family).await?;
                }
                routing::add_rule(&handle, side.family).await?;
            }
            Ok(sides)
        })?
        .into_iter()
        .try_for_each(|side| load(iptables, plan, side.family))
    })?
}

/// Takes everything of ours out of the pod: jumps, chains, policy rules, routes. What is already gone is no error.
///
/// # Errors
///
/// Every step that failed; the others are done. Call again.
pub fn remove(iptables: &Iptables, netns: BorrowedFd<'_>) -> Result<(), Vec<RedirectError>> {
    refuse_own(netns).map_err(|error| vec![error])?;
    let errors = in_netns(netns, || {
        let families: Vec<Family> = Family::ALL
            .into_iter()
            .filter(|family| *family == Family::V4 || ipv6() != Ipv6::Absent)
            .collect();
        let mut errors = Vec::new();
        for &family in families.iter().filter(|family| **family == Family::V4 || iptables.ipv6()) {
            errors.extend(unload(iptables, family).err());
        }
        let routing = routing::with_netlink(|handle| async move {
            let mut errors = Vec::new();
            for family in families {
                errors.extend(routing::delete_rule(&handle, family).await.err());
                errors.extend(routing::delete_route(&handle, family).await.err());
            }
            Ok(errors)
        });
        errors.extend(routing.unwrap_or_else(|error| vec![error]));
        errors
    })
    .map_err(|error| vec![error])?;
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// How the pod differs from the plan.
///
/// # Errors
///
/// The first question that could not be answered.
pub fn inspect(iptables: &Iptables, netns: BorrowedFd<'_>, plan: &Plan) -> Result<Drift, RedirectError> {
    in_netns(netns, || {
        let sides = sides(iptables, plan);
        let mut all = Drift::default();
        for side in &sides {
            all.findings.extend(drift(plan, side.family, &iptables.save(side.family)?).findings);
        }
        let routing = routing::with_netlink(|handle| async move {
            let mut findings = Vec::new();
            for side in &sides {
                let present = routing::presence(&handle, side.family).await?;
                if !present.rule {
                    findings.push(Finding::PolicyRuleMissing(side.family));
                }
                if side.route && !present.route {
                    findings.push(Finding::LocalRouteMissing(side.family));
                }
            }
            Ok(findings)
        })?;
        all.findings.extend(routing);
        Ok(all)
    })?
}

/// A family this pod gets.
struct Side {
    family: Family,
    /// Whether loopback can carry the family's local route.
    route: bool,
}

/// The plan's families, without those that this pod or this node cannot have and so cannot leak.
fn sides(iptables: &Iptables, plan: &Plan) -> Vec<Side> {
    plan.families()
        .filter_map(|family| match (family, ipv6()) {
            (Family::V4, _) => Some(Side { family, route: true }),
            (Family::V6, Ipv6::Absent) => None,
            (Family::V6, Ipv6::OffOnLoopback) if !iptables.ipv6() => {
                warn!("the pod has IPv6 off, and the node cannot load IPv6 rules: IPv6 is left alone");
                None
            }
            // Other interfaces may still speak IPv6, so the rules are loaded; only the route has nowhere to go.
            (Family::V6, Ipv6::OffOnLoopback) => Some(Side { family, route: false }),
            (Family::V6, Ipv6::On) => Some(Side { family, route: true }),
        })
        .collect()
}

/// What the current namespace makes of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ipv6 {
    /// The kernel has none.
    Absent,
    /// Loopback refuses it.
    OffOnLoopback,
    /// It works.
    On,
}

fn ipv6() -> Ipv6 {
    match std::fs::read_to_string(LOOPBACK_IPV6) {
        Ok(value) if value.trim() == "1" => Ipv6::OffOnLoopback,
        Ok(_) => Ipv6::On,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ipv6::Absent,
        Err(error) => {
            warn!(%error, file = LOOPBACK_IPV6, "cannot tell whether the pod has IPv6; going on as if it had");
            Ipv6::On
        }
    }
}

/// What was observed may have changed when the payload meets the kernel, so it gets a second look.
fn load(iptables: &Iptables, plan: &Plan, family: Family) -> Result<(), RedirectError> {
    let attempt = || {
        let observed = Observed::parse(&iptables.save(family)?);
        iptables.restore(family, &render::iptables_restore(plan, family, &observed))
    };
    attempt().or_else(|error| {
        debug!(%error, %family, "rules did not load; trying once more");
        attempt()
    })
}

fn unload(iptables: &Iptables, family: Family) -> Result<(), RedirectError> {
    let attempt = || match render::iptables_remove(&Observed::parse(&iptables.save(family)?)) {
        Some(payload) => iptables.restore(family, &payload),
        None => Ok(()),
    };
    attempt().or_else(|error| {
        debug!(%error, %family, "rules were not removed; trying once more");
        attempt()
    })
}

const LOOPBACK_IPV6: &str = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";
