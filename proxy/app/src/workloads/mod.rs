//! Keeps one proxy for each pod that the node agent announces over ZDS.

mod reconcile;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cni_plugin_wire::seqpacket::Connection;
use cni_plugin_wire::zds::{self, Answer, DATAGRAM_LIMIT, PodUid, Request, WorkloadInfo, ZdsError};
use parking_lot::Mutex;
use proxy_core::model::PodInfo;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Chain;
use crate::metrics::PodMetrics;
use crate::net::listen::ListenError;
use crate::net::netns::Netns;
use crate::node::Node;
use crate::pod::{Place, Pod, Role};
use crate::ready::{self, Ready};
use reconcile::{Announced, OutOfOrder, Pods};

/// Time between attempts to start pods that could not be started.
const RETRY: Duration = Duration::from_secs(5);
/// How long a pod that ends may hold up the next one.
const FAREWELL: Duration = Duration::from_millis(250);
const FIRST_RECONNECT: Duration = Duration::from_millis(20);
const LAST_RECONNECT: Duration = Duration::from_secs(15);
/// After a message that was refused with its connection: no oftener than istio-cni accepts connections.
const AFTER_FAULT: Duration = Duration::from_millis(200);

/// The pods of this node, shared with admin and with the end of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workloads {
    entries: Arc<Mutex<HashMap<PodUid, Entry>>>,
    /// Proxies that no agent announced: of the process's own pod, or of the one workload it is for.
    residents: Arc<Mutex<Vec<Arc<Pod>>>>,
    /// Proxies that are on their way out.
    stopping: TaskTracker,
}

/// One announced pod.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) info: PodInfo,
    /// `None` while it cannot be started.
    pub(crate) pod: Option<Arc<Pod>>,
    netns: Netns,
}

impl Workloads {
    /// Every announced pod, sorted by UID.
    pub(crate) fn list(&self) -> Vec<(PodUid, Entry)> {
        let mut all: Vec<_> = self.entries.lock().iter().map(|(uid, e)| (uid.clone(), e.clone())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Takes in a proxy that is served until the process ends.
    pub(crate) fn settle(&self, pod: Arc<Pod>) {
        self.residents.lock().push(pod);
    }

    fn pods(&self) -> impl Iterator<Item = Arc<Pod>> {
        let residents = self.residents.lock().clone();
        self.list().into_iter().filter_map(|(_, entry)| entry.pod).chain(residents)
    }

    /// No pod accepts connections any more; those that are open go on.
    pub(crate) fn drain(&self) {
        for pod in self.pods() {
            pod.drain();
        }
    }

    /// Waits until no pod has an open connection.
    pub(crate) async fn finished(&self) {
        for pod in self.pods() {
            pod.finished().await;
        }
        self.stopping.close();
        self.stopping.wait().await;
    }

    /// Ends every connection and waits for the records of their endings. All are cut before the first is waited for: what
    /// little time is left is every pod's.
    pub(crate) async fn stop(&self) {
        for pod in self.pods() {
            pod.drain();
            pod.cut.cancel();
        }
        self.finished().await;
    }
}

/// Follows the node agent.
pub(crate) struct Follower {
    pub(crate) socket: PathBuf,
    pub(crate) node: Arc<Node>,
    pub(crate) home: Arc<OwnedFd>,
    pub(crate) workloads: Workloads,
    pub(crate) ready: Ready,
    pub(crate) metrics: PodMetrics,
}

impl Follower {
    /// Connects to the agent again and again, until `stop`. Proxies outlive the connection.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut this = Running { pods: Pods::default(), retry_at: Instant::now() + RETRY, follower: self };
        let mut wait = FIRST_RECONNECT;
        let mut complained = false;
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = this.connection() => ended,
            };
            this.pods.disconnected();
            this.follower.ready.pending(ready::PODS);
            match ended {
                Ended::NotConnected(error) if complained => {
                    tracing::debug!("still no connection to the node agent: {}", Chain(&error));
                }
                Ended::NotConnected(error) => {
                    tracing::warn!("no connection to the node agent, attempts go on: {}", Chain(&error));
                    complained = true;
                }
                Ended::Lost { why, wait: next } => {
                    tracing::warn!("connection to the node agent ended: {}", Chain(&why));
                    complained = false;
                    wait = next.unwrap_or(wait);
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = this.pause(wait) => {}
            }
            wait = (wait * 2).min(LAST_RECONNECT);
        }
    }
}

