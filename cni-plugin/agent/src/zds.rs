//! Serves proxies over ZDS: a book of the pods to serve, and every connected proxy kept in step with it.
//!
//! A proxy that connects gets the whole book; after that, pods that come go to the newest proxy and pods that go are
//! told to all. Each proxy has its own task and its own queue: one that is slow delays nobody else.

mod dump;
mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::seqpacket::{Listener, SocketError};
use cni_plugin_wire::zds::{PodUid, WorkloadInfo};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::metrics;
use crate::netns::{Netns, NetnsId};

pub use self::dump::{ProxyState, Served};

/// The server; clones share it.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

/// What a proxy is given time for.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From connecting to saying hello.
    pub hello: Duration,
    /// For taking one request, and again for answering it.
    pub answer: Duration,
}

/// What nobody asked for but somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A proxy took the pod from a snapshot, or when it became the newest.
    Delivered { uid: PodUid, netns: NetnsId },
    /// A proxy refused it then.
    Refused { uid: PodUid, netns: NetnsId, why: String },
    /// So many proxies are connected now.
    Connected(usize),
}

/// Why no proxy serves a pod.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AnnounceError {
    #[error("no proxy is connected to the node agent")]
    NoProxy,
    #[error("the proxy refused the pod: {0}")]
    Refused(String),
    #[error("the pod was withdrawn meanwhile")]
    Withdrawn,
}

#[derive(Debug)]
struct Shared {
    deadlines: Deadlines,
    notices: mpsc::UnboundedSender<Notice>,
    metrics: metrics::Proxies,
    /// Whether the book is complete enough for a snapshot.
    complete: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    book: BTreeMap<PodUid, Booked>,
    /// The newest last.
    lines: Vec<Line>,
    next: u64,
}

#[derive(Clone, Debug)]
enum Booked {
    /// The pod lives; its namespace is not known.
    Kept,
    Served {
        info: WorkloadInfo,
        netns: Arc<Netns>,
    },
}

/// The way to one proxy.
#[derive(Debug)]
struct Line {
    number: u64,
    since: Instant,
    jobs: mpsc::UnboundedSender<Job>,
    /// What the proxy said it serves.
    delivered: BTreeMap<PodUid, NetnsId>,
}

#[derive(Debug)]
enum Job {
    /// Have the pod served as the book has it. Without anybody to tell, the outcome becomes a notice.
    Add {
        uid: PodUid,
        tell: Option<oneshot::Sender<Result<(), AnnounceError>>>,
    },
    Delete {
        uid: PodUid,
        tell: oneshot::Sender<()>,
    },
}

impl Server {
    #[must_use]
    pub fn new(
        deadlines: Deadlines,
        notices: mpsc::UnboundedSender<Notice>,
        metrics: metrics::Proxies,
    ) -> Self {
        let complete = watch::Sender::new(false);
        Self(Arc::new(Shared { deadlines, notices, metrics, complete, state: Mutex::default() }))
    }

    /// Serves every proxy that connects, until the listener fails for good or the task is dropped.
    pub async fn serve(&self, listener: Listener) -> SocketError {
        let mut failures = 0;
        let places = Arc::new(Semaphore::new(PROXIES));
        // Connections end with the server.
        let mut tasks = JoinSet::new();
        loop {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = tasks.join_next() => continue,
            };
            match accepted {
                Ok(connection) => {
                    failures = 0;
                    let shared = Arc::clone(&self.0);
                    tasks.spawn(async move {
                        proxy::serve(shared, connection).await;
                        drop(place);
                    });
                }
                Err(error) if failures < ACCEPT_ATTEMPTS => {
                    tracing::warn!(%error, "a proxy's connection could not be accepted");
                    failures += 1;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                Err(error) => return error,
            }
        }
    }

    /// From now on proxies get their snapshot.
    pub fn complete(&self) {
        self.0.complete.send_replace(true);
    }

    /// Tells proxies that connect to leave their proxy for this pod alone, if they are told nothing better.
    pub fn keep(&self, uid: PodUid) {
        self.0.state.lock().book.entry(uid).or_insert(Booked::Kept);
    }

