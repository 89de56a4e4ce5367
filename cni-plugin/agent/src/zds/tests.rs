use std::os::fd::OwnedFd;
use std::path::PathBuf;

use cni_plugin_wire::seqpacket::Connection;
use cni_plugin_wire::zds::{self, Answer, DATAGRAM_LIMIT, Request};

use super::*;
use crate::netns::tests::{TempDir, stand_in};

/// A server on a socket of its own.
struct Rig {
    _dir: TempDir,
    path: PathBuf,
    server: Server,
    notices: mpsc::UnboundedReceiver<Notice>,
    metrics: metrics::Metrics,
}

impl Rig {
    fn new(deadlines: Deadlines) -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("zds.sock");
        let (sender, notices) = mpsc::unbounded_channel();
        let metrics = metrics::Metrics::new();
        let server = Server::new(deadlines, sender, metrics.proxies.clone());
        let listener = Listener::bind(&path, 0o600, zds::ANSWER_LIMIT).unwrap();
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        Self { _dir: dir, path, server, notices, metrics }
    }

    /// As slow as it takes.
    fn patient() -> Self {
        Self::new(Deadlines { hello: Duration::from_secs(60), answer: Duration::from_secs(60) })
    }

    /// A proxy that said hello and is known to the server.
    async fn proxy(&mut self) -> Proxy {
        let before = self.server.connected();
        let proxy = Proxy(Connection::connect(&self.path, DATAGRAM_LIMIT).unwrap());
        zds::send_hello(&proxy.0).await.unwrap();
        self.connected(before + 1).await;
        proxy
    }

    async fn connected(&mut self, want: usize) {
        while self.server.connected() != want {
            self.notices.recv().await.unwrap();
        }
    }

    /// The next notice about a pod.
    async fn notice(&mut self) -> Notice {
        loop {
            match self.notices.recv().await.unwrap() {
                Notice::Connected(_) => {}
                notice @ (Notice::Delivered { .. } | Notice::Refused { .. }) => return notice,
            }
        }
    }

    fn ack_errors(&self, why: &str) -> bool {
        let text = self.metrics.encode().unwrap();
        text.contains(&format!("adit_agent_ack_errors_total{{why=\"{why}\"}} 1"))
    }

    fn announce(&self, pod: &str, netns: &Arc<Netns>) -> tokio::task::JoinHandle<Result<(), AnnounceError>> {
        tokio::spawn(self.server.announce(uid(pod), info(pod), Arc::clone(netns)))
    }
}

/// The proxy's end, driven by hand.
struct Proxy(Connection);

impl Proxy {
    async fn asked(&self) -> Request {
        zds::receive_request(&self.0).await.unwrap()
    }

    async fn answer(&self, answer: Answer) {
        zds::send_answer(&self.0, &answer).await.unwrap();
    }

    /// Expects this request and carries it out.
    async fn takes(&self, want: &str) -> Option<OwnedFd> {
        let asked = self.asked().await;
        assert_eq!(words(&asked), want);
        self.answer(Answer::Done).await;
        match asked {
            Request::Add { netns, .. } => Some(netns),
            Request::Keep { .. } | Request::Delete { .. } | Request::SnapshotSent => None,
        }
    }
}

fn words(request: &Request) -> String {
    match request {
        Request::Add { uid, info, .. } => {
            format!("add {uid} {}/{} {}", info.namespace, info.name, info.service_account)
        }
        Request::Keep { uid } => format!("keep {uid}"),
        Request::Delete { uid } => format!("delete {uid}"),
        Request::SnapshotSent => "snapshot sent".to_owned(),
    }
}

fn uid(pod: &str) -> PodUid {
    PodUid(format!("u-{pod}"))
}

fn info(pod: &str) -> WorkloadInfo {
    WorkloadInfo { name: pod.to_owned(), namespace: "mesh".to_owned(), service_account: "sa".to_owned() }
}

#[tokio::test]
async fn a_proxy_gets_the_whole_book_and_then_what_changes() {
    let mut rig = Rig::patient();
    let netns = Arc::new(stand_in());
    assert_eq!(rig.announce("a", &netns).await.unwrap(), Err(AnnounceError::NoProxy));
    rig.server.keep(uid("b"));
    rig.server.keep(uid("a"));
    rig.server.complete();
    let proxy = rig.proxy().await;
    let fd = proxy.takes("add u-a mesh/a sa").await.unwrap();
    assert_eq!(Netns::from_fd(fd, "received".as_ref()).unwrap().id(), netns.id());
    proxy.takes("keep u-b").await;
    proxy.takes("snapshot sent").await;
    assert_eq!(rig.notice().await, Notice::Delivered { uid: uid("a"), netns: netns.id() });

    let added = rig.announce("c", &Arc::new(stand_in()));
    proxy.takes("add u-c mesh/c sa").await;
    assert_eq!(added.await.unwrap(), Ok(()));
    let deleted = tokio::spawn(rig.server.retract(uid("a")));
    proxy.takes("delete u-a").await;
    deleted.await.unwrap();
}

