//! What a node agent may say to the proxy, in order and out of it, and which pods it costs.

mod agent;

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use cni_plugin_redirect::{Backend, DnsListeners, Kind, PodOverrides, Settings, Variant, plan};
use cni_plugin_wire::zds::Answer;
use socket2::{Domain, Socket, Type};
use tests::lab::{Conn, Lab, Netns, Pod, Proxy, Server, Speaks, eventually, eventually_is};

use agent::{Agent, refusal};

pub(crate) fn an_accepted_pod_listens_and_a_withdrawn_one_does_not() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let agent = Agent::instead_of_the_real_one(&node);
    let session = agent.accept();
    let (first, second) = (lab.pod("first").create(), lab.pod("second").create());
    // No waiting: the answer is the promise.
    assert_eq!(session.add(&first), Answer::Done);
    assert_eq!(listeners(&first), PORTS);
    assert_eq!(session.add(&first), Answer::Done, "said twice");
    assert_eq!(session.keep("never-heard-of"), Answer::Done);
    assert_eq!(session.delete("never-heard-of"), Answer::Done);
    assert_eq!(session.snapshot_sent(), Answer::Done);
    node.proxy().wait_ready();
    assert_eq!(proxies(&node.proxy()), Count { active: 1, pending: 0, started: 1, stopped: 0 });

    for round in 1..=3 {
        assert_eq!(session.add(&second), Answer::Done);
        assert_eq!(listeners(&second), PORTS, "round {round}");
        assert_eq!(session.delete(second.uid()), Answer::Done);
        assert_eq!(listeners(&second), NONE, "round {round}");
        assert_eq!(session.delete(second.uid()), Answer::Done, "said twice");
    }
    assert_eq!(proxies(&node.proxy()), Count { active: 1, pending: 0, started: 4, stopped: 3 });
    nothing_of(&node.proxy(), second.netns());
}

pub(crate) fn a_pod_announced_in_another_namespace_moves_there() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let agent = Agent::instead_of_the_real_one(&node);
    let session = agent.accept();
    let (before, after) = (lab.pod("before").create(), lab.pod("after").create());
    session.snapshot(&[&before]);
    assert_eq!(session.add_as(before.uid(), &before, after.netns().file()), Answer::Done);
    assert_eq!((listeners(&before), listeners(&after)), (NONE.to_vec(), PORTS.to_vec()));
    assert_eq!(proxies(&node.proxy()), Count { active: 1, pending: 0, started: 2, stopped: 1 });
    nothing_of(&node.proxy(), before.netns());
}

pub(crate) fn a_new_snapshot_stops_only_what_it_does_not_name() {
    let story = Story::new();
    let session = story.agent.accept();
    let left_out = story.lab.pod("left-out").create();
    session.snapshot(&[&story.client, &story.server, &left_out]);
    let mut open = story.talk();

    drop(session);
    let session = story.agent.accept();
    assert_eq!(session.add(&story.client), Answer::Done);
    // The agent says that the pod lives; what it hands over for its namespace is useless.
    let nonsense = File::open("/dev/null").expect("a device");
    refusal(session.add_as(story.server.uid(), &story.server, &nonsense));
    assert_eq!(listeners(&left_out), PORTS, "nothing ends before the snapshot is complete");
    open.echo("between two snapshots");
    assert_eq!(session.snapshot_sent(), Answer::Done);
    assert_eq!(listeners(&left_out), NONE);
    open.echo("after the second");

    drop(session);
    let session = story.agent.accept();
    for pod in [&story.client, &story.server] {
        assert_eq!(session.keep(pod.uid()), Answer::Done);
    }
    assert_eq!(session.snapshot_sent(), Answer::Done);
    open.echo("kept");
    story.talk().echo("and a new one");
    story.proxy().wait_ready();
    assert_eq!(proxies(&story.proxy()), Count { active: 2, pending: 0, started: 3, stopped: 1 });
}

