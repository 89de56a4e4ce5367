//! Authorization of inbound connections: asked when they come, and again whenever the answer may have changed.

use std::future::pending;

use proxy_core::decide::{Connection, Deny, Permit, authorize};
use proxy_core::model::Workload;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::error::ConnError;
use crate::live::Live;
use crate::pod::Pod;

/// A permit that is renewed for as long as the connection is open.
pub(crate) struct Watched {
    pub(crate) permit: Permit,
    changes: watch::Receiver<()>,
}

/// Asks whether `connection` may reach the pod's application.
///
/// # Errors
/// Policy refuses it.
pub(crate) fn ask(pod: &Pod, local: &Workload, connection: &Connection) -> Result<Watched, Deny> {
    let live = &pod.node.live;
    // Before the question: a change that comes after the answer is then seen.
    let changes = live.policy_changes();
    let verdict = authorize(&live.now_known(), local, connection, live.moment());
    tell(pod, connection, &verdict);
    Ok(Watched { permit: verdict?, changes })
}

impl Watched {
    /// Resolves when the connection has to end: policy refuses it now, or the pod's proxy ends.
    pub(crate) async fn until_refused(self, pod: &Pod) -> ConnError {
        let Self { mut permit, mut changes } = self;
        let live = &pod.node.live;
        loop {
            tokio::select! {
                () = pod.cut.cancelled() => return ConnError::Drained,
                // The sender lives in `live`, as long as the pod.
                changed = changes.changed() => if changed.is_err() { return ConnError::Drained },
                () = recheck(live, &permit) => {}
            }
            // A workload that the control plane took away leaves with its pod, not by policy.
            let world = live.snapshot();
            let Ok(local) = proxy_core::decide::local(&world, &pod.info) else {
                continue;
            };
            match permit.renew(&world, &local, live.moment()) {
                Ok(renewed) => permit = renewed,
                Err(deny) => return ConnError::PolicyChanged(deny),
            }
        }
    }
}

async fn recheck(live: &Live, permit: &Permit) {
    match permit.recheck_at() {
        Some(moment) => sleep_until(live.instant(moment)).await,
        None => pending().await,
    }
}

/// What policies decided and what dry runs would have, for people who look for it.
fn tell(pod: &Pod, connection: &Connection, verdict: &Result<Permit, Deny>) {
    let (dry_run, unknown): (_, &[_]) = match verdict {
        Ok(permit) => (permit.dry_run(), permit.unknown()),
        Err(deny) => (&*deny.dry_run, &[]),
    };
    for policy in unknown {
        tracing::warn!(%policy, pod = %pod.info, "a policy that the workload names is not known and has no effect");
    }
    let loud = pod.node.log_decisions;
    for matched in dry_run {
        let source = connection.source;
        if loud {
            tracing::info!(policy = %matched.policy, action = ?matched.action, %source, "dry-run policy matched");
        } else {
            tracing::debug!(policy = %matched.policy, action = ?matched.action, %source, "dry-run policy matched");
        }
    }
    let (allowed, by) = match verdict {
        Ok(permit) => (true, permit.policy()),
        Err(deny) => (false, deny.policy.as_deref()),
    };
    let (source, target) = (connection.source, connection.target);
    if loud {
        tracing::info!(allowed, policy = by, %source, %target, "policy decision");
    } else {
        tracing::debug!(allowed, policy = by, %source, %target, "policy decision");
    }
}
