//! One dial, in a task of its own: brings a connection to everybody who waits for it, then drives it.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ConnectionId, Dialed, Inner, PoolKey};
use crate::client::{self, Closed, LAST_MOMENT};
use crate::error::{DialError, TunnelError};

/// The duty to answer those who wait for an attempt, whatever happens to the task that has it.
pub(super) struct Duty {
    inner: Arc<Inner>,
    key: Arc<PoolKey>,
    id: ConnectionId,
    done: bool,
}

impl Duty {
    pub(super) const fn new(inner: Arc<Inner>, key: Arc<PoolKey>, id: ConnectionId) -> Self {
        Self { inner, key, id, done: false }
    }

    /// Dials, shares the connection, and drives it to its end.
    pub(super) async fn run<S, E>(mut self, dial: impl Future<Output = Result<Dialed<S>, E>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        E: DialError,
    {
        let inner = Arc::clone(&self.inner);
        let mut open = inner.open.clone();
        let established = async {
            let Dialed { stream, peer, mut revoked } =
                dial.await.map_err(|error| TunnelError::Dial(Arc::new(error)))?;
            let (requests, connection) = tokio::select! {
                biased;
                () = &mut revoked => return Err(TunnelError::Revoked),
                established = client::establish(stream, &inner.settings) => established?,
            };
            Ok((requests, connection, Arc::new(peer), revoked))
        };
        let established = tokio::select! {
            biased;
            // An error: the sender is gone, and nothing is ever sent.
            _ = open.changed() => return,
            established = established => established,
        };
        self.done = true;
        match established {
            Err(error) => self.fail(&error),
            Ok((requests, mut connection, peer, revoked)) => {
                let tell = CancellationToken::new();
                inner.put(&self.key, self.id, requests, peer, tell.clone());
                let keep = inner.settings.pool_idle;
                let driving = client::drive(&mut connection, (open, revoked), &inner.settings, |now| {
                    inner.shelves.lock().look_again(&self.key, self.id, keep, now)
                });
                let closed = driving.await;
                inner.shelves.lock().remove(&self.key, self.id);
                let hop = self.key.next_hop;
                match closed {
                    Closed::Finished | Closed::Abandoned => {
                        tracing::debug!("tunnel connection to {hop} closed")
                    }
                    Closed::Failed(error) => tracing::debug!("tunnel connection to {hop} failed: {error}"),
                    Closed::Revoked => {
                        tracing::warn!(
                            "tunnel connection to {hop} closed: its peer's certificate is revoked"
                        );
                        tell.cancel();
                        // Every stream resets itself when it is told. Whatever comes of it, the connection is over.
                        let _ = timeout(LAST_MOMENT, connection).await;
                    }
                    Closed::Dead => {
                        let limit = inner.settings.limits.ping_timeout;
                        tracing::warn!(
                            "tunnel connection to {hop} closed: no answer to a PING within {limit:?}"
                        );
                    }
                }
            }
        }
    }

    fn fail(&self, error: &TunnelError) {
        let waiting = self.inner.shelves.lock().give_up(&self.key, self.id);
        for answer in waiting {
            drop(answer.send(Err(error.clone())));
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.done {
            self.fail(&TunnelError::Abandoned);
        }
    }
}