pub(crate) fn a_message_out_of_order_ends_the_connection_and_no_pod() {
    let story = Story::new();
    let session = story.agent.accept();
    session.snapshot(&[&story.client, &story.server]);
    let mut open = story.talk();
    let late_keep = refusal(session.keep(story.client.uid()));
    assert!(late_keep.contains("KeepWorkload after SnapshotSent"), "{late_keep}");
    session.ends();
    open.echo("after a late keep");

    let session = story.agent.accept();
    session.snapshot(&[&story.client, &story.server]);
    let second = refusal(session.snapshot_sent());
    assert!(second.contains("SnapshotSent twice"), "{second}");
    session.ends();
    open.echo("after a second snapshot");

    let session = story.agent.accept();
    session.snapshot(&[&story.client, &story.server]);
    story.proxy().wait_ready();
    open.echo("and in the end");
    story.talk().echo("a new one");
    assert_eq!(proxies(&story.proxy()), Count { active: 2, pending: 0, started: 2, stopped: 0 });
}

pub(crate) fn a_message_that_cannot_be_read_is_refused_for_what_is_wrong_with_it() {
    let story = Story::new();
    let mut session = story.agent.accept();
    session.snapshot(&[&story.client, &story.server]);
    let mut open = story.talk();
    let (pod, netns) = (field(1, b"some-uid"), story.server.netns().clone());
    let info = field(2, &field(1, b"name"));
    let whole = [pod.clone(), info].concat();
    let cases: [(&str, Vec<u8>, &[&Netns], &str); 9] = [
        ("longer than a datagram may be", field(1, &[b'x'; 1_100]), &[], "longer than 1024 bytes"),
        ("no protobuf", vec![0xff; 16], &[], "cannot be decoded"),
        ("no payload", field(9, b"?"), &[], "no payload of a known kind"),
        ("an add without a namespace", field(1, &whole), &[], "no descriptor came with it"),
        ("an add with two", field(1, &whole), &[&netns, &netns], "more than one descriptor"),
        ("an add without names", field(1, &pod), &[&netns], "lacks workload_info"),
        ("an add without a UID", field(1, &field(2, b"")), &[&netns], "lacks uid"),
        ("a delete with one", field(2, &field(2, b"some-uid")), &[&netns], "delete carries no descriptor"),
        ("a keep with one", field(5, &pod), &[&netns], "keep carries no descriptor"),
    ];
    for (what, bytes, descriptors, wrong) in cases {
        let why = refusal(session.send(&bytes, descriptors));
        assert!(why.starts_with("failure to read message : "), "{what}: {why}");
        assert!(why.contains(wrong), "{what}: {why}");
        session.ends();
        open.echo(what);
        session = story.agent.accept();
        session.snapshot(&[&story.client, &story.server]);
    }
    story.proxy().wait_ready();
    story.talk().echo("a new one");
    assert_eq!(proxies(&story.proxy()), Count { active: 2, pending: 0, started: 2, stopped: 0 });
}

pub(crate) fn a_namespace_that_is_no_pods_is_refused() {
    let story = Story::new();
    let session = story.agent.accept();
    session.snapshot(&[&story.client, &story.server]);
    let node = story.lab.node("a");
    let before = ports(node.netns());
    let why = refusal(session.add_as("the-node", &story.server, node.netns().file()));
    assert!(why.contains("the proxy's own"), "{why}");
    let device = File::open("/dev/null").expect("a device");
    let process =
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
            .expect("a descriptor of a process");
    for (what, descriptor) in [("a device", device.as_fd()), ("a process", process.as_fd())] {
        let why = refusal(session.add_as("nonsense", &story.server, descriptor));
        assert!(why.contains("not a network namespace"), "{what}: {why}");
    }
    // A namespace, and of another kind: only entering it tells.
    let mounts = File::open("/proc/self/ns/mnt").expect("a namespace of mounts");
    let why = refusal(session.add_as("mounts", &story.server, &mounts));
    assert!(why.contains("enter the network namespace"), "{why}");
    assert_eq!(session.delete("mounts"), Answer::Done);
    assert_eq!(ports(node.netns()), before, "the node's own ports");
    // The connection goes on, and so does everything else.
    assert_eq!(session.add(&story.server), Answer::Done);
    story.talk();
    story.proxy().wait_ready();
    assert_eq!(proxies(&story.proxy()), Count { active: 2, pending: 0, started: 2, stopped: 0 });
}

