//! One connected proxy: hello, snapshot, then its queue, with one request under way at a time.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::seqpacket::Connection;
use cni_plugin_wire::zds::{self, Answer, PodUid, Request, WorkloadInfo, ZdsError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{AnnounceError, Booked, Job, Notice, Shared};
use crate::metrics::AckError;
use crate::netns::Netns;
use crate::redirect::chain;

/// Why a proxy was let go.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error("wait for the proxy's hello")]
    Hello(#[source] ZdsError),
    #[error("the proxy said no hello within {0:?}")]
    NoHello(Duration),
    #[error("send the proxy a request")]
    Send(#[source] ZdsError),
    #[error("read the proxy's answer")]
    Answer(#[source] ZdsError),
    /// A late answer would be taken for that of the next request.
    #[error("the proxy did not answer within {0:?}; the connection cannot be used any more")]
    TooSlow(Duration),
    #[error("the proxy spoke without being asked")]
    Unasked,
    #[error("read from the idle proxy")]
    Idle(#[source] ZdsError),
}

impl ProxyError {
    /// What became of the answer that was due, if one was.
    const fn ack_error(&self) -> Option<AckError> {
        match self {
            Self::TooSlow(_) => Some(AckError::TimedOut),
            Self::Answer(ZdsError::Closed) => None,
            Self::Answer(_) | Self::Unasked => Some(AckError::Broken),
            Self::Hello(_) | Self::NoHello(_) | Self::Send(_) | Self::Idle(_) => None,
        }
    }
}

/// A proxy's place in the server for as long as it is connected.
struct Seat<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    number: u64,
    jobs: mpsc::UnboundedReceiver<Job>,
}

/// Serves one proxy until it goes or breaks the protocol.
pub(super) async fn serve(shared: Arc<Shared>, connection: Connection) {
    match drive(&shared, &connection).await {
        Ok(()) | Err(ProxyError::Idle(ZdsError::Closed)) => tracing::info!("a proxy disconnected"),
        Err(error) => {
            if let Some(why) = error.ack_error() {
                shared.metrics.ack_error(why);
            }
            tracing::warn!(error = chain(&error), "a proxy is disconnected");
        }
    }
}

async fn drive(shared: &Shared, connection: &Connection) -> Result<(), ProxyError> {
    let hello = shared.deadlines.hello;
    let version = timeout(hello, zds::receive_hello(connection))
        .await
        .map_err(|_| ProxyError::NoHello(hello))?
        .map_err(ProxyError::Hello)?;
    tracing::info!(version, "a proxy connected");
    let (number, jobs) = shared.register();
    let mut seat = Seat { shared, connection, number, jobs };
    seat.wait_complete().await?;
    seat.snapshot().await?;
    seat.work().await
}

impl Seat<'_> {
    /// A snapshot that leaves a pod out makes the proxy drop it.
    async fn wait_complete(&self) -> Result<(), ProxyError> {
        let mut complete = self.shared.complete.subscribe();
        tokio::select! {
            _ = complete.wait_for(|complete| *complete) => Ok(()),
            error = self.idle() => Err(error),
        }
    }

    async fn snapshot(&self) -> Result<(), ProxyError> {
        let book = self.shared.book();
        tracing::info!(pods = book.len(), "a proxy gets its snapshot");
        for (uid, booked) in book {
            match booked {
                Booked::Served { info, netns } => {
                    let outcome = self.add(&uid, info, &netns).await?;
                    self.tell(uid, &netns, outcome);
                }
                Booked::Kept => {
                    if let Answer::Failed(why) =
                        self.ask(&Request::<Netns>::Keep { uid: uid.clone() }).await?
                    {
                        tracing::warn!(%uid, why, "a proxy will not keep a pod");
                    }
                }
            }
        }
        if let Answer::Failed(why) = self.ask(&Request::<Netns>::SnapshotSent).await? {
            tracing::warn!(why, "a proxy is not content with its snapshot");
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<(), ProxyError> {
        loop {
            let job = tokio::select! {
                job = self.jobs.recv() => job,
                error = idle(self.connection) => return Err(error),
            };
            match job {
                None => return Ok(()),
                Some(Job::Add { uid, tell }) => self.bring(uid, tell).await?,
                Some(Job::Delete { uid, tell }) => {
                    let answer = self.ask(&Request::<Netns>::Delete { uid: uid.clone() }).await?;
                    self.shared.deliver(self.number, &uid, None);
                    if let Answer::Failed(why) = answer {
                        tracing::warn!(%uid, why, "a proxy did not let a pod go");
                    }
                    let _ = tell.send(());
                }
            }
        }
    }

    /// Has the proxy serve a pod as the book has it now, unless it does already.
    async fn bring(
        &self,
        uid: PodUid,
        tell: Option<oneshot::Sender<Result<(), AnnounceError>>>,
    ) -> Result<(), ProxyError> {
        let Some((info, netns)) = self.shared.booked(&uid) else {
            if let Some(tell) = tell {
                let _ = tell.send(Err(AnnounceError::Withdrawn));
            }
            return Ok(());
        };
        let outcome = if self.shared.delivered(self.number, &uid) == Some(netns.id()) {
            Ok(())
        } else {
            self.add(&uid, info, &netns).await?
        };
        match tell {
            Some(tell) => {
                let _ = tell.send(outcome);
            }
            None => self.tell(uid, &netns, outcome),
        }
        Ok(())
    }

    async fn add(
        &self,
        uid: &PodUid,
        info: WorkloadInfo,
        netns: &Netns,
    ) -> Result<Result<(), AnnounceError>, ProxyError> {
        let answer = match self.ask(&Request::Add { uid: uid.clone(), info, netns: netns.as_fd() }).await {
            Ok(answer) => answer,
            // It never left: this pod cannot be announced, which is no fault of the proxy.
            Err(ProxyError::Send(error @ ZdsError::TooLong { .. })) => Answer::Failed(error.to_string()),
            Err(error) => return Err(error),
        };
        let served = (answer == Answer::Done).then(|| netns.id());
        self.shared.deliver(self.number, uid, served);
        Ok(match answer {
            Answer::Done => Ok(()),
            Answer::Failed(why) => Err(AnnounceError::Refused(why)),
        })
    }

    fn tell(&self, uid: PodUid, netns: &Netns, outcome: Result<(), AnnounceError>) {
        let netns = netns.id();
        self.shared.notify(match outcome {
            Ok(()) => Notice::Delivered { uid, netns },
            Err(error) => Notice::Refused { uid, netns, why: error.to_string() },
        });
    }

    async fn ask<N: AsFd>(&self, request: &Request<N>) -> Result<Answer, ProxyError> {
        let limit = self.shared.deadlines.answer;
        timeout(limit, zds::send_request(self.connection, request))
            .await
            .map_err(|_| ProxyError::TooSlow(limit))?
            .map_err(ProxyError::Send)?;
        let answer = timeout(limit, zds::receive_answer(self.connection))
            .await
            .map_err(|_| ProxyError::TooSlow(limit))?
            .map_err(ProxyError::Answer)?;
        if matches!(answer, Answer::Failed(_)) {
            self.shared.metrics.ack_error(AckError::Refused);
        }
        Ok(answer)
    }

    async fn idle(&self) -> ProxyError {
        idle(self.connection).await
    }
}

impl Drop for Seat<'_> {
    /// Before the queue goes and whoever waits on it looks for another proxy.
    fn drop(&mut self) {
        self.shared.unregister(self.number);
    }
}

/// Ends when the proxy goes, or says something although nothing was asked.
async fn idle(connection: &Connection) -> ProxyError {
    match connection.recv().await {
        Ok(_) => ProxyError::Unasked,
        Err(error) => ProxyError::Idle(error.into()),
    }
}