/// How one connection to the agent ended.
enum Ended {
    NotConnected(ZdsError),
    Lost {
        why: Broken,
        /// The time to the next attempt when this connection got somewhere; else attempts become rarer.
        wait: Option<Duration>,
    },
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Gone(ZdsError),
    /// The agent pairs answers with requests by order alone: after a message that could not be read, only a new
    /// connection is sure to be in step.
    #[error("a message cannot be read")]
    Unreadable(#[source] ZdsError),
    /// What the two sides hold to be announced may differ from here on. ztunnel ends its process over this, and with it
    /// every connection of every pod; a new connection tells everything anew just as well.
    #[error("a message is out of order")]
    OutOfOrder(#[source] OutOfOrder),
}

impl Broken {
    /// What the agent is told first, in ztunnel's words; nothing when nobody listens.
    fn answer(&self) -> Option<Answer> {
        match self {
            Self::Gone(_) => None,
            Self::Unreadable(error) => {
                Some(Answer::Failed(format!("failure to read message : {}", Chain(error))))
            }
            Self::OutOfOrder(error) => Some(Answer::Failed(format!("failure to process message : {error}"))),
        }
    }
}

struct Running {
    follower: Follower,
    pods: Pods,
    retry_at: Instant,
}

impl Running {
    async fn connection(&mut self) -> Ended {
        let connection = match connect(&self.follower.socket).await {
            Ok(connection) => connection,
            Err(error) => return Ended::NotConnected(error),
        };
        tracing::info!("connected to the node agent at {}", self.follower.socket.display());
        self.pods.connected();
        let mut heard = false;
        let why = loop {
            let request = tokio::select! {
                request = zds::receive_request(&connection) => request,
                () = sleep_until(self.retry_at) => {
                    self.retry_pending();
                    continue;
                }
            };
            let answer = match request {
                Ok(request) => self.answer(request).await,
                Err(error @ (ZdsError::Closed | ZdsError::Socket(_))) => break Broken::Gone(error),
                Err(error) => Err(Broken::Unreadable(error)),
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => break why,
            };
            heard |= answer == Answer::Done;
            self.publish();
            if let Err(error) = zds::send_answer(&connection, &answer).await {
                break Broken::Gone(error);
            }
        };
        let Some(answer) = why.answer() else {
            return Ended::Lost { why, wait: heard.then_some(FIRST_RECONNECT) };
        };
        // The connection is about to be closed; whether the agent still hears why changes nothing.
        let _ = zds::send_answer(&connection, &answer).await;
        Ended::Lost { why, wait: self.pods.is_ready().then_some(AFTER_FAULT) }
    }

    /// Waits, and goes on starting what could not be started: that needs no agent.
    async fn pause(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                () = sleep_until(end) => return,
                () = sleep_until(self.retry_at) => self.retry_pending(),
            }
        }
    }

    fn publish(&self) {
        let (running, pending) = self.pods.counts();
        self.follower.metrics.active.set(i64::try_from(running).unwrap_or(i64::MAX));
        self.follower.metrics.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        if self.pods.is_ready() {
            self.follower.ready.done(ready::PODS);
        }
    }

    async fn answer(&mut self, request: Request) -> Result<Answer, Broken> {
        match request {
            Request::Add { uid, info, netns } => return Ok(self.add(uid, &info, netns).await),
            Request::Keep { uid } => self.pods.kept(uid).map_err(Broken::OutOfOrder)?,
            Request::Delete { uid } => {
                tracing::info!("pod {uid} is withdrawn");
                if self.pods.deleted(&uid) || !self.is_running(&uid) {
                    self.stop(&uid).await;
                }
            }
            Request::SnapshotSent => {
                for uid in self.pods.snapshot_sent().map_err(Broken::OutOfOrder)? {
                    tracing::info!("pod {uid} is not in the snapshot any more");
                    self.stop(&uid).await;
                }
                self.forget_unstarted();
            }
        }
        Ok(Answer::Done)
    }

    fn is_running(&self, uid: &PodUid) -> bool {
        self.follower.workloads.entries.lock().get(uid).is_some_and(|entry| entry.pod.is_some())
    }