pub(crate) fn a_pod_whose_port_is_taken_fails_alone_and_starts_once_it_is_free() {
    let story = Story::new();
    let session = story.agent.accept();
    let odd = story.lab.pod("odd").create();
    let squatter = odd.serve(15008, Speaks::Echo);
    session.snapshot(&[&story.client, &story.server]);
    let why = refusal(session.add(&odd));
    assert!(why.starts_with("failure to start proxy : "), "{why}");
    assert!(why.contains("default/odd") && why.contains("15008") && why.contains("in use"), "{why}");
    assert_eq!(listeners(&odd), [15008], "all of its ports or none");
    assert_eq!(state(&story.proxy(), &odd), "Pending");
    assert_eq!(state(&story.proxy(), &story.server), "Up");
    assert_eq!(proxies(&story.proxy()), Count { active: 2, pending: 1, started: 2, stopped: 0 });
    assert_eq!(story.proxy().readiness(), Ok((200, "ready\n".to_owned())), "one bad pod is not a bad node");
    story.talk();

    // An agent that goes away takes nothing with it, not even the next attempt.
    drop(session);
    drop(story.agent);
    drop(squatter);
    eventually_is("the pod has its proxy", PORTS.to_vec(), || listeners(&odd));
    eventually_is("it counts", Count { active: 3, pending: 0, started: 3, stopped: 0 }, || {
        proxies(&story.lab.node("a").proxy())
    });
    assert_eq!(state(&story.lab.node("a").proxy(), &odd), "Up");
}

pub(crate) fn two_proxies_share_a_pod_s_ports_unless_that_is_switched_off() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let agent = Agent::instead_of_the_real_one(&node);
    let pod = lab.pod("web").create();
    // As a predecessor that still drains holds it.
    let _predecessor = pod.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("the option");
        socket.set_reuse_port(true).expect("the option");
        socket.bind(&SocketAddr::from(([0, 0, 0, 0], 15_006)).into()).expect("the port");
        socket.listen(1).expect("a listener");
        socket
    });
    let session = agent.accept();
    assert_eq!(session.add(&pod), Answer::Done);
    let _alone = node.begin_proxy(|spec| spec.env("INPOD_PORT_REUSE", "false"));
    session.ends();
    let session = agent.accept();
    let why = refusal(session.add(&pod));
    assert!(why.contains("15006") && why.contains("in use"), "{why}");
}

pub(crate) fn a_pending_pod_that_is_withdrawn_is_forgotten() {
    let lab = Lab::new().one_node().start();
    let node = lab.node("a");
    let agent = Agent::instead_of_the_real_one(&node);
    let session = agent.accept();
    let pods = ["deleted", "left-out"].map(|name| lab.pod(name).create());
    let _squatters = pods.each_ref().map(|pod| pod.serve(15001, Speaks::Echo));
    let [deleted, left_out] = &pods;
    for pod in &pods {
        refusal(session.add(pod));
    }
    assert_eq!(session.snapshot_sent(), Answer::Done);
    node.proxy().wait_ready();
    assert_eq!(proxies(&node.proxy()), Count { active: 0, pending: 2, started: 0, stopped: 0 });
    assert_eq!(session.delete(deleted.uid()), Answer::Done);
    assert_eq!(proxies(&node.proxy()), Count { active: 0, pending: 1, started: 0, stopped: 0 });
    nothing_of(&node.proxy(), deleted.netns());
    drop(session);
    agent.accept().snapshot(&[]);
    eventually_is("nothing is left", Count { active: 0, pending: 0, started: 0, stopped: 0 }, || {
        proxies(&node.proxy())
    });
    nothing_of(&node.proxy(), left_out.netns());
}

pub(crate) fn readiness_goes_and_comes_with_the_agent() {
    let story = Story::new();
    let session = story.agent.accept();
    for pod in [&story.client, &story.server] {
        assert_eq!(session.add(pod), Answer::Done);
    }
    let unready = Ok((500, "not ready, pending: workload proxy manager\n".to_owned()));
    assert_eq!(story.proxy().readiness(), unready, "the snapshot is not complete");
    assert_eq!(session.snapshot_sent(), Answer::Done);
    assert_eq!(story.proxy().readiness(), Ok((200, "ready\n".to_owned())));
    let mut open = story.talk();
    drop(session);
    eventually_is("readiness is withdrawn", unready, || story.proxy().readiness());
    open.echo("without an agent");
    story.talk().echo("and a new one");
    let session = story.agent.accept();
    session.snapshot(&[&story.client, &story.server]);
    assert_eq!(story.proxy().readiness(), Ok((200, "ready\n".to_owned())));
}

