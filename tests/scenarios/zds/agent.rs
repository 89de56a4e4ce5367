//! A node agent that says what a scenario tells it to, and nothing else.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use cni_plugin_wire::seqpacket::{Connection, Listener};
use cni_plugin_wire::zds::{self, ANSWER_LIMIT, Answer, PodUid, Request, WorkloadInfo, ZdsError};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tests::lab::{Netns, Node, Pod};
use tokio::runtime::Runtime;

/// Listens where the real agent did.
pub(super) struct Agent {
    listener: Listener,
    runtime: Runtime,
}

impl Agent {
    /// Ends the node's agent and takes its socket over: the proxy that is running comes here next.
    #[track_caller]
    pub(super) fn instead_of_the_real_one(node: &Node) -> Self {
        node.agent().kill();
        Self::listen(Path::new(&node.proxy_spec().env["INPOD_UDS"]))
    }

    /// Listens on a socket.
    #[track_caller]
    pub(super) fn listen(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bind = || Listener::bind(path, 0o600, ANSWER_LIMIT);
        let listener =
            runtime.block_on(async { bind() }).unwrap_or_else(|e| panic!("{e}: {}", path.display()));
        Self { listener, runtime }
    }

    /// The proxy's next connection, greeted.
    #[track_caller]
    pub(super) fn accept(&self) -> Session<'_> {
        let connection = self.wait("the proxy connects", async {
            let connection = self.listener.accept().await?;
            assert_eq!(zds::receive_hello(&connection).await?, 1, "the version of the protocol");
            Ok(connection)
        });
        Session { agent: self, connection }
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, work: impl Future<Output = Result<T, ZdsError>>) -> T {
        let waited = async { tokio::time::timeout(LIMIT, work).await };
        match self.runtime.block_on(waited) {
            Ok(Ok(done)) => done,
            Ok(Err(why)) => panic!("{what}: {why}"),
            Err(_) => panic!("{what}: not within {LIMIT:?}"),
        }
    }
}

/// One connection of the proxy. Dropping it is an agent that went away.
pub(super) struct Session<'a> {
    agent: &'a Agent,
    connection: Connection,
}

impl Session<'_> {
    /// Announces a pod under its own UID.
    #[track_caller]
    pub(super) fn add(&self, pod: &Pod) -> Answer {
        self.add_as(pod.uid(), pod, pod.netns().file())
    }

    /// Announces a pod under a UID, with a descriptor.
    #[track_caller]
    pub(super) fn add_as(&self, uid: &str, pod: &Pod, netns: impl AsFd) -> Answer {
        let request = Request::Add { uid: PodUid(uid.to_owned()), info: info(pod), netns: netns.as_fd() };
        self.ask(&request)
    }

    /// Says that a pod lives.
    #[track_caller]
    pub(super) fn keep(&self, uid: &str) -> Answer {
        self.ask::<BorrowedFd<'_>>(&Request::Keep { uid: PodUid(uid.to_owned()) })
    }

    /// Withdraws a pod.
    #[track_caller]
    pub(super) fn delete(&self, uid: &str) -> Answer {
        self.ask::<BorrowedFd<'_>>(&Request::Delete { uid: PodUid(uid.to_owned()) })
    }

    /// Ends the snapshot.
    #[track_caller]
    pub(super) fn snapshot_sent(&self) -> Answer {
        self.ask::<BorrowedFd<'_>>(&Request::SnapshotSent)
    }

    /// A whole snapshot, every message of it accepted.
    #[track_caller]
    pub(super) fn snapshot(&self, pods: &[&Pod]) {
        for pod in pods {
            assert_eq!(self.add(pod), Answer::Done, "{} is announced", pod.name());
        }
        assert_eq!(self.snapshot_sent(), Answer::Done, "the snapshot ends");
    }

    /// Sends a datagram as it stands, with descriptors; answers what the proxy says to it.
    #[track_caller]
    pub(super) fn send(&self, bytes: &[u8], descriptors: &[&Netns]) -> Answer {
        let fds: Vec<_> = descriptors.iter().map(|netns| netns.file().as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&self.connection, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
            .expect("the datagram is sent");
        self.agent.wait("the proxy answers a datagram", zds::receive_answer(&self.connection))
    }

    /// Waits for the proxy to close the connection; it must not say anything more.
    #[track_caller]
    pub(super) fn ends(self) {
        let closed = async {
            match zds::receive_answer(&self.connection).await {
                Err(ZdsError::Closed) => Ok(()),
                Err(other) => Err(other),
                Ok(answer) => panic!("the proxy goes on: {answer:?}"),
            }
        };
        self.agent.wait("the proxy closes the connection", closed);
    }

    #[track_caller]
    fn ask<N: AsFd>(&self, request: &Request<N>) -> Answer {
        self.agent.wait("the proxy answers", async {
            zds::send_request(&self.connection, request).await?;
            zds::receive_answer(&self.connection).await
        })
    }
}

/// What a refusal says; panics on a success.
#[track_caller]
pub(super) fn refusal(answer: Answer) -> String {
    match answer {
        Answer::Failed(why) => why,
        Answer::Done => panic!("the message was accepted"),
    }
}

fn info(pod: &Pod) -> WorkloadInfo {
    let object = pod.object();
    WorkloadInfo {
        name: pod.name().to_owned(),
        namespace: pod.namespace().to_owned(),
        service_account: object["spec"]["serviceAccountName"].as_str().unwrap_or_default().to_owned(),
    }
}

/// No answer takes longer, and no reconnection: its pauses grow to 15 seconds.
const LIMIT: Duration = Duration::from_secs(20);
