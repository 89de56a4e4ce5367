//! How the process ends: what asks for it, and how long open connections may take.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::workloads::Workloads;

pub(super) async fn drain(workloads: Workloads, deadline: Duration) {
    tracing::info!("draining: open connections may finish within {deadline:?}");
    workloads.drain();
    if timeout(deadline, workloads.finished()).await.is_err() {
        tracing::warn!("connections are still open after {deadline:?} and are cut");
    }
    workloads.stop().await;
}

/// Resolves when the process is asked to stop. A second SIGINT ends it at once.
pub(super) async fn signalled(stop: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; POST /quitquitquit on the admin port stops the process");
        return stop.cancelled().await;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM"),
        _ = interrupt.recv() => {
            tracing::info!("SIGINT; a second one ends the process at once");
            tokio::spawn(async move {
                interrupt.recv().await;
                std::process::exit(0);
            });
        }
        () = stop.cancelled() => tracing::info!("asked to stop"),
    }
}