/// A client and a server on one node, captured by rules of the scenario's own.
struct Story {
    agent: Agent,
    client: Pod,
    server: Pod,
    _echo: Server,
    lab: Lab,
}

impl Story {
    fn new() -> Self {
        let lab = Lab::new().one_node().start();
        let agent = Agent::instead_of_the_real_one(&lab.node("a"));
        let [client, server] = ["client", "web"].map(|name| {
            let pod = lab.pod(name).annotation("ambient.istio.io/redirection", "enabled").create();
            redirect(&pod);
            pod.wait_known("HBONE");
            pod
        });
        let echo = server.serve(7001, Speaks::Echo);
        Self { agent, client, server, _echo: echo, lab }
    }

    fn proxy(&self) -> Proxy {
        self.lab.node("a").proxy()
    }

    /// A new connection, through the tunnel.
    #[track_caller]
    fn talk(&self) -> Conn {
        let mut open = self.client.connect(self.server.at(7001));
        open.echo("hello");
        let dump = self.proxy().config_dump().unwrap_or_else(|e| panic!("{e}"));
        let outbound = &dump["workloadState"][self.client.uid()]["connections"]["outbound"];
        let last = outbound.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
        assert_eq!(last["protocol"], "HBONE", "{outbound}");
        open
    }
}

fn redirect(pod: &Pod) {
    let backend = Backend::try_out(Kind::Iptables(Variant::Nft)).unwrap_or_else(|e| panic!("{e}"));
    let settings = Settings { ipv6: false, ..Settings::default() };
    let rules = plan(&settings, &PodOverrides::default(), DnsListeners::ALL);
    cni_plugin_redirect::apply::apply(&backend, pod.netns().file().as_fd(), &rules)
        .unwrap_or_else(|e| panic!("redirect {}: {e}", pod.name()));
}

/// What the proxy counts of its pods.
#[derive(Debug, PartialEq)]
struct Count {
    active: u32,
    pending: u32,
    started: u32,
    stopped: u32,
}

#[track_caller]
fn proxies(proxy: &Proxy) -> Count {
    let metrics = proxy.metrics();
    let read = |name: &str| {
        let text = metrics.sum(&format!("workload_manager_{name}"), &[]).to_string();
        text.parse().unwrap_or_else(|_| panic!("{name} is {text}"))
    };
    Count {
        active: read("active_proxy_count"),
        pending: read("pending_proxy_count"),
        started: read("proxies_started_total"),
        stopped: read("proxies_stopped_total"),
    }
}

/// The state of a pod in the dump.
#[track_caller]
fn state(proxy: &Proxy, pod: &Pod) -> String {
    let dump = proxy.config_dump().unwrap_or_else(|e| panic!("{e}"));
    let entry = &dump["workloadState"][pod.uid()];
    assert_eq!(entry["info"]["name"], pod.name(), "{entry}");
    entry["state"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the proxy holds no descriptor of a namespace: only then can the kernel take it down.
#[track_caller]
fn nothing_of(proxy: &Proxy, netns: &Netns) {
    use std::os::unix::fs::MetadataExt;
    let inode = netns.file().metadata().expect("the namespace's file").ino();
    let target = format!("net:[{inode}]");
    let folder = format!("/proc/{}/fd", proxy.process().pid());
    eventually("the namespace is let go", || {
        let open = std::fs::read_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
        let links = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        match links.filter(|link| link.to_str() == Some(&target)).count() {
            0 => Ok(()),
            held => Err(format!("{held} descriptors of {target}")),
        }
    });
}

/// The TCP ports that something in the pod listens on.
fn listeners(pod: &Pod) -> Vec<u16> {
    ports(pod.netns())
}

fn ports(netns: &Netns) -> Vec<u16> {
    let tables = netns.run(|| {
        ["tcp", "tcp6"].map(|table| {
            std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default()
        })
    });
    let listening = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port = fields.get(1)?.rsplit_once(':')?.1;
        (fields.get(3) == Some(&"0A")).then(|| u16::from_str_radix(port, 16).ok())?
    };
    let ports = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(listening);
    ports.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// A length-delimited field of a protobuf message.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).expect("seven bits"));
    bytes.extend_from_slice(value);
    bytes
}

const PORTS: [u16; 4] = [15001, 15006, 15008, 15053];
const NONE: [u16; 0] = [];