    /// Pods that never started and are not in the snapshot.
    fn forget_unstarted(&self) {
        let pods = &self.pods;
        self.follower
            .workloads
            .entries
            .lock()
            .retain(|uid, entry| entry.pod.is_some() || pods.is_pending(uid));
    }

    async fn add(&mut self, uid: PodUid, info: &WorkloadInfo, netns: OwnedFd) -> Answer {
        let info = PodInfo {
            name: info.name.as_str().into(),
            namespace: info.namespace.as_str().into(),
            service_account: info.service_account.as_str().into(),
        };
        let netns = match self.enterable(netns) {
            Ok(netns) => netns,
            Err(why) => {
                let why = format!("failure to start proxy : {info}: {why}");
                tracing::error!("pod {uid}: {why}");
                self.pods.named(&uid);
                return Answer::Failed(why);
            }
        };
        match self.pods.announced(&uid, netns.id()) {
            Announced::Runs => return Answer::Done,
            Announced::Start => {}
            Announced::Replace => self.stop(&uid).await,
        }
        match self.start(&uid, info.clone(), netns.clone()) {
            Ok(()) => Answer::Done,
            Err(error) => {
                let why = format!("failure to start proxy : {info}: {}", Chain(&error));
                tracing::error!("pod {uid}: {why}");
                self.pods.failed(uid.clone());
                self.follower.workloads.entries.lock().insert(uid, Entry { info, pod: None, netns });
                Answer::Failed(why)
            }
        }
    }

    /// A namespace that is not our own: listening there would capture the node's traffic as a pod's.
    fn enterable(&self, netns: OwnedFd) -> Result<Netns, String> {
        let examined = |error| format!("the descriptor cannot be examined: {error}");
        let netns = Netns::new(netns, Arc::clone(&self.follower.home)).map_err(examined)?;
        if !netns.is_namespace().map_err(examined)? {
            return Err("the descriptor is not a network namespace".to_owned());
        }
        if netns.is_home().map_err(examined)? {
            return Err("the network namespace is the proxy's own, not a pod's".to_owned());
        }
        Ok(netns)
    }

    fn start(&mut self, uid: &PodUid, info: PodInfo, netns: Netns) -> Result<(), ListenError> {
        let id = netns.id();
        let node = &self.follower.node;
        let place = Place { info: info.clone(), netns: netns.clone(), sockets: Arc::clone(&node.sockets) };
        let pod = Pod::bind(place, Role::pod(node.socks5()), node)?.serve();
        tracing::info!("pod {uid} ({info}) has its proxy");
        self.follower.metrics.started.inc();
        self.follower.workloads.entries.lock().insert(uid.clone(), Entry { info, pod: Some(pod), netns });
        self.pods.started(uid.clone(), id);
        Ok(())
    }

    /// Ends a pod's proxy at once: when this returns its ports are free, for a successor, and its peers are told unless that
    /// takes more than a moment, for the pod's network may go next. What takes longer is recorded beside, while other pods
    /// go on.
    async fn stop(&self, uid: &PodUid) {
        let entry = self.follower.workloads.entries.lock().remove(uid);
        let Some(pod) = entry.and_then(|entry| entry.pod) else { return };
        self.follower.metrics.stopped.inc();
        pod.drain();
        let ending = Arc::clone(&pod);
        let stopping = self.follower.workloads.stopping.spawn(async move { ending.stop().await });
        pod.unbound().await;
        // Whether it is over or not, the next pod's turn comes.
        let _ = timeout(FAREWELL, stopping).await;
    }

    fn retry_pending(&mut self) {
        self.retry_at = Instant::now() + RETRY;
        for (uid, entry) in self.follower.workloads.list() {
            if entry.pod.is_some() {
                continue;
            }
            if let Err(error) = self.start(&uid, entry.info, entry.netns) {
                tracing::warn!("pod {uid} still has no proxy: {}", Chain(&error));
            }
        }
        self.publish();
    }
}

async fn connect(socket: &Path) -> Result<Connection, ZdsError> {
    let connection = Connection::connect(socket, DATAGRAM_LIMIT)?;
    zds::send_hello(&connection).await?;
    Ok(connection)
}
