//! Peers that mean harm, and applications that take too much: who else notices, and what is left of it.

mod peer;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::lab::{Conn, Lab, Netns, Pod, Proxy, Server, Speaks, eventually};

use super::{captured, meshed_proxies, uncaptured};
use peer::{CONTINUATION, DATA, END_HEADERS, HEADERS, Peer, RST_STREAM, SETTINGS, connect_to, frame};

pub(crate) fn garbage_on_every_port_is_nobody_elses_concern() {
    let story = Story::new(&[("ADIT_TLS_HANDSHAKE_TIMEOUT", "2s"), ("ADIT_SETTINGS_TIMEOUT", "2s")]);
    let mut open = story.talk();
    let before = story.resources();
    let node = story.lab.node("b").netns().clone();
    let outside = story.stranger.netns().clone();
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let places: Vec<(Netns, SocketAddr)> = [15001, 15006, 15008, 15053, 15080]
        .map(|port| (outside.clone(), story.server.at(port)))
        .into_iter()
        .chain([15000, 15020, 15021].map(|port| (node.clone(), here(port))))
        .collect();
    for (from, to) in &places {
        for (what, bytes) in garbage() {
            // Some ports are nobody's, and some hang up before all is said.
            let stream = from.run(|| TcpStream::connect_timeout(to, Duration::from_secs(5)));
            if let Ok(mut stream) = stream {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
                let _ = stream.write_all(&bytes);
                let _ = stream.read(&mut [0; 1024]);
            }
            story.talk().echo(what);
        }
    }
    open.echo("and the one that was there before");
    assert_eq!(story.proxy().readiness().map(|(status, _)| status), Ok(200));
    story.returns_to(before);
}

pub(crate) fn strangers_who_stall_are_cut_and_delay_nobody() {
    let story = Story::new(&[("ADIT_TLS_HANDSHAKE_TIMEOUT", "3s"), ("ADIT_MAX_HANDSHAKES_PER_POD", "64")]);
    let before = story.resources();
    let to = story.server.at(15008);
    // As many as may be at once, byte by byte and never done.
    let mut slow: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = story.stranger.run(|| TcpStream::connect(to)).expect("connect");
            stream.write_all(&[0x16]).expect("a byte");
            stream
        })
        .collect();
    story.talk().echo("while they stall");
    // More than there is room for: those who have been there the longest make room.
    let more: Vec<_> = (0..140).map(|_| story.stranger.run(|| TcpStream::connect(to))).collect();
    let friend = || Peer::tunnels(story.stranger.netns(), to, &story.friend());
    let mut tunnel = friend();
    tunnel.say(&frame(HEADERS, END_HEADERS, 1, &connect_to("10.0.0.1"))).expect("a request");
    assert_eq!(tunnel.status(), Some(400), "a friend's new tunnel has to wait for strangers");
    story.counts("handshakes", 136.0);
    for stream in &mut slow {
        let _ = stream.write_all(&[0x03]);
    }
    story.counts("tls_handshake", 60.0);
    story.talk().echo("after they are gone");
    drop((slow, more));
    story.returns_to(before);
}

pub(crate) fn a_peer_without_its_papers_is_refused() {
    let story = Story::new(&[]);
    let (from, to) = (story.stranger.netns(), story.server.at(15008));
    let foreign = story.lab.control().issue("spiffe://elsewhere.example/ns/default/sa/x");
    let ours = story.friend();
    for (what, who, alpn) in [
        ("no certificate", None, &[b"h2".as_slice()][..]),
        ("another trust domain", Some(&foreign), &[b"h2"]),
        ("another protocol", Some(&ours), &[b"http/1.1"]),
        ("no protocol", Some(&ours), &[]),
    ] {
        let mut peer = Peer::connect(from, to, who, alpn);
        let _ = peer.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(peer.is_left(), "{what} is served");
        story.talk().echo(what);
    }
}

pub(crate) fn a_request_that_is_no_tunnel_is_a_bad_request() {
    let story = Story::new(&[]);
    let post = b"\x83\x87\x84\x01\x0bexample.com".to_vec();
    let cases = [
        ("POST", post),
        ("no port", connect_to("10.0.0.1")),
        ("port 0", connect_to("10.0.0.1:0")),
        ("another pod's address", connect_to("192.0.2.1:80")),
    ];
    for (what, block) in cases {
        let mut peer = Peer::tunnels(story.stranger.netns(), story.server.at(15008), &story.friend());
        peer.say(&frame(HEADERS, END_HEADERS, 1, &block)).expect("a request");
        assert_eq!(peer.status(), Some(400), "{what}");
    }
    story.talk().echo("a good one");
}

