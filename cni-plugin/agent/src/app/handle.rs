//! What the rest of the process can ask of a running agent.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::enroll::PodState;

/// Asks a running agent; clones ask the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::UnboundedSender<Request>,
    left: watch::Receiver<Option<Vec<String>>>,
    stop: CancellationToken,
}

/// What the driver is asked.
#[derive(Debug)]
pub(super) enum Request {
    Withdraw,
    Dump(oneshot::Sender<Vec<PodState>>),
}

/// The driver's end of a [`Handle`].
pub(super) struct Asked {
    pub(super) requests: mpsc::UnboundedReceiver<Request>,
    /// Pods still in the mesh, once all are to leave it.
    pub(super) left: watch::Sender<Option<Vec<String>>>,
    pub(super) stop: CancellationToken,
}

impl Handle {
    pub(super) fn new() -> (Self, Asked) {
        let (sender, requests) = mpsc::unbounded_channel();
        let left = watch::Sender::new(None);
        let stop = CancellationToken::new();
        let handle = Self { requests: sender, left: left.subscribe(), stop: stop.clone() };
        (handle, Asked { requests, left, stop })
    }

    /// One that no driver serves.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Self::new().0
    }

    /// Takes every pod out of the mesh, for an uninstall; none comes in any more. Answers the pods that are not out
    /// `within` that time, by name; they go on being withdrawn for as long as the agent runs.
    pub async fn withdraw(&self, within: Duration) -> Vec<String> {
        let mut left = self.left.clone();
        let unread = || vec!["pods that have not been read yet".to_owned()];
        if self.requests.send(Request::Withdraw).is_err() {
            return left.borrow().clone().unwrap_or_else(unread);
        }
        let none = |left: &Option<Vec<String>>| left.as_ref().is_some_and(Vec::is_empty);
        // What is left is told either way.
        let _ = tokio::time::timeout(within, left.wait_for(none)).await;
        let left = left.borrow().clone();
        left.unwrap_or_else(unread)
    }

    /// Every pod of the node, as the agent has it; empty once the agent has ended.
    pub async fn dump(&self) -> Vec<PodState> {
        let (answer, pods) = oneshot::channel();
        let _ = self.requests.send(Request::Dump(answer));
        pods.await.unwrap_or_default()
    }

    /// Ends the agent and touches nothing: rules stay, proxies go on serving, and another agent, ours or another's, takes
    /// the pods over.
    pub fn hand_back(&self) {
        self.stop.cancel();
    }
}