#[tokio::test]
async fn no_snapshot_is_given_before_the_book_is_complete() {
    let mut rig = Rig::patient();
    let proxy = rig.proxy().await;
    let netns = Arc::new(stand_in());
    let added = rig.announce("a", &netns);
    rig.server.keep(uid("b"));
    rig.server.complete();
    proxy.takes("add u-a mesh/a sa").await;
    proxy.takes("keep u-b").await;
    proxy.takes("snapshot sent").await;
    // The snapshot told it already: nothing more is sent.
    assert_eq!(added.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn one_request_is_under_way_at_a_time() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.takes("snapshot sent").await;
    let first = rig.announce("a", &Arc::new(stand_in()));
    assert_eq!(words(&proxy.asked().await), "add u-a mesh/a sa");
    let second = tokio::spawn(rig.server.retract(uid("z")));
    tokio::task::yield_now().await;
    let early = futures_util::FutureExt::now_or_never(proxy.0.recv());
    assert!(early.is_none(), "{early:?}");
    proxy.answer(Answer::Done).await;
    assert_eq!(first.await.unwrap(), Ok(()));
    proxy.takes("delete u-z").await;
    second.await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_and_the_pod_can_be_announced_again() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.takes("snapshot sent").await;
    let netns = Arc::new(stand_in());
    let refused = rig.announce("a", &netns);
    proxy.asked().await;
    proxy.answer(Answer::Failed("no listener".to_owned())).await;
    assert_eq!(refused.await.unwrap(), Err(AnnounceError::Refused("no listener".to_owned())));
    let again = rig.announce("a", &netns);
    proxy.takes("add u-a mesh/a sa").await;
    assert_eq!(again.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_refusal_in_a_snapshot_is_noticed() {
    let mut rig = Rig::patient();
    let netns = Arc::new(stand_in());
    let _ = rig.announce("a", &netns).await;
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.asked().await;
    proxy.answer(Answer::Failed("no".to_owned())).await;
    proxy.takes("snapshot sent").await;
    let why = AnnounceError::Refused("no".to_owned()).to_string();
    assert_eq!(rig.notice().await, Notice::Refused { uid: uid("a"), netns: netns.id(), why });
}

#[tokio::test]
async fn additions_go_to_the_newest_and_deletions_to_all() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let old = rig.proxy().await;
    old.takes("snapshot sent").await;
    let new = rig.proxy().await;
    new.takes("snapshot sent").await;
    let added = rig.announce("a", &Arc::new(stand_in()));
    new.takes("add u-a mesh/a sa").await;
    assert_eq!(added.await.unwrap(), Ok(()));
    let deleted = tokio::spawn(rig.server.retract(uid("b")));
    old.takes("delete u-b").await;
    new.takes("delete u-b").await;
    deleted.await.unwrap();
}

#[tokio::test]
async fn when_the_newest_goes_its_predecessor_learns_what_it_was_not_told() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let old = rig.proxy().await;
    old.takes("snapshot sent").await;
    let new = rig.proxy().await;
    new.takes("snapshot sent").await;
    let netns = Arc::new(stand_in());
    let told = rig.announce("a", &netns);
    new.takes("add u-a mesh/a sa").await;
    assert_eq!(told.await.unwrap(), Ok(()));
    // This one is under way when the proxy goes.
    let waiting = rig.announce("b", &Arc::new(stand_in()));
    assert_eq!(words(&new.asked().await), "add u-b mesh/b sa");
    drop(new);
    old.takes("add u-a mesh/a sa").await;
    assert_eq!(rig.notice().await, Notice::Delivered { uid: uid("a"), netns: netns.id() });
    old.takes("add u-b mesh/b sa").await;
    assert_eq!(waiting.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_proxy_that_comes_back_gets_everything_again() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let first = rig.proxy().await;
    first.takes("snapshot sent").await;
    let added = rig.announce("a", &Arc::new(stand_in()));
    first.takes("add u-a mesh/a sa").await;
    assert_eq!(added.await.unwrap(), Ok(()));
    drop(first);
    rig.connected(0).await;
    let again = rig.proxy().await;
    again.takes("add u-a mesh/a sa").await;
    again.takes("snapshot sent").await;
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_answer_is_let_go_and_delays_no_other() {
    let mut rig = Rig::new(Deadlines::default());
    rig.server.complete();
    let old = rig.proxy().await;
    old.takes("snapshot sent").await;
    let slow = rig.proxy().await;
    slow.takes("snapshot sent").await;
    let added = rig.announce("a", &Arc::new(stand_in()));
    assert_eq!(words(&slow.asked().await), "add u-a mesh/a sa");
    old.takes("add u-a mesh/a sa").await;
    assert_eq!(added.await.unwrap(), Ok(()));
    assert!(slow.0.recv().await.is_err());
    assert_eq!(rig.server.connected(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_hello_is_no_proxy() {
    let rig = Rig::new(Deadlines::default());
    rig.server.complete();
    let silent = Connection::connect(&rig.path, DATAGRAM_LIMIT).unwrap();
    assert!(silent.recv().await.is_err());
    assert_eq!(rig.server.connected(), 0);
}

#[tokio::test]
async fn a_proxy_that_speaks_unasked_is_let_go() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.takes("snapshot sent").await;
    proxy.answer(Answer::Done).await;
    assert!(proxy.0.recv().await.is_err());
    rig.connected(0).await;
}

#[tokio::test]
async fn a_pod_whose_names_do_not_fit_is_refused_and_the_proxy_stays() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.takes("snapshot sent").await;
    let long = "x".repeat(DATAGRAM_LIMIT);
    let refused = rig.server.announce(uid("a"), info(&long), Arc::new(stand_in())).await;
    assert!(matches!(refused, Err(AnnounceError::Refused(_))), "{refused:?}");
    let added = rig.announce("b", &Arc::new(stand_in()));
    proxy.takes("add u-b mesh/b sa").await;
    assert_eq!(added.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_pod_withdrawn_while_it_waits_is_never_sent() {
    let mut rig = Rig::patient();
    let proxy = rig.proxy().await;
    let added = rig.announce("a", &Arc::new(stand_in()));
    tokio::task::yield_now().await;
    let deleted = tokio::spawn(rig.server.retract(uid("a")));
    rig.server.complete();
    proxy.takes("snapshot sent").await;
    assert_eq!(added.await.unwrap(), Err(AnnounceError::Withdrawn));
    proxy.takes("delete u-a").await;
    deleted.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_never_taken_for_that_of_the_next_request() {
    let mut rig = Rig::new(Deadlines::default());
    rig.server.complete();
    let slow = rig.proxy().await;
    slow.takes("snapshot sent").await;
    let (first, second) = (Arc::new(stand_in()), Arc::new(stand_in()));
    let added = [rig.announce("a", &first), rig.announce("b", &second)];
    assert_eq!(words(&slow.asked().await), "add u-a mesh/a sa");
    for added in added {
        assert_eq!(added.await.unwrap(), Err(AnnounceError::NoProxy), "nobody answered in time");
    }
    // Too late for the first, and it does not answer the second.
    assert!(zds::send_answer(&slow.0, &Answer::Done).await.is_err());
    assert!(rig.ack_errors("timed_out"));
    let again = rig.proxy().await;
    assert_eq!(words(&again.asked().await), "add u-a mesh/a sa");
    again.answer(Answer::Failed("no".to_owned())).await;
    again.takes("add u-b mesh/b sa").await;
    again.takes("snapshot sent").await;
    assert!(matches!(rig.notice().await, Notice::Refused { uid: pod, .. } if pod == uid("a")));
    assert_eq!(rig.notice().await, Notice::Delivered { uid: uid("b"), netns: second.id() });
    assert!(rig.ack_errors("refused"));
}

#[tokio::test]
async fn a_refusal_longer_than_istio_cni_reads_is_heard_to_its_end() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.takes("snapshot sent").await;
    let refused = rig.announce("a", &Arc::new(stand_in()));
    proxy.asked().await;
    // An Ack as a proxy writes it that does not shorten its text: field 1 of field 1.
    let why = "because ".repeat(500);
    assert_eq!(why.len(), 0x1f << 7 | 0x20);
    let mut bytes = vec![0x0a, 0xa3, 0x1f, 0x0a, 0xa0, 0x1f];
    bytes.extend(why.as_bytes());
    proxy.0.send(&bytes, None).await.unwrap();
    assert_eq!(refused.await.unwrap(), Err(AnnounceError::Refused(why)));
}

#[tokio::test]
async fn a_pod_that_moved_is_told_to_the_predecessor_again() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let old = rig.proxy().await;
    old.takes("snapshot sent").await;
    let (before, after) = (Arc::new(stand_in()), Arc::new(stand_in()));
    let added = rig.announce("a", &before);
    old.takes("add u-a mesh/a sa").await;
    assert_eq!(added.await.unwrap(), Ok(()));
    let new = rig.proxy().await;
    new.takes("add u-a mesh/a sa").await;
    new.takes("snapshot sent").await;
    let moved = rig.announce("a", &after);
    new.takes("add u-a mesh/a sa").await;
    assert_eq!(moved.await.unwrap(), Ok(()));
    let [first, second] = rig.server.dump().proxies.try_into().unwrap();
    assert_eq!((first.lacks, second.lacks), (vec!["u-a".to_owned()], vec![]));
    drop(new);
    let fd = old.takes("add u-a mesh/a sa").await.unwrap();
    assert_eq!(Netns::from_fd(fd, "received".as_ref()).unwrap().id(), after.id());
}

#[tokio::test]
async fn bytes_that_are_no_answer_end_the_connection() {
    let mut rig = Rig::patient();
    rig.server.complete();
    let proxy = rig.proxy().await;
    proxy.takes("snapshot sent").await;
    let added = rig.announce("a", &Arc::new(stand_in()));
    proxy.asked().await;
    proxy.0.send(&[0xff; 8], None).await.unwrap();
    assert_eq!(added.await.unwrap(), Err(AnnounceError::NoProxy));
    assert!(proxy.0.recv().await.is_err());
    assert!(rig.ack_errors("broken"));
}
