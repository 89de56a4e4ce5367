//! Certificates: who is refused and cut off by a revocation list, and what a rotation and a missing authority cost: nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use proxy_mtls::TlsLimits;
use tests::lab::peer::credentials;
use tests::lab::proxy::Certified;
use tests::lab::{Authority, Conn, Lab, Node, Pod, Server, Speaks, always, eventually, within};
use tokio::net::TcpStream;

use super::{captured, meshed, uncaptured};

pub(crate) fn a_revoked_client_is_refused_at_the_destination_until_its_list_goes() {
    let story = Story::new(&["b"]);
    let serial = story.serial(&story.client);
    story.list("b", &story.a.revoke(&[serial]));
    story.wait_refused();
    assert!(story.rejections("b", "destination") >= 1.0);
    assert_eq!(story.rejections("a", "source"), 0.0);
    story.list("b", "");
    story.wait_served();
}

pub(crate) fn a_revoked_server_is_refused_at_the_source_until_its_list_goes() {
    let story = Story::new(&["a"]);
    let serial = story.serial(&story.server);
    story.list("a", &story.a.revoke(&[serial]));
    story.wait_refused();
    assert!(story.rejections("a", "source") >= 1.0);
    assert_eq!(story.rejections("b", "destination"), 0.0);
    story.list("a", "");
    story.wait_served();
}

pub(crate) fn a_list_that_names_a_client_ends_its_open_tunnel() {
    let story = Story::new(&["b"]);
    let mut open = story.open();
    story.list("b", &story.a.revoke(&[]));
    always(Duration::from_secs(1), "a list of nobody ends nothing", || {
        open.echo("on");
        Ok::<_, String>(())
    });
    story.list("b", &story.a.revoke(&[story.serial(&story.client)]));
    story.ends_as_revoked(&mut open, "b", "destination");
}

pub(crate) fn a_list_that_names_a_server_ends_its_open_tunnel() {
    let story = Story::new(&["a"]);
    let mut open = story.open();
    story.list("a", &story.a.revoke(&[story.serial(&story.server)]));
    story.ends_as_revoked(&mut open, "a", "source");
}

pub(crate) fn a_list_that_is_corrupt_at_the_start_is_enforced_once_it_is_repaired() {
    let story = Story::new(&[]);
    story.list("b", "garbage");
    story.restart_with_list("b", &[]);
    story.wait_served();
    let metrics = story.lab.node("b").proxy().metrics();
    assert_eq!(metrics.sum("adit_crl_refused_files_total", &[]), 1.0);
    assert!(metrics.sum("adit_crl_unchecked_peers_total", &[("reporter", "destination")]) >= 1.0);
    story.list("b", &story.a.revoke(&[story.serial(&story.client)]));
    story.wait_refused();
    assert!(story.rejections("b", "destination") >= 1.0);
    // What is corrupt later changes nothing.
    story.list("b", "garbage again");
    eventually("the second bad file is told", || {
        match story.lab.node("b").proxy().metrics().sum("adit_crl_refused_files_total", &[]) {
            2.0 => Ok(()),
            seen => Err(seen.to_string()),
        }
    });
    assert!(!story.is_served());
}

pub(crate) fn a_list_that_is_corrupt_at_the_start_refuses_every_peer_where_that_is_asked_for() {
    let story = Story::new(&[]);
    story.list("b", "garbage");
    story.restart_with_list("b", &[("ADIT_UNREADABLE_CRL", "enforce")]);
    story.wait_refused();
    story.list("b", "");
    story.wait_served();
}

pub(crate) fn a_peer_of_another_trust_domain_is_refused() {
    let lab = meshed();
    let server = captured(&lab, "server", "b");
    let _echo = server.serve(ECHO, Speaks::Echo);
    let stranger = uncaptured(&lab, "stranger", "a");
    for (identity, welcome) in [
        ("spiffe://cluster.local/ns/default/sa/stranger", true),
        ("spiffe://other.mesh/ns/default/sa/stranger", false),
    ] {
        let ours = credentials(identity, &lab.control().issue(identity));
        let (at, expected) = (server.at(15008), [server.identity().parse().expect("an identity")]);
        // In TLS 1.3 a client learns of its refusal when it reads.
        let heard = stranger.block_on(|| async {
            let socket = TcpStream::connect(at).await.expect("the tunnel port");
            let connected = proxy_mtls::connect(socket, &ours, &expected, &TlsLimits::default()).await;
            let stream = connected.expect("the server is who it should be").stream;
            let settings = h2::client::handshake(stream).await;
            let (mut requests, connection) = settings.expect("nothing is read yet");
            let driven = tokio::spawn(connection);
            let answered = async {
                let request = http::Request::connect("10.9.9.9:80").body(()).expect("a request");
                requests.send_request(request, true)?.0.await
            };
            let heard = answered.await.map(|response| response.status());
            driven.abort();
            heard
        });
        assert_eq!(heard.is_ok(), welcome, "{identity}: {heard:?}");
    }
}

