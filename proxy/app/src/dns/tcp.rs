//! DNS over TCP: a connection of a pod, and at most one upstream for what is passed on, in the order that servers like.
//!
//! Ids stay as they are: both connections are this client's alone. What comes back is passed on also when it answers
//! nothing that waits, for a zone transfer is many messages.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::dns::{Transport, Verdict, failure, id, is_retryable};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::frames::Frames;
use super::log::{self, Asked};
use super::{Service, upstream};

/// How long a connection may be silent, and a name server may take.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// Queries of one connection that are passed on and not answered yet; further ones wait in the socket.
const WAITING: usize = 64;

/// Serves one connection.
pub(super) async fn serve(service: Service, client: TcpStream) {
    let Ok(place) = Arc::clone(&service.connections).try_acquire_owned() else {
        tracing::debug!("pod {} has too many DNS connections", service.pod.info);
        return;
    };
    let mut conversation =
        Conversation { client: Frames::new(client), upstream: None, waiting: VecDeque::new(), service };
    if let Err(error) = conversation.run().await {
        tracing::debug!("a DNS connection ended: {error}");
    }
    for query in &conversation.waiting {
        query.asked.relayed(&conversation.service.pod.node.metrics.dns, false);
    }
    drop(place);
}

struct Conversation {
    service: Service,
    client: Frames,
    upstream: Option<Frames>,
    waiting: VecDeque<Waiting>,
}

/// A query that was passed on.
struct Waiting {
    message: Vec<u8>,
    asked: Asked,
    /// It was sent on a connection that then ended.
    again: bool,
}

impl Conversation {
    async fn run(&mut self) -> io::Result<()> {
        let closing = self.service.pod.closing.clone();
        let mut idle_at = Instant::now() + IDLE;
        loop {
            if closing.is_cancelled() && self.waiting.is_empty() {
                return Ok(());
            }
            let room = self.waiting.len() < WAITING && !closing.is_cancelled();
            tokio::select! {
                message = self.client.next(), if room => match message? {
                    Some(message) => self.take(message).await?,
                    None => return self.finish().await,
                },
                response = next(self.upstream.as_mut()) => match response {
                    Ok(Some(response)) => self.bring(response).await?,
                    Ok(None) | Err(_) => self.lost().await?,
                },
                () = closing.cancelled(), if !closing.is_cancelled() => {}
                () = sleep_until(idle_at) => {
                    return self.fail("no answer").await;
                }
            }
            idle_at = Instant::now() + IDLE;
        }
    }

    async fn take(&mut self, message: Vec<u8>) -> io::Result<()> {
        let (verdict, asked) = self.service.decide(&message, Transport::Tcp);
        match verdict {
            Verdict::Answer(answer) => self.client.send(&answer.message).await,
            Verdict::Relay => self.pass_on(Waiting { message, asked, again: false }).await,
        }
    }

    async fn pass_on(&mut self, query: Waiting) -> io::Result<()> {
        let sent = self.send(&query.message).await;
        self.waiting.push_back(query);
        let Err(why) = sent else { return Ok(()) };
        self.upstream = None;
        self.fail(&why.to_string()).await
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.upstream.is_none() {
            let Service { dns, .. } = &self.service;
            let stream = upstream::connect(self.service.origin(), &dns.upstream).await?;
            self.upstream = Some(Frames::new(stream));
        }
        match &mut self.upstream {
            Some(upstream) => Ok(upstream.send(message).await?),
            None => Ok(()),
        }
    }

    async fn bring(&mut self, response: Vec<u8>) -> io::Result<()> {
        let answered = self.waiting.iter().position(|query| id(&query.message) == id(&response));
        if let Some(query) = answered.and_then(|at| self.waiting.remove(at)) {
            query.asked.relayed(&self.service.pod.node.metrics.dns, true);
            log::write(&self.service.pod, &query.message, "forwarded", 0);
        }
        self.client.send(&response).await
    }

    /// A server may end a connection that was idle just as a query is on its way: that one is sent once more.
    async fn lost(&mut self) -> io::Result<()> {
        self.upstream = None;
        let (again, not): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|query| is_retryable(&query.message) && !query.again);
        self.waiting = not;
        self.fail("the connection was closed").await?;
        let mut again = again.into_iter();
        if let Some(query) = again.next() {
            self.pass_on(Waiting { again: true, ..query }).await?;
        }
        for query in again {
            if self.upstream.is_none() {
                self.waiting.push_back(query);
                self.fail("the connection was closed").await?;
            } else {
                self.pass_on(Waiting { again: true, ..query }).await?;
            }
        }
        Ok(())
    }

    /// The client has asked all it wants: what waits is still answered.
    async fn finish(&mut self) -> io::Result<()> {
        let until = Instant::now() + IDLE;
        while !self.waiting.is_empty() {
            tokio::select! {
                response = next(self.upstream.as_mut()) => match response {
                    Ok(Some(response)) => self.bring(response).await?,
                    Ok(None) | Err(_) => self.lost().await?,
                },
                () = sleep_until(until) => return self.fail("no answer").await,
            }
        }
        Ok(())
    }

    /// Answers everything that waits with a failure.
    async fn fail(&mut self, why: &str) -> io::Result<()> {
        for query in std::mem::take(&mut self.waiting) {
            query.asked.relayed(&self.service.pod.node.metrics.dns, false);
            log::write(&self.service.pod, &query.message, &format!("forwarding failed ({why})"), 0);
            if let Some(failure) = failure(&query.message) {
                self.client.send(&failure).await?;
            }
        }
        Ok(())
    }
}

async fn next(upstream: Option<&mut Frames>) -> io::Result<Option<Vec<u8>>> {
    match upstream {
        Some(upstream) => upstream.next().await,
        None => pending().await,
    }
}

/// Why a query could not be passed on.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Connect(#[from] upstream::UpstreamError),
    #[error("send: {0}")]
    Send(#[from] io::Error),
}