    /// Books the pod at once; the future ends when the newest proxy answered. Should that proxy go, the next takes
    /// its place. The booking stays whatever comes of it, and a proxy that connects later is offered the pod.
    pub fn announce(
        &self,
        uid: PodUid,
        info: WorkloadInfo,
        netns: Arc<Netns>,
    ) -> impl Future<Output = Result<(), AnnounceError>> + Send + use<> {
        self.0.state.lock().book.insert(uid.clone(), Booked::Served { info, netns });
        let shared = Arc::clone(&self.0);
        async move {
            loop {
                let (tell, answer) = oneshot::channel();
                let job = Job::Add { uid: uid.clone(), tell: Some(tell) };
                if !shared.give_newest(job) {
                    return Err(AnnounceError::NoProxy);
                }
                if let Ok(result) = answer.await {
                    return result;
                }
            }
        }
    }

    /// Strikes the pod from the book at once; the future ends when every proxy that is still there answered.
    pub fn retract(&self, uid: PodUid) -> impl Future<Output = ()> + Send + use<> {
        let mut answers = Vec::new();
        let mut state = self.0.state.lock();
        state.book.remove(&uid);
        for line in &state.lines {
            let (tell, answer) = oneshot::channel();
            // A proxy that just went has nothing to delete.
            let _ = line.jobs.send(Job::Delete { uid: uid.clone(), tell });
            answers.push(answer);
        }
        drop(state);
        async move {
            join_all(answers).await;
        }
    }

    /// How many proxies are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.0.state.lock().lines.len()
    }
}

impl Shared {
    fn give_newest(&self, job: Job) -> bool {
        let state = self.state.lock();
        state.lines.last().is_some_and(|newest| newest.jobs.send(job).is_ok())
    }

    /// Makes room for a proxy, the newest from now on.
    fn register(&self) -> (u64, mpsc::UnboundedReceiver<Job>) {
        let (jobs, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.lock();
        let number = state.next;
        state.next = number.wrapping_add(1);
        state.lines.push(Line { number, since: Instant::now(), jobs, delivered: BTreeMap::new() });
        self.notify(Notice::Connected(state.lines.len()));
        (number, receiver)
    }

    /// Forgets a proxy. If it was the newest, its predecessor learns what it was not told.
    fn unregister(&self, number: u64) {
        let mut state = self.state.lock();
        let newest = state.lines.last().is_some_and(|line| line.number == number);
        state.lines.retain(|line| line.number != number);
        self.notify(Notice::Connected(state.lines.len()));
        let Some(line) = state.lines.last().filter(|_| newest) else {
            return;
        };
        for (uid, booked) in &state.book {
            let Booked::Served { netns, .. } = booked else {
                continue;
            };
            if line.delivered.get(uid) != Some(&netns.id()) {
                let _ = line.jobs.send(Job::Add { uid: uid.clone(), tell: None });
            }
        }
    }

    fn book(&self) -> Vec<(PodUid, Booked)> {
        let state = self.state.lock();
        state.book.iter().map(|(uid, booked)| (uid.clone(), booked.clone())).collect()
    }

    fn booked(&self, uid: &PodUid) -> Option<(WorkloadInfo, Arc<Netns>)> {
        match self.state.lock().book.get(uid)? {
            Booked::Served { info, netns } => Some((info.clone(), Arc::clone(netns))),
            Booked::Kept => None,
        }
    }

    /// Notes what a proxy serves, or that it does not serve it.
    fn deliver(&self, number: u64, uid: &PodUid, netns: Option<NetnsId>) {
        let mut state = self.state.lock();
        let Some(line) = state.lines.iter_mut().find(|line| line.number == number) else {
            return;
        };
        match netns {
            Some(netns) => line.delivered.insert(uid.clone(), netns),
            None => line.delivered.remove(uid),
        };
    }

    fn delivered(&self, number: u64, uid: &PodUid) -> Option<NetnsId> {
        let state = self.state.lock();
        state.lines.iter().find(|line| line.number == number)?.delivered.get(uid).copied()
    }

    /// An agent that is ending hears no more.
    fn notify(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }
}

impl Default for Deadlines {
    /// As long as istio-cni gives a proxy.
    fn default() -> Self {
        Self { hello: Duration::from_secs(5), answer: Duration::from_secs(5) }
    }
}

/// Connected at once; more wait in the socket's queue. An update has two, one that goes badly a few.
const PROXIES: usize = 16;
const ACCEPT_ATTEMPTS: u32 = 50;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
