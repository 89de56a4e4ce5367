//! Authorization of inbound connections: asked when they come, and again whenever the answer may have changed.

#[cfg(test)]
mod tests;

use std::future::pending;

use proxy_core::Moment;
use proxy_core::decide::{Connection, Deny, DryRun, Permit, Would, authorize, local};
use proxy_core::model::{PodInfo, Workload};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::error::ConnError;
use crate::live::Live;
use crate::pod::Pod;

/// A permit that is renewed for as long as the connection is open.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) permit: Permit,
    changes: watch::Receiver<()>,
}

/// Asks whether `connection` may reach the pod's application, whose workload the caller knows as `known`.
///
/// # Errors
/// Policy refuses it.
pub(crate) fn ask(pod: &Pod, known: &Workload, connection: &Connection) -> Result<Watched, Deny> {
    let verdict = Watched::new(&pod.node.live, &pod.info, known, connection);
    tell(pod, connection, verdict.as_ref().map(|watched| &watched.permit));
    verdict
}

impl Watched {
    fn new(live: &Live, pod: &PodInfo, known: &Workload, connection: &Connection) -> Result<Self, Deny> {
        // Before the question: a change that comes after the answer is then seen.
        let changes = live.policy_changes();
        let world = live.now_known();
        // What the caller knows may be older than `changes`: policies that were attached since would never be noticed.
        let latest = local(&world, pod);
        let latest = latest.as_deref().unwrap_or(known);
        let permit = authorize(&world, latest, connection, live.moment())?;
        Ok(Self { permit, changes })
    }

    /// Resolves when the connection has to end: policy refuses it now, or the pod's proxy ends.
    pub(crate) async fn until_refused(self, pod: &Pod) -> ConnError {
        tokio::select! {
            () = pod.cut.cancelled() => ConnError::Drained,
            deny = self.refused(&pod.node.live, &pod.info) => ConnError::PolicyChanged(deny),
        }
    }

    /// Resolves when policy refuses the connection.
    async fn refused(self, live: &Live, pod: &PodInfo) -> Deny {
        let Self { mut permit, mut changes } = self;
        let mut again = permit.recheck_at();
        loop {
            tokio::select! {
                // The sender lives in `live`.
                changed = changes.changed() => if changed.is_err() { pending::<()>().await },
                () = come(live, again) => {}
            }
            let world = live.snapshot();
            // A workload that the control plane took away leaves with its pod, not by policy. Should it come back, that is
            // a change.
            let Ok(latest) = local(&world, pod) else {
                again = None;
                continue;
            };
            match permit.renew(&world, &latest, live.moment()) {
                Ok(renewed) => permit = renewed,
                Err(deny) => return deny,
            }
            again = permit.recheck_at();
        }
    }
}

async fn come(live: &Live, moment: Option<Moment>) {
    match moment {
        Some(moment) => sleep_until(live.instant(moment)).await,
        None => pending().await,
    }
}

/// What policies decided and what dry runs would have, for people who look for it.
fn tell(pod: &Pod, connection: &Connection, verdict: Result<&Permit, &Deny>) {
    let (dry_run, unknown): (_, &[_]) = match verdict {
        Ok(permit) => (permit.dry_run(), permit.unknown()),
        Err(deny) => (&*deny.dry_run, &[]),
    };
    for policy in unknown {
        pod.node.metrics.unknown_policies.inc();
        tracing::warn!(%policy, pod = %pod.info, "a policy that the workload names is not known and has no effect");
    }
    // At info for who asks for it by AUTHZ_POLICY_INFO_LOGGING.
    macro_rules! tell {
        ($($line:tt)*) => {
            if pod.node.log_decisions { tracing::info!($($line)*) } else { tracing::debug!($($line)*) }
        };
    }
    let (source, target) = (connection.source, connection.target);
    for DryRun { policy, would, evidence } in dry_run {
        let would = match would {
            Would::Deny => "deny",
            Would::Allow => "allow",
            Would::NotAllow => "not allow",
        };
        tell!(%policy, would, %source, %target, %evidence, "dry-run policy");
    }
    let (allowed, policy, evidence) = match verdict {
        Ok(permit) => (true, permit.policy(), None),
        Err(deny) => (false, deny.policy.as_deref(), deny.evidence.as_ref()),
    };
    let evidence = evidence.map(tracing::field::display);
    tell!(allowed, policy, %source, %target, evidence, "policy decision");
}
