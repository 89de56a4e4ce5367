//! Puts a plan into a pod's network namespace, takes it out again, and looks what is there. Blocking.

use std::os::fd::BorrowedFd;

use tracing::{debug, warn};

use crate::backend::Backend;
use crate::drift::{Drift, Finding};
use crate::error::RedirectError;
use crate::ipv6::{Ipv6, has_ipv6_addresses, ipv6};
use crate::netns::{in_netns, lock_current, refuse_own};
use crate::plan::Plan;
use crate::routing;
use crate::rule::Family;
use crate::traces::Traces;

/// What a pod got of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The plan for the families that the pod has: its hash is that of the rules in place.
    pub plan: Plan,
    /// Whether the pod has IPv6 addresses and this node cannot load rules for them.
    pub ipv6_left_alone: bool,
}

/// Brings the pod to the plan from whatever is there, also when it is there already. Policy rules and routes come
/// first: without them, captured connections would lose their replies. Native nftables takes one transaction; iptables
/// takes one a family and table, between which a new connection may briefly meet one without the other.
///
/// Connections that exist keep going: only those that begin are redirected.
///
/// # Errors
///
/// The first step that failed. What was done stays; call again, or [`remove`].
pub fn apply(backend: &Backend, netns: BorrowedFd<'_>, plan: &Plan) -> Result<Applied, RedirectError> {
    refuse_own(netns)?;
    in_netns(netns, || {
        let _lock = lock_current()?;
        let sides = Sides::here(backend, plan);
        let traces = Traces::read()?;
        let routes = sides.routes.clone();
        routing::with_netlink(|handle| async move {
            for (family, route) in &routes {
                if *route {
                    routing::add_route(&handle, *family).await?;
                }
                routing::add_rule(&handle, *family).await?;
            }
            Ok(())
        })?;
        backend.load(&sides.plan, traces)?;
        sides.end_routing_elsewhere()?;
        if sides.ipv6_left_alone {
            warn!(
                "the pod has IPv6 addresses, and this node cannot load IPv6 rules: IPv6 goes around the mesh"
            );
        }
        Ok(Applied { plan: sides.plan, ipv6_left_alone: sides.ipv6_left_alone })
    })?
}

/// Captures nothing of the plan's pod any more that begins, nor refuses it, and keeps what brings the replies of captured
/// connections back: they go on for as long as the proxy carries them. [`remove`] takes the rest.
///
/// # Errors
///
/// The first step that failed; the pod may still be captured.
pub fn release(backend: &Backend, netns: BorrowedFd<'_>, plan: &Plan) -> Result<(), RedirectError> {
    apply(backend, netns, &plan.released())?;
    allow_outbound(backend, netns)
}

/// Takes everything of ours out of the pod, whichever backend loaded it: jumps, chains, tables, policy rules, routes, and a
/// refusal. What is already gone is no error.
///
/// # Errors
///
/// Every step that failed; the others are done. Call again.
pub fn remove(backend: &Backend, netns: BorrowedFd<'_>) -> Result<(), Vec<RedirectError>> {
    refuse_own(netns).map_err(|error| vec![error])?;
    let errors = in_netns(netns, || {
        let lock = lock_current();
        let mut errors = match lock.and_then(|lock| Ok((lock, Traces::read()?))) {
            Ok((_lock, traces)) => backend.unload(traces),
            Err(error) => vec![error],
        };
        let routing = routing::with_netlink(|handle| async move {
            let mut errors = Vec::new();
            for family in Family::ALL.into_iter().filter(|family| family_exists(*family)) {
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
pub fn inspect(backend: &Backend, netns: BorrowedFd<'_>, plan: &Plan) -> Result<Drift, RedirectError> {
    in_netns(netns, || {
        let sides = Sides::here(backend, plan);
        let mut all = backend.drift(&sides.plan, &Traces::read()?)?;
        let routing = routing::with_netlink(|handle| async move {
            let mut findings = Vec::new();
            for (family, route) in sides.routes {
                let present = routing::presence(&handle, family).await?;
                if !present.rule {
                    findings.push(Finding::PolicyRuleMissing(family));
                }
                if route && !present.route {
                    findings.push(Finding::LocalRouteMissing(family));
                }
            }
            Ok(findings)
        })?;
        all.findings.extend(routing);
        Ok(all)
    })?
}

/// Refuses TCP connections that would leave the pod past the proxy, until [`allow_outbound`] or [`remove`]: with a reset,
/// so that clients know at once. What is redirected to the proxy, stays inside the pod or is the proxy's own passes, and so
/// do connections that exist.
///
/// # Errors
///
/// The rules did not load; the pod is not held back, or not in every family.
pub fn refuse_outbound(backend: &Backend, netns: BorrowedFd<'_>) -> Result<(), RedirectError> {
    refuse_own(netns)?;
    in_netns(netns, || {
        let _lock = lock_current()?;
        let families: Vec<Family> =
            Family::ALL.into_iter().filter(|family| *family == Family::V4 || ipv6() != Ipv6::None).collect();
        backend.refuse(&families, &Traces::read()?)
    })?
}

/// Ends [`refuse_outbound`], also of another backend or an agent before this one. Costs no program where nothing is
/// refused.
///
/// # Errors
///
/// The pod may still be held back; call again.
pub fn allow_outbound(backend: &Backend, netns: BorrowedFd<'_>) -> Result<(), RedirectError> {
    refuse_own(netns)?;
    in_netns(netns, || {
        let _lock = lock_current()?;
        backend.allow(Traces::read()?)
    })?
}

/// The families that the current namespace gets.
struct Sides {
    plan: Plan,
    /// Each family, and whether loopback can carry its local route.
    routes: Vec<(Family, bool)>,
    ipv6_left_alone: bool,
}

impl Sides {
    /// The plan's families, without those that this pod cannot have and so cannot leak, and those that this node cannot
    /// load. IPv4 stays also where the pod has no such address: one may come.
    fn here(backend: &Backend, plan: &Plan) -> Self {
        let (mut routes, mut ipv6_left_alone) = (Vec::new(), false);
        for family in plan.families() {
            match (family, ipv6(), backend.ipv6()) {
                (Family::V4, ..) => routes.push((family, true)),
                (Family::V6, Ipv6::None, _) => {}
                (Family::V6, _, Err(trial)) => {
                    debug!(%trial, "IPv6 rules cannot be loaded");
                    ipv6_left_alone = has_ipv6_addresses();
                }
                (Family::V6, on, Ok(())) => routes.push((family, on == Ipv6::Works)),
            }
        }
        let families: Vec<Family> = routes.iter().map(|(family, _)| *family).collect();
        Self { plan: plan.only(&families), routes, ipv6_left_alone }
    }

    /// Takes away what brought replies back in families that are no longer captured.
    fn end_routing_elsewhere(&self) -> Result<(), RedirectError> {
        let captured = |family| self.routes.iter().any(|(captured, _)| *captured == family);
        let others: Vec<Family> =
            Family::ALL.into_iter().filter(|family| !captured(*family) && family_exists(*family)).collect();
        if others.is_empty() {
            return Ok(());
        }
        routing::with_netlink(|handle| async move {
            for family in others {
                routing::delete_rule(&handle, family).await?;
                routing::delete_route(&handle, family).await?;
            }
            Ok(())
        })
    }
}

/// Whether the kernel has the family at all, and so policy rules and routes for it.
fn family_exists(family: Family) -> bool {
    family == Family::V4 || std::path::Path::new("/proc/sys/net/ipv6").exists()
}