pub(crate) fn certificates_are_fetched_for_the_nodes_own_pods_and_kept_until_the_last_of_them_goes() {
    let lab = meshed();
    let on = |name: &str, node: &str| {
        let pod = lab.pod(name).on(node).service_account("shared").create();
        pod.wait_enrolled();
        pod
    };
    let (first, second) = (on("first", "a"), on("second", "a"));
    let elsewhere = captured(&lab, "elsewhere", "b");
    uncaptured(&lab, "outside", "a");
    let identities = |node: &str| -> Result<BTreeSet<String>, String> {
        let mut all: BTreeSet<_> = lab.node(node).proxy().certificates()?.into_keys().collect();
        // ztunnel's own, by which its metrics are scraped.
        all.retain(|identity| !identity.ends_with("/sa/ztunnel"));
        Ok(all)
    };
    let expect = |node: &str, want: &[String]| {
        let want: BTreeSet<_> = want.iter().cloned().collect();
        eventually(format_args!("node {node} has certificates for {want:?}"), || {
            let seen = identities(node)?;
            if seen == want { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    };
    expect("a", &[first.identity()]);
    expect("b", &[elsewhere.identity()]);
    let kept = first.identity();
    let serial = lab.node("a").proxy().certificates().expect("a dump")[&kept].serial.clone();
    first.delete();
    second.wait_enrolled();
    lab.node("a").proxy().wait_no_workload("default", "first");
    assert_eq!(lab.node("a").proxy().certificates().expect("a dump")[&kept].serial, serial);
    second.delete();
    expect("a", &[]);
    expect("b", &[elsewhere.identity()]);
}

pub(crate) fn a_root_rotation_drops_no_connection_and_refuses_no_new_one() {
    let story = Story::short_lived();
    let b = Authority::new("b");
    let mut open = story.open();
    let control = story.lab.control().standalone();
    let a = &story.a;
    for (signs, also, what) in [(a, Some(&b), "A and B"), (&b, Some(a), "B and A"), (&b, None, "B alone")] {
        let before = story.certificates().expect("dumps");
        let others: Vec<_> = also.into_iter().collect();
        control.restart_as(signs, &others);
        let want = others.len() + 1;
        within(PHASE, format_args!("every certificate comes from the authority of {what}"), || {
            story.talks(&mut open);
            story.renewed_since(&before, want)
        });
    }
    for certified in story.certificates().expect("dumps").values() {
        assert_eq!(certified.roots, [b.serial()]);
    }
    story.talks(&mut open);
}

pub(crate) fn without_the_authority_certificates_serve_on_and_are_renewed_when_it_is_back() {
    let story = Story::short_lived();
    let mut open = story.open();
    let before = story.certificates().expect("dumps");
    story.lab.control().standalone().process().kill();
    // Renewals fall due five seconds after a certificate is issued.
    always(Duration::from_secs(8), "the certificates serve on", || {
        story.talks(&mut open);
        Ok::<_, String>(())
    });
    story.lab.control().standalone().restart_as(&story.a, &[]);
    within(PHASE, "every certificate is renewed", || {
        story.talks(&mut open);
        story.renewed_since(&before, 1)
    });
}

/// A client on node `a` and a server on node `b`, under an authority of the story's own.
struct Story {
    lab: Lab,
    a: Authority,
    client: Pod,
    server: Pod,
    _echo: Server,
}

impl Story {
    /// With revocation lists on these nodes, which begin empty.
    fn new(lists: &[&str]) -> Self {
        let lab = Lab::new().standalone().start();
        let a = Authority::new("a");
        lab.control().standalone().restart_as(&a, &[]);
        for node in lists {
            let file = crl(&lab.node(node));
            std::fs::write(&file, "").expect("a file of no lists");
            lab.node(node).restart_proxy(|spec| spec.env("CRL_PATH", &file.display().to_string()));
        }
        Self::with(lab, a)
    }

    /// With certificates that are renewed every five seconds: they are dated two minutes back. No connection serves two
    /// streams, so that each of them shakes hands.
    fn short_lived() -> Self {
        let lab = Lab::new()
            .standalone()
            .proxy_env("SECRET_TTL", "130s")
            .proxy_env("POOL_MAX_STREAMS_PER_CONNECTION", "1")
            .proxy_env("POOL_UNUSED_RELEASE_TIMEOUT", "1ms")
            .start();
        let a = Authority::new("a");
        lab.control().standalone().restart_as(&a, &[]);
        Self::with(lab, a)
    }

    fn with(lab: Lab, a: Authority) -> Self {
        lab.enroll_namespace("default");
        let (client, server) = (captured(&lab, "client", "a"), captured(&lab, "server", "b"));
        let echo = server.serve(ECHO, Speaks::Echo);
        let story = Self { lab, a, client, server, _echo: echo };
        eventually("both have certificates", || match story.certificates()?.len() {
            2 => Ok(()),
            seen => Err(format!("{seen}")),
        });
        story
    }

    /// Starts a node's proxy again, with the file of its lists as it is.
    fn restart_with_list(&self, node: &str, also: &[(&str, &str)]) {
        let node = self.lab.node(node);
        let file = crl(&node).display().to_string();
        node.restart_proxy(|spec| {
            also.iter().fold(spec.env("CRL_PATH", &file), |spec, (key, value)| spec.env(key, value))
        });
        for pod in [&self.client, &self.server] {
            pod.wait_known("HBONE");
        }
    }

    /// Replaces a node's lists, whole.
    fn list(&self, node: &str, text: &str) {
        let file = crl(&self.lab.node(node));
        let aside = file.with_extension("new");
        std::fs::write(&aside, text).expect("a file of lists");
        std::fs::rename(aside, file).expect("put the file of lists in place");
    }

    /// The serial number of a pod's certificate.
    fn serial(&self, pod: &Pod) -> String {
        pod.node().proxy().certificates().expect("a dump")[&pod.identity()].serial.clone()
    }

    /// The certificates of both pods.
    fn certificates(&self) -> Result<BTreeMap<String, Certified>, String> {
        let mut all = BTreeMap::new();
        for pod in [&self.client, &self.server] {
            let mut found = pod.node().proxy().certificates()?;
            if let Some(certified) = found.remove(&pod.identity()) {
                all.insert(pod.identity(), certified);
            }
        }
        Ok(all)
    }

    /// Whether both certificates are others than before, each with so many roots.
    fn renewed_since(&self, before: &BTreeMap<String, Certified>, roots: usize) -> Result<(), String> {
        let now = self.certificates()?;
        let renewed = before.iter().all(|(identity, old)| {
            now.get(identity).is_some_and(|new| new.serial != old.serial && new.roots.len() == roots)
        });
        if renewed { Ok(()) } else { Err(format!("{now:?}")) }
    }

    fn open(&self) -> Conn {
        let mut open = self.client.connect(self.server.at(ECHO));
        open.echo("hello");
        open
    }

    /// The connection that is open goes on, and a new one comes about.
    fn talks(&self, open: &mut Conn) {
        open.echo("still here");
        self.open();
    }

    fn is_served(&self) -> bool {
        let Ok(mut new) = self.client.try_connect(self.server.at(ECHO)) else { return false };
        new.try_say("hello").is_ok() && new.try_hear("hello").is_ok()
    }

    fn wait_served(&self) {
        eventually("a new connection is served", || if self.is_served() { Ok(()) } else { Err("refused") });
    }

    fn wait_refused(&self) {
        eventually("a new connection is refused", || if self.is_served() { Err("served") } else { Ok(()) });
    }

    fn rejections(&self, node: &str, reporter: &str) -> f64 {
        let metrics = self.lab.node(node).proxy().metrics();
        metrics.sum("istio_crl_policy_rejections_total", &[("reporter", reporter)])
    }

    /// The open connection ends within a bounded time, and is recorded for what it was.
    fn ends_as_revoked(&self, open: &mut Conn, node: &str, reporter: &str) {
        // However the proxy ends it, nothing more is heard: `rest` waits no longer than a client may.
        assert_eq!(open.rest().0, "");
        eventually("the ending is counted", || {
            let metrics = self.lab.node(node).proxy().metrics();
            let flags = [("reporter", reporter), ("response_flags", "CERT_REVOKED")];
            match metrics.sum("istio_tcp_connections_closed_total", &flags) {
                1.0 => Ok(()),
                seen => Err(format!("{seen} closed as revoked")),
            }
        });
        assert!(self.rejections(node, reporter) >= 1.0);
        self.wait_refused();
        eventually("the server hears of it", || {
            match self._echo.served().first().and_then(|served| served.end) {
                Some(_) => Ok(()),
                None => Err("still open"),
            }
        });
    }
}

/// The file of a node's revocation lists.
fn crl(node: &Node) -> PathBuf {
    node.home().join("crl.pem")
}

const ECHO: u16 = 7001;
/// A renewal on both nodes, after an authority that was away: back-off included.
const PHASE: Duration = Duration::from_secs(40);