pub(crate) fn a_flood_of_frames_ends_only_the_tunnel_it_comes_on() {
    let story = Story::new(&[
        ("ADIT_MAX_RESETS_PER_PEER", "100"),
        ("ADIT_PING_INTERVAL", "2s"),
        ("ADIT_PING_TIMEOUT", "2s"),
    ]);
    let mut open = story.talk();
    let before = story.resources();
    let to_app = connect_to(&story.server.at(ECHO).to_string());
    let peer = || Peer::tunnels(story.stranger.netns(), story.server.at(15008), &story.friend());
    let stream = |round: u32| round * 2 + 1;

    peer().insist(|round| {
        let ask = frame(HEADERS, END_HEADERS, stream(round), &to_app);
        [ask, frame(RST_STREAM, 0, stream(round), &[0, 0, 0, 8])].concat()
    });
    story.talk().echo("rapid reset");
    story.counts_one_of(&["resets", "frames"]);

    let mut endless = peer();
    endless.say(&frame(HEADERS, 0, 1, &to_app)).expect("a request");
    endless.insist(|_| frame(CONTINUATION, 0, 1, &[0; 64]));
    story.talk().echo("CONTINUATION");

    let mut tiny = peer();
    tiny.say(&frame(HEADERS, END_HEADERS, 1, &to_app)).expect("a request");
    tiny.insist(|_| frame(DATA, 0, 1, &[]).repeat(16));
    story.talk().echo("empty DATA");

    // Answers that nobody takes: it must stop reading, or end it.
    peer().insist(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(64));
    story.talk().echo("SETTINGS");

    story.counts("frames", 2.0);
    open.echo("the one that was there before");
    story.returns_to(before);
}

pub(crate) fn a_pod_that_takes_all_descriptors_starves_nobody() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("raise the own limit");
    let lab = meshed_proxies(&[]);
    let node = lab.node("a");
    limit_descriptors(&node, 700);
    let (greedy, modest) = (captured(&lab, "greedy", "a"), captured(&lab, "modest", "a"));
    let server = captured(&lab, "server", "b");
    let echo = server.serve(ECHO, Speaks::Echo);
    let proxy = node.proxy();
    let baseline = descriptors(&proxy);
    let mut held: Vec<Conn> = Vec::new();
    eventually("the greedy one is refused", || {
        for _ in 0..50 {
            let mut conn = greedy.connect(server.at(ECHO));
            if conn.try_say("x").is_err() || limit_hits(&proxy, "descriptors") > 0.0 {
                return Ok(());
            }
            held.push(conn);
        }
        Err(format!("{} connections", held.len()))
    });
    for round in 0..20 {
        modest.connect(server.at(ECHO)).echo(&format!("modest {round}"));
    }
    assert!(descriptors(&proxy) < 700, "{} descriptors", descriptors(&proxy));
    assert_eq!(proxy.readiness().map(|(status, _)| status), Ok(200));
    proxy.config_dump().expect("admin answers");
    let log = proxy.process().log();
    assert!(log.contains("descriptors are short") && log.contains("greedy"), "{log}");
    drop(held);
    eventually("the descriptors come back", || match descriptors(&proxy) {
        now if now <= baseline + 20 => Ok(()),
        now => Err(format!("{now}, and {baseline} before")),
    });
    greedy.connect(server.at(ECHO)).echo("once more");
    drop(echo);
}

pub(crate) fn clients_that_never_close_do_not_keep_their_sockets() {
    let story = Story::new(&[("ADIT_HALF_CLOSE_TIMEOUT", "1s")]);
    let half = story.server.serve(7002, Speaks::HalfCloses("that is all"));
    let near = story.lab.node("a").proxy();
    let before = (story.resources(), descriptors(&near));
    let mut open: Vec<Conn> = (0..50)
        .map(|_| {
            let mut conn = story.client.connect(story.server.at(7002));
            conn.hear("that is all");
            conn
        })
        .collect();
    let target = story.server.at(7002).to_string();
    eventually("every connection is over", || {
        match near.access_log().iter().filter(|line| line.text("dst.hbone_addr") == target).count() {
            50 => Ok(()),
            ended => Err(format!("{ended} of 50")),
        }
    });
    story.returns_to(before.0);
    assert!(
        descriptors(&near) <= before.1 + SLACK,
        "{} descriptors, {} before",
        descriptors(&near),
        before.1
    );
    for conn in &mut open {
        // The kernel tells of a reset behind an orderly end only to who writes.
        eventually("the client is told", || match conn.try_say("anybody there?") {
            Err(_) => Ok(()),
            Ok(()) => Err("it may still talk"),
        });
    }
    story.counts("half_closed", 1.0);
    drop(half);
}

pub(crate) fn a_pod_deleted_under_load_leaves_no_sockets() {
    let story = Story::new(&[]);
    let proxy = story.lab.node("a").proxy();
    let before = descriptors(&proxy);
    for round in 0..3 {
        let client = captured(&story.lab, &format!("short-lived-{round}"), "a");
        let mut open: Vec<Conn> = (0..30).map(|_| client.connect(story.server.at(ECHO))).collect();
        for conn in &mut open {
            conn.echo("hello");
        }
        let netns = client.netns().clone();
        client.delete();
        drop(open);
        eventually("nothing of the pod is left", || match descriptors(&proxy) {
            now if now <= before + SLACK => Ok(()),
            now => Err(format!("{now} descriptors, and {before} before; {}", netns.name())),
        });
    }
    story.talk().echo("others go on");
}

/// A client on one node, a server on the other, and a stranger who knows no secrets.
struct Story {
    lab: Lab,
    client: Pod,
    server: Pod,
    stranger: Pod,
    _echo: Server,
}

/// What a proxy has of the machine.
#[derive(Debug, Clone, Copy)]
struct Resources {
    descriptors: usize,
    memory: usize,
}

impl Story {
    fn new(env: &[(&str, &str)]) -> Self {
        let lab = meshed_proxies(env);
        let client = captured(&lab, "client", "a");
        let server = captured(&lab, "server", "b");
        let stranger = uncaptured(&lab, "stranger", "a");
        let echo = server.serve(ECHO, Speaks::Echo);
        let story = Self { lab, client, server, stranger, _echo: echo };
        story.talk().echo("before it all");
        story
    }

    /// A new connection of the good client.
    #[track_caller]
    fn talk(&self) -> Conn {
        self.client.connect(self.server.at(ECHO))
    }

    /// A certificate of the mesh.
    fn friend(&self) -> tests::lab::Issued {
        self.lab.control().issue("spiffe://cluster.local/ns/default/sa/friend")
    }

    /// The server's, which is under attack.
    fn proxy(&self) -> Proxy {
        self.lab.node("b").proxy()
    }

    fn resources(&self) -> Resources {
        let proxy = self.proxy();
        Resources { descriptors: descriptors(&proxy), memory: memory(&proxy) }
    }

    #[track_caller]
    fn returns_to(&self, before: Resources) {
        eventually("the proxy's resources come back", || {
            let now = self.resources();
            let fits = now.descriptors <= before.descriptors + SLACK && now.memory <= before.memory + GROWTH;
            if fits { Ok(()) } else { Err(format!("{now:?}, and {before:?} before")) }
        });
    }

    #[track_caller]
    fn counts_one_of(&self, limits: &[&str]) {
        eventually(format_args!("one of {limits:?} is counted"), || {
            let hits: Vec<f64> = limits.iter().map(|limit| limit_hits(&self.proxy(), limit)).collect();
            if hits.iter().any(|hits| *hits > 0.0) { Ok(()) } else { Err(format!("{hits:?}")) }
        });
    }

    #[track_caller]
    fn counts(&self, limit: &str, at_least: f64) {
        eventually(format_args!("limit {limit} is counted"), || match limit_hits(&self.proxy(), limit) {
            hits if hits >= at_least => Ok(()),
            hits => Err(hits.to_string()),
        });
    }
}

/// Runs a node's proxy again with so few descriptors.
fn limit_descriptors(node: &tests::lab::Node, most: usize) {
    let program = node.proxy_spec().path;
    let wrapper = node.home().join("few-descriptors.sh");
    let script = format!("#!/bin/sh\nulimit -n {most}\nexec {} \"$@\"\n", program.display());
    std::fs::write(&wrapper, script).expect("a script");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&wrapper, mode).expect("an executable script");
    node.restart_proxy(|mut spec| {
        spec.path = wrapper;
        spec
    });
}

fn limit_hits(proxy: &Proxy, limit: &str) -> f64 {
    proxy.metrics().sum("adit_limits_hit_total", &[("limit", limit)])
}

fn descriptors(proxy: &Proxy) -> usize {
    let folder = format!("/proc/{}/fd", proxy.process().pid());
    std::fs::read_dir(folder).expect("the proxy's descriptors").count()
}

/// Resident bytes.
fn memory(proxy: &Proxy) -> usize {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", proxy.process().pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its size");
    let kib: usize = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

/// What no port understands.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let noise = (0..8_192u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let header = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let hello = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3][..], &[7; 500]].concat();
    vec![
        ("noise", noise),
        ("an endless header", header),
        ("HTTP/2 in the clear", preface),
        ("half a ClientHello", hello),
        ("a length that lies", vec![0xff; 64]),
        ("nothing", Vec::new()),
    ]
}

const ECHO: u16 = 7001;
/// Descriptors that come and go by themselves: tunnels, scrapes, discovery.
const SLACK: usize = 8;
/// Memory that an allocator may keep.
const GROWTH: usize = 64 << 20;
